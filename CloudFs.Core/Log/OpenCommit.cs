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
    private readonly List<(IDurableSink Sink, ulong Lsn, Id160 Id)> _sealed = [];
    private int _items;
    private int _trailerBytes = CommitFrameLayout.Size;

    /// <summary>The buffer that the slot is of.</summary>
    public WriteBuffer Buffer { get; } = buffer;

    public int Slot { get; } = slot;

    public LogPosition Position { get; } = position;

    public ulong Sequence { get; } = sequence;

    /// <summary>Bytes of record and items so far.</summary>
    public int Filled { get; private set; } = CommitFrameLayout.RecordBytes;

    public bool IsEmpty => _items == 0;

    /// <summary>Bytes on the device once closed; 0 until then.</summary>
    public int Length { get; private set; }

    /// <summary>Up to where it says the log was durable, once closed.</summary>
    public LogPosition Claim { get; private set; }

    /// <summary>What the device is to be given, once closed.</summary>
    public ReadOnlyMemory<byte> Bytes => _memory[..Length];

    /// <summary>The newest entry of each disk in it.</summary>
    public IReadOnlyList<(IDurableSink Sink, ulong Lsn, Id160 Id)> Sealed => _sealed;

    /// <summary>Bytes on the device if it were closed with so much more in it.</summary>
    public int LengthWith(in AppendSize more, int physicalBlock) => DeviceGeometry.AlignUp(
        Filled + more.Bytes + DeviceGeometry.AlignUp(_trailerBytes + more.TrailerBytes, 512), physicalBlock);

    /// <summary>The room behind what is there.</summary>
    public Span<byte> Room(int bytes) => _memory.Span.Slice(Filled, bytes);

    /// <summary>Takes in items that now stand in the room.</summary>
    public void Take(in AppendSize size)
    {
        Filled += size.Bytes;
        _items += size.Items;
        _trailerBytes += size.TrailerBytes;
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
        var trailerLength = DeviceGeometry.AlignUp(_trailerBytes, 512);
        Claim = durable;
        Length = DeviceGeometry.AlignUp(Filled + trailerLength, physicalBlock);
        var bytes = _memory.Span[..Length];
        bytes[Filled..].Clear();
        var trailer = bytes.Slice(Filled, trailerLength);
        WritePrefixes(device, bytes[..Filled], trailer[CommitFrameLayout.Size..], content);
        var frame = new CommitFrame(
            device, Position, content, Length, Filled - CommitFrameLayout.RecordBytes, _items, trailerLength, durable,
            Sequence, nextSegment);
        frame.SealTrailer(trailer);
        frame.WriteRecord(bytes);
    }

    /// <summary>Adds the headers of this commit of copies, which is closed, to its segment's catalog.</summary>
    public void AddTo(SegmentCatalog catalog)
    {
        ReadOnlySpan<byte> commit = _memory.Span[..Filled];
        var copy = Position.Offset + (uint)(Filled + CommitFrameLayout.Size);
        for (var offset = CommitFrameLayout.RecordBytes; offset < commit.Length;)
        {
            var measured = LogItem.TryMeasure(commit[offset..], out var headerLength, out var totalLength);
            Invariant.That(measured, "a commit holds whole items");
            var header = commit.Slice(offset, headerLength);
            copy += AppendSize.PrefixHeaderBytes;
            catalog.Add(header, Position.Offset + (uint)offset, copy);
            copy += (uint)LogItem.CopyLength(header);
            offset += totalLength;
        }
    }

    private void WritePrefixes(Id160 device, ReadOnlySpan<byte> commit, Span<byte> prefixes, CommitContent content)
    {
        for (var offset = CommitFrameLayout.RecordBytes; offset < commit.Length;)
        {
            var measured = LogItem.TryMeasure(commit[offset..], out var headerLength, out var totalLength);
            Invariant.That(measured, "a commit holds whole items");
            var header = commit.Slice(offset, headerLength);
            var prefix = header[..(content == CommitContent.Relocated ? LogItem.CopyLength(header) : LogItem.PrefixLength(header))];
            TrailerPrefix.Write(prefixes, device, Position, offset, prefix);
            prefixes = prefixes[(AppendSize.PrefixHeaderBytes + prefix.Length)..];
            offset += totalLength;
        }
    }
}
