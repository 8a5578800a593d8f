using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>What verifying a device came to.</summary>
/// <param name="Heads">Each disk's newest entry in the log.</param>
/// <param name="ForcedViews">Views that prove nothing by themselves.</param>
/// <param name="Entries">Entries checked.</param>
/// <param name="Bytes">Bytes of them.</param>
/// <param name="Problems">How many were told.</param>
public sealed record VerifyOutcome(
    IReadOnlyList<ChainHead> Heads, IReadOnlyList<ForcedView> ForcedViews, long Entries, long Bytes, int Problems);

/// <summary>
/// Reads a whole device that nobody uses and changes nothing: label, checkpoints, every commit of every segment of the log
/// with its second copies, every hash of every entry, every chain. Each problem is told as one line with its place.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="tell">Told each problem.</param>
/// <param name="progress">Told bytes of the device done, and to do.</param>
public sealed class DeviceVerifier(IBlockDevice device, Action<string> tell, Action<long, long>? progress = null)
{
    private readonly ChainVerifier _chain = new();
    private readonly HashSet<Id160> _broken = [];
    private readonly HashSet<Id160> _viewsInDoubt = [];
    private readonly Dictionary<Id160, int> _gapsAtLast = [];
    private int _gaps;
    private long _entries;
    private long _bytes;
    private int _problems;

    /// <exception cref="DeviceRefusedException">There is no CloudFS device here.</exception>
    public async Task<VerifyOutcome> RunAsync(CancellationToken cancellation)
    {
        var label = await DeviceLabels.ReadAsync(device, Problem)
            ?? throw new DeviceRefusedException("there is no CloudFS device here: no label");
        var roots = await new CheckpointStore(device, label.DeviceId).VerifyAsync(label.SegmentCount, Problem);
        var uses = await FindUsesAsync(label, roots, cancellation);
        var durable = new LogPosition(roots.Select(root => root.Durable.Value).DefaultIfEmpty().Max());
        var previous = 0UL;
        var done = 0;
        foreach (var (use, segment) in uses)
        {
            cancellation.ThrowIfCancellationRequested();
            _gaps += previous + 1 != use ? 1 : 0;
            await VerifySegmentAsync(label, segment, use, durable, use == uses.Keys.Max());
            previous = use;
            progress?.Invoke(++done * (long)DeviceGeometry.SegmentBytes, uses.Count * (long)DeviceGeometry.SegmentBytes);
        }

        return new VerifyOutcome(
            [.. _chain.Heads.OrderBy(head => head.Disk)], _chain.ForcedViews, _entries, _bytes, _problems);
    }

    private async Task<SortedDictionary<ulong, int>> FindUsesAsync(
        DeviceLabel label, IReadOnlyList<CheckpointRoot> roots, CancellationToken cancellation)
    {
        var spilled = roots.SelectMany(root => root.Spills).ToHashSet();
        var uses = new SortedDictionary<ulong, int>();
        for (var segment = 0; segment < label.SegmentCount; segment++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (!spilled.Contains(segment) && await SegmentUses.ReadAsync(device, label.DeviceId, segment) is { } use
                && !uses.TryAdd(use, segment))
            {
                Problem($"segments {uses[use]} and {segment} both claim use {use}");
            }
        }

        return uses;
    }

    private async Task VerifySegmentAsync(
        DeviceLabel label, int segment, ulong use, LogPosition durable, bool isLast)
    {
        var walker = new SegmentWalker(device, new SegmentTable(label.SegmentCount), label.DeviceId);
        var where = $"segment {segment} (use {use})";
        var footer = await walker.ReadFooterAsync(segment, use);
        if (footer is null && !isLast)
        {
            Problem($"{where}: its footer is damaged or missing");
        }

        var bytes = await walker.ReadSegmentAsync(segment);
        var everything = new LogPosition(use + 1, 0);
        var scan = SegmentScan.Scan(
            bytes, label.DeviceId, use, isLast ? durable : everything, LogPosition.None, footer?.CommitsEnd ?? -1);
        if (footer is null && !isLast && scan.Frames.Count > 0)
        {
            var end = (int)(scan.Frames[^1].Position.Offset + (uint)scan.Frames[^1].Length);
            scan = SegmentScan.Scan(bytes, label.DeviceId, use, everything, LogPosition.None, end);
        }

        TellStructure(scan, where);
        if (footer is { } sealedBy)
        {
            await VerifyCopiesAsync(sealedBy, bytes, scan, where);
        }

        foreach (var item in scan.Items)
        {
            VerifyItem(item, bytes, DeviceGeometry.SegmentOffset(segment));
        }
    }

    private void TellStructure(SegmentScan scan, string where)
    {
        if (scan.DamagedRecords > 0)
        {
            Problem($"{where}: {scan.DamagedRecords} commit records are damaged (their trailers are whole)");
        }

        if (scan.DamagedTrailers > 0)
        {
            Problem($"{where}: {scan.DamagedTrailers} commit trailers are damaged");
        }

        foreach (var hole in scan.Holes)
        {
            Problem($"{where}: bytes {hole.Start} to {hole.End} can't be read as commits: what was there is lost");
        }
    }

