using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>What a scan found of one item.</summary>
public enum ScannedKind
{
    /// <summary>Its header (or record) proves itself: in place, or rebuilt from the trailer and the body.</summary>
    Whole,

    /// <summary>Only what the trailer repeats is known: which entry, and which sectors it set, but not its pages.</summary>
    PrefixOnly,
}

/// <summary>An item of a segment.</summary>
/// <param name="Kind">What is known of it.</param>
/// <param name="Place">Bytes from the segment's start.</param>
/// <param name="Header">The header, device record, or prefix.</param>
/// <param name="IsRebuilt">True when the original is damaged and this was had from elsewhere.</param>
/// <param name="Copy">Where its commit's trailer has a second copy of all the header; 0 where it has none, or not all of it.</param>
public readonly record struct ScannedItem(
    ScannedKind Kind, uint Place, ReadOnlyMemory<byte> Header, bool IsRebuilt, uint Copy = 0);

/// <summary>A run of bytes below what was durable in which anything may have been.</summary>
/// <param name="Start">Bytes from the segment's start.</param>
/// <param name="End">Where something readable follows, or what is known to have been written ends.</param>
/// <param name="ItemsBefore">How many of the scan's items lie before it.</param>
public readonly record struct ScannedHole(uint Start, uint End, int ItemsBefore);

/// <summary>
/// Reads the commits of one use of a segment, from its bytes alone. This is where the end of the log, a torn tail, rot below
/// what was durable, and remnants of an earlier use are told apart. Pure: bytes in, findings out.
/// </summary>
/// <remarks>
/// A commit that can't be read is a tear when nothing says that it was durable: then the log ends before it, and what
/// stands behind it (of the same use) is stale. It is rot when a later commit, the checkpoint, the footer or the write
/// buffer says so: then the scan goes on behind it. A commit that is not known to be durable must be whole: its trailer, and
/// every item as the trailer names it, to the last page.
/// </remarks>
public sealed class SegmentScan
{
    private readonly ReadOnlyMemory<byte> _segment;
    private readonly Id160 _device;
    private readonly ulong _use;
    private readonly List<CommitFrame> _frames = [];
    private readonly HashSet<uint> _recordBad = [];
    private readonly List<ScannedItem> _items = [];
    private readonly List<ScannedHole> _holes = [];

    private SegmentScan(ReadOnlyMemory<byte> segment, Id160 device, ulong use)
    {
        _segment = segment;
        _device = device;
        _use = use;
    }

    /// <summary>The items, in order.</summary>
    public IReadOnlyList<ScannedItem> Items => _items;

    /// <summary>Where anything may have been.</summary>
    public IReadOnlyList<ScannedHole> Holes => _holes;

    /// <summary>The commits that were accepted.</summary>
    public IReadOnlyList<CommitFrame> Frames => _frames;

    /// <summary>Where the next commit would go.</summary>
    public uint End { get; private set; }

    /// <summary>The end of stale bytes behind <see cref="End"/>; they must be overwritten before anything is appended.</summary>
    public uint StaleEnd { get; private set; }

    /// <summary>Where the commit ends, by its record, that the log was cut before; 0 for none.</summary>
    public uint CutFrameEnd { get; private set; }

    /// <summary>True when the log was cut before a commit that was not whole.</summary>
    public bool IsTorn { get; private set; }

    /// <summary>Commits whose record was damaged and which were read by their trailers.</summary>
    public int DamagedRecords => _recordBad.Count;

    /// <summary>Commits whose trailer is damaged; nothing is lost while their items are whole.</summary>
    public int DamagedTrailers { get; private set; }

    /// <summary>The segment chosen to follow; -1 for none.</summary>
    public int NextSegment => _frames.Count > 0 ? _frames[^1].NextSegment : -1;

    /// <summary>The sequence of the last commit; 0 for none.</summary>
    public ulong LastSequence => _frames.Count > 0 ? _frames[^1].Sequence : 0;

