using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// What a disk should hold: every entry that was asked for, in order, and a plain array that they make. Knows which were
/// acknowledged and which are durable, and so which heads a recovery may come back with.
/// </summary>
internal sealed class DiskModel(Id160 id, DiskVersion first, int bytes)
{
    private const int SectorBytes = EntryLayout.SectorSize;

    private readonly List<Change> _changes = [];
    private readonly Dictionary<ulong, Id160> _ids = new() { [first.Lsn] = first.Id };
    private byte[] _contents = new byte[bytes];

    public Id160 Id { get; } = id;

    public int Bytes => _contents.Length;

    public string? Name { get; set; }

    /// <summary>The newest entry that was asked for.</summary>
    public ulong Newest { get; private set; } = first.Lsn;

    /// <summary>The newest that was acknowledged.</summary>
    public ulong Acknowledged { get; private set; } = first.Lsn;

    /// <summary>The newest that was acknowledged as durable.</summary>
    public ulong Durable { get; private set; } = first.Lsn;

    /// <summary>True until the first entry after a start, which a view precedes.</summary>
    public bool ViewIsDue { get; set; }

    public ReadOnlySpan<byte> Contents => _contents;

    /// <summary>Notes a write that is about to be asked for; zeroes where <paramref name="data"/> is null.</summary>
    public void Write(int offset, int length, byte[]? data)
    {
        NoteView();
        for (var at = 0; at < length;)
        {
            // A write of data is cut into entries of up to 1 MiB that end where a page does.
            var skew = (offset + at) % EntryLayout.PageSize;
            var part = data is null ? length : Math.Min(length - at, EntryLayout.MaxBodyLength - skew);
            Add(new Change(++Newest, offset + at, part, data?.AsMemory(at, part), 0, null));
            at += part;
        }
    }

    /// <summary>Notes a change of attributes.</summary>
    public void ChangeAttributes(int size, string? name)
    {
        NoteView();
        Add(new Change(++Newest, 0, 0, null, size, name));
    }

    /// <summary>The last write was refused: it is as though it had never been asked for.</summary>
    public void Refused(Disk disk)
    {
        _changes.RemoveAll(change => change.Lsn > disk.Newest.Lsn);
        Newest = disk.Newest.Lsn;
        Rebuild();
    }

    /// <summary>What was asked for last was acknowledged.</summary>
    public void Acknowledge(Disk disk, bool durable)
    {
        Assert.Equal(Newest, disk.Newest.Lsn);
        Acknowledged = Newest;
        _ids[Newest] = disk.Newest.Id;
        if (durable)
        {
            NoteDurable(Newest);
        }
    }

    /// <summary>Up to here it was acknowledged as durable, or was shown as such.</summary>
    public void NoteDurable(ulong lsn) => Durable = Math.Max(Durable, lsn);

    /// <summary>The disk came back: its head must be one that it may have, and becomes the newest.</summary>
    public void Recovered(Disk disk, bool nothingLost)
    {
        var head = disk.Newest;
        Assert.Equal(disk.Durable, head);
        var least = nothingLost ? Acknowledged : Durable;
        Assert.True(
            head.Lsn >= least && head.Lsn <= Newest,
            $"the disk came back at LSN {head.Lsn}; {least} to {Newest} were possible");
        if (_ids.TryGetValue(head.Lsn, out var id))
        {
            Assert.Equal(id, head.Id);
        }

        _changes.RemoveAll(change => change.Lsn > head.Lsn);
        foreach (var gone in _ids.Keys.Where(lsn => lsn > head.Lsn).ToArray())
        {
            _ids.Remove(gone);
        }

        _ids[head.Lsn] = head.Id;
        Newest = Acknowledged = Durable = head.Lsn;
        ViewIsDue = true;
        Rebuild();
        Assert.Equal((ulong)Bytes, disk.SizeBytes);
        Assert.Equal(Name, disk.Name);
    }

    /// <summary>Every byte is as it should be, read in pieces.</summary>
    public async Task AssertContentsAsync(Disk disk, Random random)
    {
        var buffer = new byte[300 * SectorBytes];
        for (var at = 0; at < Bytes;)
        {
            var length = Math.Min(Bytes - at, random.Next(1, 301) * SectorBytes);
            await AssertRangeAsync(disk, at, buffer.AsMemory(0, length));
            at += length;
        }
    }

    public async Task AssertRangeAsync(Disk disk, int offset, Memory<byte> buffer)
    {
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)offset, buffer, CancellationToken.None));
        var same = buffer.Span.CommonPrefixLength(_contents.AsSpan(offset, buffer.Length));
        Assert.True(same == buffer.Length, $"byte {offset + same} of disk {Id} at LSN {Newest} is not what was written");
    }

    /// <summary>The stream proves itself from its first entry to the head.</summary>
    public static async Task AssertChainAsync(Disk disk)
    {
        var verifier = new ChainVerifier();
        var stream = await disk.OpenStreamAsync(StreamPoint.Start, CancellationToken.None);
        while (await stream.MoveNextAsync(wait: false, CancellationToken.None))
        {
            Assert.True(EntryHeaderCodec.TryReadLengths(stream.Current.Span, out var header, out _, out _));
            var verdict = verifier.Add(stream.Current.Span[..header], stream.Current.Span[header..]);
            Assert.True(verdict.Accepted, $"LSN {verdict.Lsn}: {verdict.Fault} {verdict.ChainError}");
        }

        var head = verifier.HeadOf(disk.Id);
        Assert.Equal(disk.Durable, new DiskVersion(head.Lsn, head.Id));
    }

    private void NoteView()
    {
        if (ViewIsDue)
        {
            ViewIsDue = false;
            Newest++;
        }
    }

    private void Add(Change change)
    {
        _changes.Add(change);
        Apply(change);
    }

    private void Rebuild()
    {
        _contents = new byte[bytes];
        Name = null;
        foreach (var change in _changes)
        {
            Apply(change);
        }
    }

    private void Apply(Change change)
    {
        if (change.Size > 0)
        {
            Array.Resize(ref _contents, change.Size);
            Name = change.Name;
        }
        else if (change.Data is { } data)
        {
            data.Span.CopyTo(_contents.AsSpan(change.Offset));
        }
        else
        {
            _contents.AsSpan(change.Offset, change.Length).Clear();
        }
    }

    private sealed record Change(ulong Lsn, int Offset, int Length, ReadOnlyMemory<byte>? Data, int Size, string? Name);
}
