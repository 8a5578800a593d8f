using CloudFs.Core.Chain;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>What verifying a device came to.</summary>
/// <param name="Heads">Each disk's newest entry in the log.</param>
/// <param name="ForcedViews">Views that prove nothing by themselves.</param>
/// <param name="Entries">Entries checked.</param>
/// <param name="Bytes">Bytes of them.</param>
/// <param name="IndexPages">Pages of the index checked.</param>
/// <param name="Problems">How many were told.</param>
public sealed record VerifyOutcome(
    IReadOnlyList<ChainHead> Heads, IReadOnlyList<ForcedView> ForcedViews, long Entries, long Bytes, long IndexPages,
    int Problems);

/// <summary>
/// Reads a whole device that nobody uses and changes nothing: label, checkpoints, the index of the newest, every commit of every
/// segment in use with its second copies, every hash of every entry, every chain. Each problem is told as one line with its place.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="tell">Told each problem.</param>
/// <param name="progress">Told bytes of the device done, and to do.</param>
public sealed class DeviceVerifier(IBlockDevice device, Action<string> tell, Action<long, long>? progress = null) : ISegmentFindings
{
    private readonly ChainVerifier _chain = new();
    private readonly HashSet<Id160> _broken = [];
    private readonly HashSet<Id160> _viewsInDoubt = [];
    private readonly Dictionary<Id160, int> _gapsAtLast = [];
    private bool _isRelocated;
    private int _gaps;
    private long _entries;
    private long _bytes;
    private int _problems;

    /// <exception cref="DeviceRefusedException">There is no CloudFS device here.</exception>
    public async Task<VerifyOutcome> RunAsync(CancellationToken cancellation)
    {
        var label = await DeviceLabels.ReadAsync(device, Problem)
            ?? throw new DeviceRefusedException("there is no CloudFS device here: no label");
        var store = new CheckpointStore(device, label.DeviceId);
        var roots = await store.VerifyAsync(label.SegmentCount, Problem);
        var checkpoint = await store.LoadAsync(label.SegmentCount, _ => { });
        using var bad = new BadPlaces(device, label.DeviceId, _ => { });
        await bad.LoadAsync(label.SegmentCount, Problem);
        bad.ApplyTo(checkpoint?.Segments ?? new SegmentTable(label.SegmentCount));
        var indexPages = checkpoint is null ? 0 : await VerifyIndexAsync(checkpoint, bad, cancellation);
        var uses = await FindUsesAsync(label, roots, checkpoint, bad, cancellation);
        var needed = NeededOf(checkpoint);
        var last = uses.Keys.LastOrDefault(use => !LogPosition.IsRelocation(use));
        var durable = new LogPosition(roots.Select(root => root.Durable.Value).DefaultIfEmpty().Max());
        var verifier = new SegmentVerifier(device, label.DeviceId);
        var previous = 0UL;
        var done = 0;
        foreach (var (use, segment) in uses)
        {
            cancellation.ThrowIfCancellationRequested();

            // Relocated entries were taken out of the order of their chains: each is proved by itself.
            _isRelocated = LogPosition.IsRelocation(use);
            _gaps += previous + 1 != use ? 1 : 0;
            var ending = use == last ? SegmentEnding.Last
                : _isRelocated && !needed.Contains(use) ? SegmentEnding.Growing : SegmentEnding.Sealed;
            await verifier.VerifyAsync(new SegmentToVerify(segment, use, ending, durable), this);
            previous = use;
            progress?.Invoke(++done * (long)DeviceGeometry.SegmentBytes, uses.Count * (long)DeviceGeometry.SegmentBytes);
        }

        return new VerifyOutcome(
            [.. Heads(checkpoint).OrderBy(head => head.Disk)], _chain.ForcedViews, _entries, _bytes, indexPages, _problems);
    }

