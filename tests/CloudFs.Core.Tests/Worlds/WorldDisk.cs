using System.Buffers;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>
/// The oracle: what one disk of a world should hold. A plain array for what is durable, the changes since that were asked
/// for, in order, and the array that they make. Knows which were acknowledged, and so what a recovery may come back with:
/// a prefix of the chain that contains all that was acknowledged as durable.
/// </summary>
internal sealed class WorldDisk : IDisposable
{
    private const int SectorBytes = EntryLayout.SectorSize;

    private readonly List<DiskChange> _changes = [];
    private readonly Dictionary<ulong, Id160> _ids = [];
    private readonly WorldImage _durable;
    private readonly WorldImage _image;

    public WorldDisk(Id160 id, DiskVersion first, int bytes, string? name)
    {
        Id = id;
        Newest = Acknowledged = Durable = first.Lsn;
        _ids[first.Lsn] = first.Id;
        _durable = new WorldImage(bytes, name);
        _image = new WorldImage(bytes, name);
    }

    private WorldDisk(WorldDisk other)
    {
        Id = other.Id;
        (Newest, Acknowledged, Durable) = (other.Newest, other.Acknowledged, other.Durable);
        (ViewIsDue, IsDeleted, IsGone) = (other.ViewIsDue, other.IsDeleted, other.IsGone);
        _changes.AddRange(other._changes);
        foreach (var (lsn, id) in other._ids)
        {
            _ids[lsn] = id;
        }

        _durable = other._durable.Fork();
        _image = other._image.Fork();
    }

    public Id160 Id { get; }

    public string? Name => _image.Name;

    public int Bytes => _image.Bytes;

    /// <summary>The newest entry that was asked for.</summary>
    public ulong Newest { get; private set; }

    /// <summary>The newest that was acknowledged.</summary>
    public ulong Acknowledged { get; private set; }

    /// <summary>The newest that was acknowledged as durable.</summary>
    public ulong Durable { get; private set; }

    /// <summary>True until the first entry after a start, which a view precedes.</summary>
    public bool ViewIsDue { get; private set; }

    /// <summary>Its deletion was asked for.</summary>
    public bool IsDeleted { get; private set; }

    /// <summary>Its deletion is known to be durable, or it can't be had any more.</summary>
    public bool IsGone { get; private set; }

    /// <summary>It came back without entries that were durable: its history is not what was written.</summary>
    public bool IsCutShort { get; private set; }

    public ReadOnlySpan<byte> Contents => _image.Contents;

    /// <summary>Nobody looks at it any more.</summary>
    public void Dispose()
    {
        _durable.Dispose();
        _image.Dispose();
    }

    /// <summary>Adds what it asks of a recovery after a power cut: two that add the same ask the same.</summary>
    public void AddDemand(Digest digest)
    {
        digest.Add(Durable);
        digest.Add(Newest);
        digest.Add((IsDeleted ? 1UL : 0UL) | (IsGone ? 2UL : 0UL));
        digest.Add((ulong)_ids.Count);
    }

    /// <summary>A copy as of now.</summary>
    public WorldDisk Fork() => new(this);

    /// <summary>Notes a write that is about to be asked for; zeroes where <paramref name="data"/> is null.</summary>
    public void Write(int offset, int length, ReadOnlyMemory<byte>? data)
    {
        NoteView();
        for (var at = 0; at < length;)
        {
            // A write of data is cut into entries of up to 1 MiB that end where a page does.
            var skew = (offset + at) % EntryLayout.PageSize;
            var part = data is null ? length : Math.Min(length - at, EntryLayout.MaxBodyLength - skew);
            Add(new DiskChange(++Newest, ChangeKind.Contents, offset + at, part, data?.Slice(at, part), null));
            at += part;
        }
    }

    /// <summary>Notes writes that are about to be asked for as one entry.</summary>
    public void WriteTogether(IEnumerable<(int Offset, ReadOnlyMemory<byte> Data)> writes)
    {
        NoteView();
        Newest++;
        foreach (var (offset, data) in writes)
        {
            Add(new DiskChange(Newest, ChangeKind.Contents, offset, data.Length, data, null));
        }
    }

    /// <summary>Notes a change of size and name that is about to be asked for.</summary>
    public void ChangeAttributes(int size, string? name)
    {
        NoteView();
        Add(new DiskChange(++Newest, ChangeKind.Attributes, 0, size, null, name));
    }

    /// <summary>Notes a deletion that is about to be asked for.</summary>
    public void Delete()
    {
        NoteView();
        Add(new DiskChange(++Newest, ChangeKind.Deletion, 0, 0, null, null));
    }

    /// <summary>What was asked for last has ended so.</summary>
    public void Settle(Disk disk, IoStatus status, bool durable)
    {
        var newest = disk.Newest;
        if (status == IoStatus.Ok)
        {
            Assert.Equal(Newest, newest.Lsn);
            Acknowledged = Newest;
            _ids[Newest] = newest.Id;
            if (durable)
            {
                NoteDurable(Newest);
            }
        }
        else if (newest.Lsn < Newest)
        {
            // Some of it, or all, was refused: it is as though it had never been asked for.
            Truncate(newest.Lsn);
            ViewIsDue |= newest.Lsn == ViewlessLsn;
        }
    }

