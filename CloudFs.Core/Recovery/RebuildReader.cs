using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>What a rebuild found of an item.</summary>
internal enum FoundKind
{
    /// <summary>Its header proves itself.</summary>
    Whole,

    /// <summary>The same, but its commit was not known to be durable, or nothing names it: its pages have to be looked at.</summary>
    Unproven,

    /// <summary>Only which entry it was and which sectors it set is known.</summary>
    PrefixOnly,

    /// <summary>Anything may have been here.</summary>
    Hole,
}

/// <summary>An item of a segment, or a hole in it.</summary>
/// <param name="Kind">What is known.</param>
/// <param name="Position">Where it lies.</param>
/// <param name="Header">The header, device record or prefix; empty of a hole.</param>
internal readonly record struct FoundItem(FoundKind Kind, LogPosition Position, ReadOnlyMemory<byte> Header);

/// <summary>
/// Reads one segment for a rebuild, in the order in which it was written: by its footer, where that is whole; else commit by
/// commit, with what of the footer can be read. Whatever proves itself is given, for it can only be as old as it says.
/// </summary>
internal sealed class RebuildReader(SegmentWalker walker, FooterMender mender, Id160 deviceId, RecoveryReport report)
{
    /// <summary>Reads a segment of the log that is not its last: all of it was durable before the next was begun.</summary>
    /// <param name="segment">Which.</param>
    /// <param name="use">Its use.</param>
    /// <param name="following">The segment with the next use; -1 for none.</param>
    public async Task<List<FoundItem>> ReadLogAsync(int segment, ulong use, int following)
    {
        var footer = await walker.ReadFooterAsync(segment, use);
        var copies = footer is { } found ? await walker.ReadCatalogAsync(segment, found) : null;
        if (copies is { IsIncomplete: false })
        {
            return Take(copies);
        }

        using var bytes = await walker.ReadSegmentAsync(segment);
        var end = new LogPosition(use + 1, 0);
        var scan = SegmentScan.Scan(bytes.Memory, deviceId, use, end, LogPosition.None, footer?.CommitsEnd ?? -1);
        var sealedEnd = footer is null ? await mender.FindSealedEndAsync(scan, segment, use) : DeviceGeometry.SegmentBytes;
        var commitsEnd = sealedEnd >= 0 ? sealedEnd : await mender.FindCommitsEndAsync(scan, use, following);
        return InOrder(scan, copies, use, hole => hole.Start < commitsEnd, _ => false);
    }

    /// <summary>
    /// Reads a segment of copies. Where it has no footer, its last commits may have been cut off by a crash: then what they copied is
    /// still where it was. So what can be read of them is taken for what it proves, and what can't is no hole.
    /// </summary>
    public async Task<List<FoundItem>> ReadCopiesAsync(int segment, ulong use)
    {
        var footer = await walker.ReadFooterAsync(segment, use);
        var copies = footer is { } found ? await walker.ReadCatalogAsync(segment, found) : null;
        if (copies is { IsIncomplete: false })
        {
            return Take(copies);
        }

        using var bytes = await walker.ReadSegmentAsync(segment);
        var everything = new LogPosition(use + 1, 0);
        var scan = SegmentScan.Scan(bytes.Memory, deviceId, use, everything, LogPosition.None, footer?.CommitsEnd ?? -1);
        if (footer is not null)
        {
            return InOrder(scan, copies, use, _ => true, _ => false);
        }

        var durable = scan.Frames.Select(frame => frame.Durable.Use == use ? frame.Durable.Offset : 0).DefaultIfEmpty().Max();
        var cut = SegmentScan.Scan(bytes.Memory, deviceId, use, LogPosition.None, LogPosition.None, -1);
        if (cut.Frames.Count == scan.Frames.Count)
        {
            // Nobody goes on with it.
            await MendAsync(cut, segment, use);
        }

        return InOrder(scan, null, use, hole => hole.Start < durable, item => item.Place >= cut.End);
    }

    private async Task MendAsync(SegmentScan scan, int segment, ulong use)
    {
        try
        {
            await mender.TryMendAsync(scan, segment, use, (int)scan.End, -1);
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            report.AddDamage("unmended-footer", $"segment {segment} (use {use}) can't be given a footer: {e.Message}");
        }
    }

    private static List<FoundItem> Take(SegmentCatalog catalog) => [.. Enumerable.Range(0, catalog.Count)
        .Select(i => new FoundItem(FoundKind.Whole, catalog.Position(i), catalog.Memory(i)))];

    private static List<FoundItem> InOrder(
        SegmentScan scan, SegmentCatalog? copies, ulong use, Func<ScannedHole, bool> isHole, Func<ScannedItem, bool> isUnproven)
    {
        var found = new List<FoundItem>();
        foreach (var item in scan.Items)
        {
            var position = new LogPosition(use, item.Place);
            var copy = item.Kind == ScannedKind.Whole ? -1 : copies?.IndexOf(item.Place) ?? -1;
            found.Add(copy >= 0
                ? new FoundItem(FoundKind.Whole, position, copies!.Memory(copy))
                : new FoundItem(
                    item.Kind == ScannedKind.PrefixOnly ? FoundKind.PrefixOnly
                        : !isUnproven(item) ? FoundKind.Whole
                        : FoundKind.Unproven,
                    position, item.Header.ToArray()));
        }

        foreach (var hole in scan.Holes.Where(isHole))
        {
            found.Add(new FoundItem(FoundKind.Hole, new LogPosition(use, hole.Start), default));
            found.AddRange(copies is null ? [] : Take(copies).Where(
                item => item.Position.Offset >= hole.Start && item.Position.Offset < hole.End));
        }

        // A hole comes before what a footer's copies say of it: whatever else was in it may have been anywhere.
        return [.. found.OrderBy(item => item.Position).ThenBy(item => item.Kind != FoundKind.Hole)];
    }
}