    private async ValueTask VerifyCopiesAsync(
        SegmentFooter footer, ReadOnlyMemory<byte> bytes, SegmentScan scan, string where)
    {
        var catalog = await SegmentCatalog.LoadAsync(footer, (place, into) =>
        {
            bytes.Slice((int)place, into.Length).CopyTo(into);
            return ValueTask.FromResult(true);
        });
        if (catalog is null)
        {
            Problem($"{where}: the table of its footer is damaged");
            return;
        }

        if (catalog.DamagedCopies > 0)
        {
            Problem($"{where}: {catalog.DamagedCopies} second copies of headers in its footer are damaged");
        }

        foreach (var item in scan.Items)
        {
            var index = catalog.IndexOf(item.Place);
            if (item.Kind == ScannedKind.Whole && index >= 0 && !catalog.Copy(index).SequenceEqual(item.Header.Span))
            {
                Problem($"{where}: the header at byte {item.Place} and its second copy differ");
            }
        }
    }

    private void VerifyItem(in ScannedItem item, ReadOnlyMemory<byte> segment, ulong segmentOffset)
    {
        var place = segmentOffset + item.Place;
        if (DeviceRecord.IsAt(item.Header.Span))
        {
            if (item.Kind != ScannedKind.Whole || item.IsRebuilt)
            {
                Problem($"byte {place}: a device record is damaged");
            }

            return;
        }

        var claimed = EntryHeaderCodec.ReadFields(item.Header.Span, default);
        var name = $"byte {place}: disk {claimed.Disk} LSN {claimed.Lsn}";
        _entries++;
        _bytes += claimed.TotalLength;
        if (item.IsRebuilt)
        {
            Problem($"{name}: its header is damaged{(item.Kind == ScannedKind.Whole ? " (it can be had again from its trailer)" : "")}");
        }

        if (item.Kind != ScannedKind.Whole || !EntryHeaderCodec.TryRead(item.Header.Span, out var fields, out var error))
        {
            if (item.Kind == ScannedKind.Whole)
            {
                EntryHeaderCodec.TryRead(item.Header.Span, out _, out error);
                Problem($"{name}: {error.Text()}");
            }

            _broken.Add(claimed.Disk);
            return;
        }

        var body = segment.Span.Slice((int)item.Place + fields.HeaderLength, fields.BodyLength);
        var pagesHold = VerifyPages(item.Header.Span, fields, body, name);
        VerifyLink(item.Header.Span, fields, body, name, pagesHold);
    }

    private bool VerifyPages(ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, string name)
    {
        var hold = true;
        foreach (var page in EntryPages.Of(header, fields))
        {
            var error = page.IsPresent
                ? EntryBody.VerifyPage(page.Record, body.Slice(page.BodyOffset, page.Record.Length), fields.Kind)
                : FormatError.None;
            if (error != FormatError.None)
            {
                hold = false;
                Problem($"{name}: page {page.Index} ({page.Record.Length} bytes of the disk at "
                    + $"{page.Lba * EntryLayout.SectorSize}): {error.Text()}");
            }
        }

        return hold;
    }

    private void VerifyLink(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, string name, bool pagesHold)
    {
        var head = _chain.HeadOf(fields.Disk);
        EntryBodyParsed? parsed = null;
        if (pagesHold && !EntryBodyParsed.TryParse(fields.Kind, body, out parsed, out var fault))
        {
            Problem($"{name}: {fault}");
            pagesHold = false;
        }

        // A chain is taken up anew behind what is damaged (which was told) and behind reclaimed segments (which is no fault).
        // What a gap took may have held views: the first behind it has nothing to be held against.
        var isView = parsed?.View is not null;
        var viewInDoubt = isView && _viewsInDoubt.Remove(fields.Disk);
        var linked = head.Lsn + 1 == fields.Lsn && !viewInDoubt;
        var afterGap = _gapsAtLast.GetValueOrDefault(fields.Disk) != _gaps;
        _gapsAtLast[fields.Disk] = _gaps;
        var mayResume = _broken.Remove(fields.Disk) || afterGap || viewInDoubt;
        if (pagesHold && (linked || !mayResume))
        {
            var verdict = _chain.Add(header, body);
            if (verdict.Accepted)
            {
                return;
            }

            Problem($"{name}: {verdict}");
        }

        if (!pagesHold)
        {
            _broken.Add(fields.Disk);
        }

        if (!linked && !isView)
        {
            _viewsInDoubt.Add(fields.Disk);
        }

        _chain.Begin(head.Next(fields, parsed));
    }

    private void Problem(string what)
    {
        _problems++;
        tell(what);
    }
}