    /// <summary>Up to here it was acknowledged as durable, or was shown as such.</summary>
    public void NoteDurable(ulong lsn)
    {
        if (lsn > Newest)
        {
            Assert.Fail($"disk {Id} says that LSN {lsn} is durable, and {Newest} is the newest");
        }

        Durable = Math.Max(Durable, lsn);
        var count = _changes.FindIndex(change => change.Lsn > Durable);
        count = count < 0 ? _changes.Count : count;
        for (var i = 0; i < count; i++)
        {
            IsGone |= _changes[i].Kind == ChangeKind.Deletion;
            _durable.Apply(_changes[i]);
        }

        _changes.RemoveRange(0, count);
    }

    /// <summary>The disk came back, or did not: its head must be one that it may have, and becomes the newest.</summary>
    /// <param name="disk">The disk; null when it is not there.</param>
    /// <param name="nothingLost">True when all that was acknowledged must be there, durable or not.</param>
    /// <param name="mayLose">True when the device did worse than to lose power: then it must be told, and never be wrong.</param>
    public void Recovered(Disk? disk, bool nothingLost, bool mayLose)
    {
        if (disk is null)
        {
            Assert.True(IsDeleted || IsGone || mayLose, $"disk {Id} did not come back");
            IsGone = true;
            return;
        }

        Assert.False(IsGone, $"disk {Id} was deleted and came back");
        var head = disk.Newest;
        var least = nothingLost ? Acknowledged : Durable;
        Assert.Equal(disk.Durable, head);
        Assert.True(
            (head.Lsn >= least || mayLose) && head.Lsn <= Newest,
            $"disk {Id} came back at LSN {head.Lsn}; {least} to {Newest} were possible");
        if (_ids.TryGetValue(head.Lsn, out var id))
        {
            Assert.Equal(id, head.Id);
        }

        if (head.Lsn >= Durable)
        {
            Truncate(head.Lsn);
            NoteDurable(head.Lsn);
        }
        else
        {
            // What it still gives must be what was durable; what it lost must answer an error.
            IsCutShort = true;
            Truncate(Durable);
            Durable = head.Lsn;
        }

        _ids.Clear();
        _ids[head.Lsn] = head.Id;
        Newest = Acknowledged = head.Lsn;
        ViewIsDue = true;
        ViewlessLsn = head.Lsn;
        if (!mayLose)
        {
            Assert.Equal((ulong)Bytes, disk.SizeBytes);
            Assert.Equal(Name, disk.Name);
        }
    }

    /// <summary>Every byte is as it should be, read in pieces. Gives how many bytes answered an error.</summary>
    public async Task<int> CheckContentsAsync(Disk disk, Random random, Func<bool> mayFail, Digest digest)
    {
        var bad = 0;
        var buffer = ArrayPool<byte>.Shared.Rent(300 * SectorBytes);
        for (var at = 0; at < Bytes;)
        {
            var length = Math.Min(Bytes - at, random.Next(1, 301) * SectorBytes);
            bad += await CheckRangeAsync(disk, at, buffer.AsMemory(0, length), mayFail, digest);
            at += length;
        }

        ArrayPool<byte>.Shared.Return(buffer);
        return bad;
    }

    /// <summary>A range is as it should be; where it may be damaged, each sector is that or an error.</summary>
    public async Task<int> CheckRangeAsync(Disk disk, int offset, Memory<byte> buffer, Func<bool> mayFail, Digest digest)
    {
        var status = await disk.ReadAsync((ulong)offset, buffer, CancellationToken.None);
        digest.Add((ulong)status);
        if (status == IoStatus.Ok)
        {
            digest.Add(buffer.Span);
            if (!buffer.Span.SequenceEqual(Contents.Slice(offset, buffer.Length)))
            {
                var same = buffer.Span.CommonPrefixLength(Contents.Slice(offset, buffer.Length));
                Assert.Fail($"byte {offset + same} of disk {Id} at LSN {Newest} is not what was written");
            }

            return 0;
        }

        Assert.True(mayFail() && (status == IoStatus.Damaged || (status == IoStatus.OutOfRange && disk.SizeBytes < (ulong)Bytes)),
            $"a read of disk {Id} at {offset} answered {status}");
        if (buffer.Length == SectorBytes || status == IoStatus.OutOfRange)
        {
            return buffer.Length;
        }

        var bad = 0;
        for (var at = 0; at < buffer.Length; at += SectorBytes)
        {
            bad += await CheckRangeAsync(disk, offset + at, buffer.Slice(at, SectorBytes), mayFail, digest);
        }

        return bad;
    }

    private ulong ViewlessLsn { get; set; }

    private void NoteView()
    {
        if (ViewIsDue)
        {
            ViewIsDue = false;
            Newest++;
        }
    }

    private void Add(in DiskChange change)
    {
        _changes.Add(change);
        IsDeleted |= change.Kind == ChangeKind.Deletion;
        _image.Apply(change);
    }

    /// <summary>Forgets what came after an entry that is not older than the durable one.</summary>
    private void Truncate(ulong lsn)
    {
        Newest = lsn;
        var kept = _changes.FindIndex(change => change.Lsn > lsn);
        if (kept < 0)
        {
            return;
        }

        if (_changes.Exists(change => change.Kind == ChangeKind.Attributes))
        {
            _image.Take(_durable);
        }
        else
        {
            // A disk may be much larger than what is forgotten.
            for (var i = kept; i < _changes.Count; i++)
            {
                if (_changes[i].Kind == ChangeKind.Contents)
                {
                    _image.Take(_durable, _changes[i]);
                }
            }
        }

        _changes.RemoveRange(kept, _changes.Count - kept);
        foreach (var change in _changes)
        {
            _image.Apply(change);
        }

        IsDeleted = IsGone || _changes.Exists(change => change.Kind == ChangeKind.Deletion);
    }
}