    /// <summary>Scans a segment.</summary>
    /// <param name="segment">All its bytes.</param>
    /// <param name="device">The device's id.</param>
    /// <param name="use">The use that is looked for.</param>
    /// <param name="durable">What is known from elsewhere to have been durable.</param>
    /// <param name="written">
    /// Up to where the kernel had taken the log (from the write buffer). It counts only where the segment shows a trace of a
    /// commit: a device that was put back to an older state shows none.
    /// </param>
    /// <param name="commitsEnd">Where the footer says that commits end; -1 without a footer.</param>
    public static SegmentScan Scan(
        ReadOnlyMemory<byte> segment, Id160 device, ulong use, LogPosition durable, LogPosition written, int commitsEnd)
    {
        var scan = new SegmentScan(segment, device, use);
        var limit = commitsEnd >= 0 ? (uint)commitsEnd : DeviceGeometry.SegmentBytes;
        var traceAtEnd = scan.FindFrames(limit);
        var claim = scan.Claim(durable, written, traceAtEnd, commitsEnd);
        scan.Judge(claim, traceAtEnd, limit);
        return scan;
    }

    private ReadOnlySpan<byte> Bytes => _segment.Span;

    /// <summary>Finds every commit of the use, whatever lies between. True when the bytes at the end show a damaged record.</summary>
    private bool FindFrames(uint limit)
    {
        uint position = 0;
        while (position + CommitFrameLayout.RecordBytes <= limit)
        {
            var fault = CommitFrame.TryReadRecord(Bytes[(int)position..], _device, At(position), out var frame);
            if (fault == LayoutFault.None)
            {
                _frames.Add(frame);
                position += (uint)frame.Length;
                continue;
            }

            if (!TryFindNext(position, limit, out frame, out var recordBad))
            {
                return fault == LayoutFault.Damaged;
            }

            if (recordBad)
            {
                _recordBad.Add(frame.Position.Offset);
            }

            _frames.Add(frame);
            position = frame.Position.Offset + (uint)frame.Length;
        }

        return false;
    }

    private bool TryFindNext(uint from, uint limit, out CommitFrame frame, out bool recordBad)
    {
        for (var at = from + 512; at + 512 <= limit; at += 512)
        {
            recordBad = false;
            if (CommitFrame.TryReadRecord(Bytes[(int)at..], _device, At(at), out frame) == LayoutFault.None)
            {
                return true;
            }

            recordBad = true;
            if (CommitFrame.MayBeTrailer(Bytes[(int)at..], _device, _use, at)
                && CommitFrame.TryReadTrailer(Bytes[(int)at..(int)limit], _device, out frame) == LayoutFault.None
                && frame.Position.Offset >= from)
            {
                return true;
            }
        }

        frame = default;
        recordBad = false;
        return false;
    }

    private LogPosition Claim(LogPosition durable, LogPosition written, bool traceAtEnd, int commitsEnd)
    {
        if (commitsEnd >= 0)
        {
            return At((uint)commitsEnd);
        }

        foreach (var frame in _frames)
        {
            durable = frame.Durable > durable ? frame.Durable : durable;
        }

        var tracedEnd = _frames.Count > 0 ? _frames[^1].End : At(0);
        var counts = traceAtEnd || written <= tracedEnd;
        durable = counts && written > durable ? written : durable;
        var end = At(DeviceGeometry.SegmentBytes);
        return durable > end ? end : durable;
    }

    private void Judge(LogPosition claim, bool traceAtEnd, uint limit)
    {
        uint position = 0;
        for (var i = 0; i < _frames.Count; i++)
        {
            var frame = _frames[i];
            var start = frame.Position.Offset;
            var gap = start > position;
            if ((gap && At(position) >= claim) || (frame.End > claim && !IsWhole(frame)))
            {
                Cut(position, i);
                return;
            }

            if (gap)
            {
                _holes.Add(new ScannedHole(position, start, _items.Count));
            }

            ReadItems(frame);
            position = start + (uint)frame.Length;
        }

        End = position;
        StaleEnd = position;
        if (At(position) < claim)
        {
            var end = claim.Use > _use || claim.Offset == 0 ? limit : Math.Min(claim.Offset, limit);
            if (end > position)
            {
                _holes.Add(new ScannedHole(position, end, _items.Count));
                End = end;
                StaleEnd = end;
            }
        }

        IsTorn = traceAtEnd && End == position;
    }

