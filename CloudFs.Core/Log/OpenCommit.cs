using System.Runtime.InteropServices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// A commit while it fills in a slot of the write buffer: room for the record, then items; the trailer and the record are
/// made when it closes. Guarded by the log's gate.
/// </summary>
internal sealed class OpenCommit(WriteBuffer buffer, int slot, LogPosition position, ulong sequence)
{
    private readonly Memory<byte> _memory = buffer.Slot(slot);
    private readonly List<(IDurableSink Sink, ulong Lsn, Id160 Id)> _sealed = new(1);
    private int _prefixBytes = CommitFrameLayout.Size;
    private int _copyBytes = CommitFrameLayout.Size;

    /// <summary>The buffer that the slot is of.</summary>
    public WriteBuffer Buffer { get; } = buffer;

    public int Slot { get; } = slot;

    public LogPosition Position { get; } = position;

    public ulong Sequence { get; } = sequence;

    /// <summary>Bytes of record and items so far.</summary>
    public int Filled { get; private set; } = CommitFrameLayout.RecordBytes;

    /// <summary>How many items.</summary>
    public int Items { get; private set; }

    public bool IsEmpty => Items == 0;

    /// <summary>
    /// Where the first prefix lies, bytes from the segment's start, if they are whole headers and so their second copies; 0
    /// if not, and until it is closed.
    /// </summary>
    public uint CopiesPlace { get; private set; }

    /// <summary>Bytes on the device once closed; 0 until then.</summary>
    public int Length { get; private set; }

    /// <summary>When it was closed, on the clock of the log's latencies.</summary>
    public long ClosedAt { get; set; }

    /// <summary>Up to where it says the log was durable, once closed.</summary>
    public LogPosition Claim { get; private set; }

    /// <summary>What the device is to be given, once closed.</summary>
    public ReadOnlyMemory<byte> Bytes => _memory[..Length];

    /// <summary>The newest entry of each disk in it.</summary>
    public ReadOnlySpan<(IDurableSink Sink, ulong Lsn, Id160 Id)> Sealed => CollectionsMarshal.AsSpan(_sealed);

    /// <summary>Bytes on the device if it were closed with so much more in it; a short commit takes a little less.</summary>
    public int LengthWith(in AppendSize more, int physicalBlock) => DeviceGeometry.AlignUp(
        Filled + more.Bytes + DeviceGeometry.AlignUp(_copyBytes + more.TrailerCopyBytes, 512), physicalBlock);

    /// <summary>The room behind what is there.</summary>
    public Span<byte> Room(int bytes) => _memory.Span.Slice(Filled, bytes);

    /// <summary>Takes in items that now stand in the room.</summary>
    public void Take(in AppendSize size)
    {
        Filled += size.Bytes;
        Items += size.Items;
        _prefixBytes += size.TrailerBytes;
        _copyBytes += size.TrailerCopyBytes;
    }

    /// <summary>Remembers whom to tell when this is durable.</summary>
    public void Note(IDurableSink sink, ulong lsn, Id160 id)
    {
        for (var i = _sealed.Count - 1; i >= 0; i--)
        {
            if (ReferenceEquals(_sealed[i].Sink, sink))
            {
                _sealed[i] = (sink, lsn, id);
                return;
            }
        }

        _sealed.Add((sink, lsn, id));
    }

    /// <summary>Makes trailer, record and padding: after this the bytes are final.</summary>
    public void Close(Id160 device, LogPosition durable, int nextSegment, int physicalBlock, CommitContent content)
    {
        var repeatsHeaders = CommitFrame.RepeatsHeaders(content, Filled - CommitFrameLayout.RecordBytes);
        var trailerLength = DeviceGeometry.AlignUp(repeatsHeaders ? _copyBytes : _prefixBytes, 512);
        CopiesPlace = repeatsHeaders ? Position.Offset + (uint)(Filled + CommitFrameLayout.Size) : 0;
        Claim = durable;
        Length = DeviceGeometry.AlignUp(Filled + trailerLength, physicalBlock);
        var bytes = _memory.Span[..Length];
        bytes[Filled..].Clear();
        var trailer = bytes.Slice(Filled, trailerLength);
        WritePrefixes(device, bytes[..Filled], trailer[CommitFrameLayout.Size..], repeatsHeaders);
        var frame = new CommitFrame(
            device, Position, content, Length, Filled - CommitFrameLayout.RecordBytes, Items, trailerLength, durable,
            Sequence, nextSegment);
        frame.SealTrailer(trailer);
        frame.WriteRecord(bytes);
    }

    /// <summary>Adds the headers of this commit to its segment's catalog.</summary>
    public void AddTo(SegmentCatalog catalog)
    {
        ReadOnlySpan<byte> commit = _memory.Span[..Filled];
        for (var offset = CommitFrameLayout.RecordBytes; offset < commit.Length;)
        {
            var measured = LogItem.TryMeasure(commit[offset..], out var headerLength, out var totalLength);
            Invariant.That(measured, "a commit holds whole items");
            catalog.Add(commit.Slice(offset, headerLength), Position.Offset + (uint)offset);
            offset += totalLength;
        }
    }

    private void WritePrefixes(Id160 device, ReadOnlySpan<byte> commit, Span<byte> prefixes, bool repeatsHeaders)
    {
        for (var offset = CommitFrameLayout.RecordBytes; offset < commit.Length;)
        {
            var measured = LogItem.TryMeasure(commit[offset..], out var headerLength, out var totalLength);
            Invariant.That(measured, "a commit holds whole items");
            var header = commit.Slice(offset, headerLength);
            var prefix = header[..(repeatsHeaders ? LogItem.CopyLength(header) : LogItem.PrefixLength(header))];
            TrailerPrefix.Write(prefixes, device, Position, offset, prefix);
            prefixes = prefixes[(AppendSize.PrefixHeaderBytes + prefix.Length)..];
            offset += totalLength;
        }
    }
}
