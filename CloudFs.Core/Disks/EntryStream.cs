using CloudFs.Core.Format;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// The entries of a disk after a point, as they lie in the log. One reader at a time. Holds nothing back: it reads the
/// log at its own pace and keeps one entry in memory. Every entry is proved again (hashes, id, link to the one before)
/// before it is given out.
/// </summary>
public sealed class EntryStream : IEntrySource
{
    private readonly Disk _disk;
    private readonly DiskServices _services;
    private readonly HeaderCursor _cursor;
    private readonly bool _showsAll;
    private byte[] _entry = [];
    private ulong _next;
    private Id160 _previous;
    private int _length;

    /// <param name="disk">Whose.</param>
    /// <param name="services">What all disks share.</param>
    /// <param name="cursor">Its place.</param>
    /// <param name="afterLsn">Begins behind it.</param>
    /// <param name="showsAll">For replicas: also a view that is not committed yet.</param>
    internal EntryStream(Disk disk, DiskServices services, HeaderCursor cursor, ulong afterLsn, bool showsAll = false)
    {
        _showsAll = showsAll;
        _disk = disk;
        _services = services;
        _cursor = cursor;
        _next = afterLsn + 1;
    }

    /// <summary>The LSN from which on the stream is whole, when it begins with dropped pages; else null.</summary>
    public ulong? WholeAt => null;

    /// <summary>The entry's bytes, header and body; valid until the next call of <see cref="MoveNextAsync"/>.</summary>
    public ReadOnlyMemory<byte> Current => _entry.AsMemory(0, _length);

    /// <summary>
    /// Moves to the next durable entry. False at the durable head when <paramref name="wait"/> is false, and after the
    /// last entry of a deleted disk; otherwise waits for one to become durable.
    /// </summary>
    /// <exception cref="UnprovableEntryException">The log is damaged here: the connection must be broken off.</exception>
    /// <exception cref="RefusalException">Gone: space was reclaimed under it. Unavailable: the engine stops.</exception>
    public async ValueTask<bool> MoveNextAsync(bool wait, CancellationToken cancellation)
    {
        while (true)
        {
            var changed = _disk.DurableChanged;
            if (_next <= (_showsAll ? _disk.DurableHere : _disk.Durable).Lsn)
            {
                await ReadNextAsync();
                return true;
            }

            if (!wait || (_disk.IsDeleted && _disk.Durable == _disk.Newest))
            {
                return false;
            }

            if (_services.Log.Failure is not null || _disk.IsStopped)
            {
                throw new RefusalException(Refusal.Unavailable, "the engine is stopping: connect again later");
            }

            await changed.WaitAsync(cancellation);
        }
    }

    private async ValueTask ReadNextAsync()
    {
        if (!await TryFindAsync())
        {
            throw GoneOr("its header can't be had");
        }

        var header = _cursor.Header;
        var fields = _cursor.Fields;
        if (!_previous.IsZero && fields.Previous != _previous)
        {
            throw GoneOr($"it does not follow {_previous}, the entry before it");
        }

        if (_entry.Length < fields.TotalLength)
        {
            // Most streams never meet the largest entry that there may be.
            _entry = new byte[Math.Min(
                (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)fields.TotalLength),
                EntryLayout.MaxHeaderLength + EntryLayout.MaxBodyLength)];
        }

        header.CopyTo(_entry);
        _length = fields.TotalLength;
        var body = _entry.AsMemory(fields.HeaderLength, fields.BodyLength);
        var status = await _services.Reader.ReadRawAsync(_cursor.Position.Plus(fields.HeaderLength), body);
        if (status == LogRead.Reclaimed)
        {
            throw Gone();
        }

        if (status != LogRead.Ok || !EntryBody.VerifyPages(header.Span, fields, body.Span, out _, out _))
        {
            throw GoneOr("its body is damaged");
        }

        _previous = fields.Id;
        _next++;
    }

    private async ValueTask<bool> TryFindAsync()
    {
        var (use, oldest) = _disk.Locate(_next);
        if (_next < oldest)
        {
            throw Gone();
        }

        if (use is { } known && await _cursor.FindAsync(known, _next))
        {
            return true;
        }

        // Its segment may have been reclaimed meanwhile: that is no damage.
        return _next < _disk.Locate(_next).Oldest ? throw Gone() : false;
    }

    /// <summary>
    /// Damaged, unless nothing in its segment is referred to: such a one is freed without a checkpoint that says so, and after a
    /// crash what was put there since may have been forgotten. Then it was reclaimed.
    /// </summary>
    private Exception GoneOr(string reason)
    {
        if (_disk.Locate(_next).Use is { } use && (_services.Segments.IsDead(use) || !_services.Segments.TryLocate(use, out _)))
        {
            _disk.OnReclaimed(use);
            return Gone();
        }

        return Unprovable(reason);
    }

    private UnprovableEntryException Unprovable(string reason) => new(
        _disk.Id, _next, $"disk {_disk.Id}: LSN {_next} can't be proved here: {reason}; a later point streams on");

    private RefusalException Gone() => new(
        Refusal.Gone, $"LSN {_next} is no longer within the history: the oldest is {_disk.Locate(_next).Oldest}");
}