    /// <summary>Reads the newest checkpoint's trees: every page is what its parent means, is kept as in use, and is named once.</summary>
    private async Task<long> VerifyIndexAsync(LoadedCheckpoint checkpoint, BadPlaces bad, CancellationToken cancellation)
    {
        var space = new IndexSpace(device, new IndexSegments(checkpoint.Segments, bad));
        var trees = new PagedTree(space, new PageCache(0), device);
        var inUse = checkpoint.IndexPages.ToDictionary(area => area.Segment, area => area.Used);
        var count = 0L;
        foreach (var disk in checkpoint.Disks.Values)
        {
            cancellation.ThrowIfCancellationRequested();
            count += await trees.VerifyAsync(disk.Map.Tree, what => Problem($"disk {disk.Head.Disk}: {what}"), page =>
            {
                var (segment, slot) = IndexPageNumber.PlaceOf(page);
                if (!inUse.TryGetValue(segment, out var used) || (used[slot / 8] & (1 << (slot % 8))) == 0)
                {
                    Problem($"disk {disk.Head.Disk}: index page {page} is named twice, or is not kept as in use");
                    return;
                }

                used[slot / 8] &= (byte)~(1 << (slot % 8));
            });
        }

        return count;
    }

    /// <summary>Segments that the checkpoint leads to and calls sealed: they had a footer before it was written.</summary>
    private static HashSet<ulong> NeededOf(LoadedCheckpoint? checkpoint) =>
    [
        .. checkpoint?.Segments.Snapshot()
            .Where(held => held.State == SegmentState.Sealed && held.References + held.Pins > 0).Select(held => held.Use) ?? [],
    ];

    /// <summary>
    /// Which segment holds which use: as the newest checkpoint says, and behind it by what the segments themselves say. What
    /// else lies about are remnants, of which anything may have been overwritten. Without a checkpoint all have their say.
    /// </summary>
    private async Task<SortedDictionary<ulong, int>> FindUsesAsync(
        DeviceLabel label, IReadOnlyList<CheckpointRoot> roots, LoadedCheckpoint? checkpoint, BadPlaces bad,
        CancellationToken cancellation)
    {
        var taken = roots.SelectMany(root => root.Spills).Concat(bad.Places.Select(place => place.Segment)).ToHashSet();
        var uses = new SortedDictionary<ulong, int>();
        var walker = new SegmentWalker(device, new SegmentTable(label.SegmentCount), label.DeviceId);
        foreach (var held in checkpoint?.Segments.Snapshot() ?? [])
        {
            taken.Add(held.Segment);
            if (held.Use != 0 && held.State is SegmentState.Open or SegmentState.Sealed)
            {
                uses.Add(held.Use, held.Segment);
            }
        }

        for (var segment = 0; segment < label.SegmentCount; segment++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (!taken.Contains(segment)
                && await SegmentUses.ReadAsync(device, label.DeviceId, segment) is { } use
                && (checkpoint is null || (use >= checkpoint.Cut.RollFrom.Use && !LogPosition.IsRelocation(use)))
                && !uses.TryAdd(use, segment))
            {
                // What a move that was cut off left: the log went on in the one that has more.
                uses[use] = await SegmentUses.FullerAsync(walker, label.DeviceId, use, uses[use], segment);
            }
        }

        return uses;
    }

    /// <summary>Newest entries, those included whose segments were compacted away.</summary>
    private IEnumerable<ChainHead> Heads(LoadedCheckpoint? checkpoint) =>
        _chain.Heads.Concat(checkpoint?.Disks.Values.Select(disk => disk.Head) ?? [])
            .GroupBy(head => head.Disk)
            .Select(heads => heads.MaxBy(head => head.Lsn));

    void ISegmentFindings.Fault(SegmentFault fault)
    {
        Problem(fault.Message);
        if (fault is { Kind: SegmentFaultKind.Entry, Disk.IsZero: false })
        {
            _entries++;
            _broken.Add(fault.Disk);
        }
    }

    void ISegmentFindings.Entry(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold)
    {
        _entries++;
        _bytes += fields.TotalLength;
        if (!_isRelocated)
        {
            VerifyLink(header, fields, body, place, pagesHold);
        }
        else if (pagesHold && !EntryBodyParsed.TryParse(fields.Kind, body, out _, out var fault))
        {
            Problem($"{Name(fields, place)}: {fault}");
        }
    }

    private void VerifyLink(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold)
    {
        var head = _chain.HeadOf(fields.Disk);
        EntryBodyParsed? parsed = null;
        if (pagesHold && !EntryBodyParsed.TryParse(fields.Kind, body, out parsed, out var fault))
        {
            Problem($"{Name(fields, place)}: {fault}");
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

            Problem($"{Name(fields, place)}: {verdict}");
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

    private static string Name(in EntryHeader fields, ulong place) => $"byte {place}: disk {fields.Disk} LSN {fields.Lsn}";

    private void Problem(string what)
    {
        _problems++;
        tell(what);
    }
}