    private void Cut(uint position, int firstStale)
    {
        End = position;
        StaleEnd = _frames[^1].Position.Offset + (uint)_frames[^1].Length;
        IsTorn = true;
        CutFrameEnd = _frames[firstStale].Position.Offset + (uint)_frames[firstStale].Length;

        // What was cut is no damage: a crash left it so.
        foreach (var stale in _frames.Skip(firstStale))
        {
            _recordBad.Remove(stale.Position.Offset);
        }

        _frames.RemoveRange(firstStale, _frames.Count - firstStale);
    }

    /// <summary>
    /// True when a commit is there to the last page: its record, its trailer, and every item as the one that the trailer names.
    /// </summary>
    private bool IsWhole(in CommitFrame frame)
    {
        var trailer = TrailerOf(frame);
        if (_recordBad.Contains(frame.Position.Offset)
            || CommitFrame.TryReadTrailer(trailer.Span, _device, out var copy) != LayoutFault.None
            || copy.Position != frame.Position)
        {
            return false;
        }

        var prefixes = TrailerPrefix.ReadAll(trailer[CommitFrameLayout.Size..], _device, frame.Position, frame.ItemCount);
        var commit = Bytes.Slice((int)frame.Position.Offset, frame.TrailerOffset);
        var offset = CommitFrameLayout.RecordBytes;
        foreach (var (place, prefix) in prefixes)
        {
            if (place != offset || !TryReadInPlace(commit[offset..], prefix.Bytes.Span, out var header, out var total)
                || !PagesHold(commit.Slice(offset, total), header))
            {
                return false;
            }

            offset += total;
        }

        return prefixes.Count == frame.ItemCount && offset == frame.TrailerOffset;
    }

    /// <summary>
    /// Measures the item that begins here. It must prove itself and be the one that the trailer names, where that is known:
    /// where a block was not written, an entry of an earlier use may stand in just this place, whole.
    /// </summary>
    private static bool TryReadInPlace(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> prefix, out int header, out int total) =>
        LogItem.TryMeasure(bytes, out header, out total) && total <= bytes.Length
        && bytes[..header].StartsWith(prefix) && LogItem.Proves(bytes[..header]);

    private static bool PagesHold(ReadOnlySpan<byte> item, int headerLength)
    {
        if (DeviceRecord.IsAt(item))
        {
            return true;
        }

        var header = item[..headerLength];
        var fields = EntryHeaderCodec.ReadFields(header, default);
        var body = item[headerLength..];
        foreach (var page in EntryPages.Of(header, fields))
        {
            if (page.IsPresent && (page.BodyOffset + page.Record.Length > body.Length
                || XXH64.DigestOf(body.Slice(page.BodyOffset, page.Record.Length)) != page.Record.Xxh64))
            {
                return false;
            }
        }

        return true;
    }

    private void ReadItems(in CommitFrame frame)
    {
        var start = frame.Position.Offset;
        var prefixes = ReadPrefixes(frame);
        var prefixesStart = start + (uint)(frame.TrailerOffset + CommitFrameLayout.Size);
        var offset = CommitFrameLayout.RecordBytes;
        while (offset < frame.TrailerOffset)
        {
            var bytes = _segment.Slice((int)start + offset, frame.TrailerOffset - offset);
            _ = prefixes.TryGetValue(offset, out var repeated);
            var prefix = repeated.Bytes;
            if (TryReadInPlace(bytes.Span, prefix.Span, out var header, out var total))
            {
                var isCopy = CommitFrame.RepeatsHeaders(frame.Content, frame.ItemsLength) && !prefix.IsEmpty
                    && prefix.Length == LogItem.CopyLength(bytes.Span[..header]);
                var copy = isCopy ? prefixesStart + (uint)repeated.Offset : 0;
                _items.Add(new ScannedItem(ScannedKind.Whole, start + (uint)offset, bytes[..header], false, copy));
            }
            else if (LogItem.TryMeasure(prefix.Span, out header, out total) && total <= bytes.Length)
            {
                _items.Add(Rebuild(start + (uint)offset, prefix, bytes.Span[..total], header));
            }
            else
            {
                // Neither the item nor its copy: the scan goes on with the next item that the trailer knows.
                var next = prefixes.Keys.FirstOrDefault(place => place > offset, frame.TrailerOffset);
                next = Math.Min(next, frame.TrailerOffset);
                _holes.Add(new ScannedHole(start + (uint)offset, start + (uint)next, _items.Count));
                total = next - offset;
            }

            offset += total;
        }
    }

    private ReadOnlyMemory<byte> TrailerOf(in CommitFrame frame) =>
        _segment.Slice((int)frame.Position.Offset + frame.TrailerOffset, frame.TrailerLength);

    /// <summary>The trailer's copies by the places of their items. They prove themselves, so its head may be damaged.</summary>
    private SortedDictionary<int, TrailerCopy> ReadPrefixes(in CommitFrame frame)
    {
        var trailer = TrailerOf(frame);
        var headHolds = CommitFrame.TryReadTrailer(trailer.Span, _device, out var copy) == LayoutFault.None
            && copy.Position == frame.Position;
        var prefixes = TrailerPrefix.ReadAll(trailer[CommitFrameLayout.Size..], _device, frame.Position, frame.ItemCount);
        DamagedTrailers += headHolds && prefixes.Count == frame.ItemCount ? 0 : 1;
        return prefixes;
    }

    /// <summary>
    /// A header is its prefix and the records of its pages, which follow from the body where the trailer does not
    /// repeat them; its own check proves the sum.
    /// </summary>
    private static ScannedItem Rebuild(uint place, ReadOnlyMemory<byte> prefix, ReadOnlySpan<byte> item, int headerLength)
    {
        if (DeviceRecord.IsAt(prefix.Span))
        {
            return new ScannedItem(
                LogItem.Proves(prefix.Span) ? ScannedKind.Whole : ScannedKind.PrefixOnly, place, prefix, true);
        }

        var rebuilt = new byte[headerLength];
        prefix.Span.CopyTo(rebuilt);
        if (LogItem.Proves(rebuilt))
        {
            return new ScannedItem(ScannedKind.Whole, place, rebuilt, true);
        }

        var fields = EntryHeaderCodec.ReadFields(rebuilt, default);
        var body = item[headerLength..];
        var offset = 0;
        foreach (var page in EntryPages.Of(rebuilt, fields))
        {
            var sectors = SectorsOf(rebuilt, fields, page);
            if (sectors == 0 || offset + (sectors * EntryLayout.SectorSize) > body.Length)
            {
                break;
            }

            PageRecord.Of(body.Slice(offset, sectors * EntryLayout.SectorSize))
                .Write(rebuilt.AsSpan(EntryHeaderCodec.PageOffset(fields.ExtentCount, page.Index)));
            offset += sectors * EntryLayout.SectorSize;
        }

        return LogItem.Proves(rebuilt)
            ? new ScannedItem(ScannedKind.Whole, place, rebuilt, true)
            : new ScannedItem(ScannedKind.PrefixOnly, place, prefix, true);
    }

    private static int SectorsOf(ReadOnlySpan<byte> header, in EntryHeader fields, in EntryPage page)
    {
        if (fields.HasJsonBody)
        {
            return Math.Min(EntryLayout.PageSectors, (fields.BodyLength / EntryLayout.SectorSize) - (int)page.Lba);
        }

        var extent = EntryHeaderCodec.ReadExtent(header, page.Extent);
        return (int)(Math.Min(extent.End, ((page.Lba / EntryLayout.PageSectors) + 1) * EntryLayout.PageSectors) - page.Lba);
    }

    private LogPosition At(uint offset) => new(_use, offset);
}
