using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>What recovery found: the state in which the engine goes on.</summary>
public sealed record Recovered(
    SegmentTable Segments, Dictionary<Id160, DiskState> Disks, LogEnd End, IndexSpace IndexSpace, PagedTree Tree, bool IsRebuilt,
    RememberedDisks Remembered, RecoveryReport Report);

/// <summary>
/// Opens the log: (1) the newest whole checkpoint with a whole index; without one, disks and index are rebuilt from all
/// segments but the log's last; (2) the segments behind it in the order of their uses, each by its footer or, where there
/// is none, commit by commit; (3) the end of the log, with stale bytes behind it overwritten. What is above the
/// checkpoint is verified on the way; every decision is in the report.
/// </summary>
public sealed class Recoverer(
    IBlockDevice device, DeviceLabel label, CheckpointStore checkpoints, BadPlaces bad, PageCache cache, RecoveryReport report)
{
    private readonly FooterMender _mender = new(device, label.DeviceId, label.PhysicalBlock);
    private SegmentTable _segments = null!;
    private IndexSegments _indexSegments = null!;
    private IndexSpace _space = null!;
    private PagedTree _tree = null!;
    private SegmentWalker _walker = null!;
    private UseFinder _finder = null!;
    private RollForward _roll = null!;
    private Dictionary<Id160, DiskState> _disks = null!;
    private ulong _nextCommit = 1;
    private RememberedDisks _remembered = new();

    internal PlantedBug Planted { get; init; }

    /// <param name="written">Up to where the kernel had the log, by a write buffer of this boot; else none.</param>
    /// <param name="rebuild">True to believe no checkpoint.</param>
    public async Task<Recovered> RecoverAsync(LogPosition written, bool rebuild)
    {
        var loaded = rebuild ? null : await checkpoints.LoadAsync(
            label.SegmentCount, message => report.AddDamage("damaged-checkpoint", message));
        loaded = TryBegin(loaded);
        if (loaded is not null && !await new IndexPresence(device, _tree, _space).IsThereAsync(_disks.Values))
        {
            report.AddDamage("damaged-index", "the index is damaged or was deleted: it is rebuilt from the log");
            loaded = null;
            Begin(null);
        }

        var from = loaded?.Cut.RollFrom ?? LogPosition.None;
        report.Add("checkpoint", loaded is null ? "no checkpoint: the whole log is read" : $"checkpoint: the log is read from {from}");
        if (loaded is null)
        {
            await checkpoints.VoidAsync(label.SegmentCount);
        }

        var known = loaded is null ? await RebuildAsync() : KnownFrom(from.Use);
        var leftovers = new SegmentLeftovers(device, label, _segments, _walker, _mender, bad, report);
        var durable = checkpoints.KnownDurable;
        var end = loaded is null && known.Count == 0
            ? LogEnd.Empty
            : await ReadFromAsync(known, from, durable, written, loaded);
        await leftovers.ReleaseUnwrittenAsync(end);

        // Behind the log: where a footer is refused the segment moves, and only now is it known which are free.
        await leftovers.CompleteCopiesAsync(checkpoints.NewestRollFrom.Use);
        _roll.Finish();

        // A process that died may have left things in the kernel's hands alone: from here on they count as durable.
        await device.FlushAsync();
        return new Recovered(
            _segments, _disks, end with { NextSequence = _nextCommit }, _space, _tree, loaded is null, _remembered, report);
    }

    private LoadedCheckpoint? TryBegin(LoadedCheckpoint? loaded)
    {
        try
        {
            Begin(loaded);
            return loaded;
        }
        catch (IndexSpaceException e)
        {
            report.AddDamage("damaged-checkpoint", $"what the checkpoint says of the index makes no sense: {e.Message}");
            Begin(null);
            return null;
        }
    }

    private void Begin(LoadedCheckpoint? loaded)
    {
        _segments = loaded?.Segments ?? new SegmentTable(label.SegmentCount);
        bad.ApplyTo(_segments);
        _disks = loaded?.Disks ?? [];
        _remembered = new RememberedDisks();
        foreach (var disk in loaded?.Remembered ?? [])
        {
            _remembered.Restore(disk);
        }

        foreach (var (disk, run) in _disks.Values.SelectMany(disk => disk.Lsns.Runs.Select(run => (disk, run))).ToList())
        {
            if (!_segments.TryLocate(run.Use, out _))
            {
                // It was freed while the checkpoint was being written.
                disk.Lsns.Drop(run.Use);
            }
        }

        _walker = new SegmentWalker(device, _segments, label.DeviceId);
        _finder = new UseFinder(device, label, _segments, _walker, bad);
        _indexSegments = new IndexSegments(_segments, bad);
        _space = new IndexSpace(device, _indexSegments) { Planted = Planted };
        _space.Restore(loaded?.IndexPages ?? []);
        _tree = new PagedTree(_space, cache, device);
        _roll = new RollForward(_disks, _segments, label.HostId, label.DeviceId, report, _remembered) { Planted = Planted };
        _nextCommit = loaded?.Cut.NextCommit ?? 1;
    }

    /// <summary>Rebuilds from all segments but the log's last, which is left to be rolled forward.</summary>
    private async Task<SortedDictionary<ulong, int>> RebuildAsync()
    {
        var uses = await _finder.FindAllAsync(0);
        var last = uses.Keys.LastOrDefault(use => !LogPosition.IsRelocation(use));
        var rebuilder = new Rebuilder(device, label.DeviceId, _segments, _tree, _space, _mender, _remembered, report);
        _segments.NextRelocationUse = Math.Max(
            LogPosition.FirstRelocationUse, uses.Keys.LastOrDefault() + 1) + (ulong)label.SegmentCount;
        _indexSegments.TakesUnbacked = true;
        _disks = await rebuilder.RunAsync(uses, last, _finder.HasUnknown);
        _indexSegments.TakesUnbacked = false;
        _roll = new RollForward(_disks, _segments, label.HostId, label.DeviceId, report, _remembered, rebuilder.Secrets)
        {
            ReclaimedBefore = last,
            Planted = Planted,
        };
        _roll.Doubt(rebuilder.InDoubt, rebuilder.HasHoles);
        return last == 0 ? [] : new SortedDictionary<ulong, int> { [last] = uses[last] };
    }

    private SortedDictionary<ulong, int> KnownFrom(ulong use)
    {
        var known = new SortedDictionary<ulong, int>();
        foreach (var segment in _segments.Snapshot())
        {
            if (segment.Use >= use && !LogPosition.IsRelocation(segment.Use))
            {
                known[segment.Use] = segment.Segment;
            }
        }

        return known;
    }

    private async Task<LogEnd> ReadFromAsync(
        SortedDictionary<ulong, int> known, LogPosition from, LogPosition durable, LogPosition written,
        LoadedCheckpoint? checkpoint)
    {
        var isRebuild = checkpoint is null;
        var use = isRebuild ? known.First().Key : from.Use;
        var hint = checkpoint?.Cut.NextSegment ?? -1;
        while (true)
        {
            if (!known.TryGetValue(use, out var segment) && !await _finder.TryDiscoverAsync(known, use, hint, isNext: true))
            {
                var later = known.Keys.FirstOrDefault(key => key > use);
                if (later == 0)
                {
                    // The segment before was sealed, and nothing was written since.
                    return new LogEnd(-1, new LogPosition(use, 0), null, 1, hint);
                }

                NoteMissing(use, later, isRebuild);
                use = later;
                continue;
            }

            segment = known[use];
            Occupy(segment, use);
            var (end, next) = await ReadSegmentAsync(segment, use, from, durable, written, known);
            if (end is not null)
            {
                return end;
            }

            hint = next;
            use++;
        }
    }

    private void NoteMissing(ulong use, ulong later, bool isRebuild)
    {
        if (!isRebuild)
        {
            _roll.NoteHole(new LogPosition(use, 0), new LogPosition(later, 0));
        }
    }

    private void Occupy(int segment, ulong use)
    {
        if (_segments.TryLocate(use, out var there) && there == segment)
        {
            return;
        }

        var evicted = _segments.Evict(segment);
        foreach (var disk in _disks.Values)
        {
            disk.Lsns.Drop(evicted);
        }

        _segments.Occupy(segment, SegmentState.Open, use);
    }

    /// <summary>Reads one segment. Gives the log's end when it is the open one, else the segment said to follow.</summary>
    private async Task<(LogEnd? End, int Next)> ReadSegmentAsync(
        int segment, ulong use, LogPosition from, LogPosition durable, LogPosition written, SortedDictionary<ulong, int> known)
    {
        report.SegmentsRead++;
        var footer = await _walker.ReadFooterAsync(segment, use);
        if (footer is { } sealedBy)
        {
            _segments.Seal(use, 0, use);
            _nextCommit = Math.Max(_nextCommit, sealedBy.LastSequence + 1);
            var catalog = await _walker.ReadCatalogAsync(segment, sealedBy);
            if (catalog is null or { DamagedCopies: > 0 })
            {
                var torn = Start(use + 1) > durable && Start(use + 1) > written
                    && !await _finder.HasFollowerAsync(use, known, sealedBy.NextSegment);
                Tell(torn, "footer", $"the footer of segment {segment} (use {use}) is not whole: the headers in place are read instead");
            }

            if (catalog is { IsIncomplete: false })
            {
                _segments.SetHeaders(use, catalog.Tally);
                await ApplyCatalogAsync(catalog, segment, from);
                if (catalog.DamagedCopies > 0
                    && await TryMendAsync(segment, use, () => _mender.TryWriteAsync(
                        catalog, segment, sealedBy.CommitsEnd, sealedBy.NextSegment, sealedBy.LastSequence)))
                {
                    TellMended(segment, use);
                }

                return (null, sealedBy.NextSegment);
            }
        }

        var commitsEnd = footer?.CommitsEnd ?? -1;
        var (scan, read) = await new CarefulScan(_walker, label.DeviceId).ScanAsync(segment, use, durable, written, commitsEnd);
        using var bytes = read;
        if (footer is null)
        {
            var all = SegmentScan.Scan(bytes.Memory, label.DeviceId, use, Start(use + 1), Start(use + 1), -1);
            commitsEnd = await _mender.FindSealedEndAsync(all, segment, use);
            if (await _finder.HasFollowerAsync(use, known, all.NextSegment) && commitsEnd < 0)
            {
                commitsEnd = await _mender.FindCommitsEndAsync(all, use, known.GetValueOrDefault(use + 1, -1));
            }

            if (commitsEnd >= 0)
            {
                report.AddDamage("damaged-footer", $"the footer of segment {segment} (use {use}) is missing: its commits are read instead");
                scan = SegmentScan.Scan(bytes.Memory, label.DeviceId, use, Start(use + 1), Start(use + 1), commitsEnd);
                _segments.Seal(use, 0, use);
            }
        }

        await ApplyScanAsync(scan, bytes.Memory, segment, use, from);
        _nextCommit = Math.Max(_nextCommit, scan.LastSequence + 1);
        if (commitsEnd < 0 && scan.End == DeviceGeometry.SegmentBytes)
        {
            // A hole reaches to its end, by what the write buffer says: nothing can follow in it.
            _segments.Seal(use, 0, use);
            return (null, scan.NextSegment);
        }

        if (commitsEnd < 0)
        {
            return (await EndAtAsync(scan, segment, use), -1);
        }

        var next = footer?.NextSegment ?? scan.NextSegment;
        if (await TryMendAsync(segment, use, () => _mender.TryMendAsync(scan, segment, use, commitsEnd, next)))
        {
            TellMended(segment, use);
        }

        return (null, next);
    }

    /// <summary>A footer that can't be written again is told; the headers in place are there as before.</summary>
    private async ValueTask<bool> TryMendAsync(int segment, ulong use, Func<ValueTask<bool>> mend)
    {
        try
        {
            return await mend();
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            report.AddDamage("unmended-footer", $"the footer of segment {segment} (use {use}) can't be written again: {e.Message}");
            return false;
        }
    }

    private void TellMended(int segment, ulong use) =>
        report.Add("mended-footer", $"the footer of segment {segment} (use {use}) was written again");

    private static LogPosition Start(ulong use) => new(use, 0);

    private void Tell(bool isCrash, string what, string message)
    {
        if (isCrash)
        {
            report.Add($"torn-{what}", message);
        }
        else
        {
            report.AddDamage($"damaged-{what}", message);
        }
    }

    private async Task ApplyCatalogAsync(SegmentCatalog catalog, int segment, LogPosition from)
    {
        for (var i = 0; i < catalog.Count; i++)
        {
            var position = catalog.Position(i);
            if (position >= from)
            {
                await _roll.ApplyAsync(catalog.Memory(i), position, (skip, length) => ReadBodyAsync(segment, position, skip, length));
            }
        }
    }

    private async ValueTask<ReadOnlyMemory<byte>?> ReadBodyAsync(int segment, LogPosition position, int skip, int length)
    {
        var body = new byte[length];
        try
        {
            await device.ReadAsync(DeviceGeometry.SegmentOffset(segment) + position.Offset + (ulong)skip, body);
            return body;
        }
        catch (DeviceException)
        {
            return null;
        }
    }

    private async Task ApplyScanAsync(
        SegmentScan scan, ReadOnlyMemory<byte> bytes, int segment, ulong use, LogPosition from)
    {
        if (scan.DamagedRecords > 0)
        {
            report.AddDamage(
                "damaged-record",
                $"{scan.DamagedRecords} commit records of segment {segment} (use {use}) are damaged: read by their trailers");
        }

        var hole = 0;
        for (var i = 0; i <= scan.Items.Count; i++)
        {
            for (; hole < scan.Holes.Count && scan.Holes[hole].ItemsBefore == i; hole++)
            {
                var end = new LogPosition(use, scan.Holes[hole].End);
                if (end > from)
                {
                    _roll.NoteHole(new LogPosition(use, scan.Holes[hole].Start), end);
                }
            }

            if (i < scan.Items.Count && new LogPosition(use, scan.Items[i].Place) is var position && position >= from)
            {
                await ApplyItemAsync(scan.Items[i], bytes, position);
            }
        }
    }

    private async ValueTask ApplyItemAsync(ScannedItem item, ReadOnlyMemory<byte> bytes, LogPosition position)
    {
        if (item.Kind == ScannedKind.PrefixOnly)
        {
            _roll.ApplyPrefix(item.Header, position);
            return;
        }

        if (item.IsRebuilt)
        {
            report.AddDamage("damaged-header", $"the header of an entry at {position} is damaged: it was had again from its copy and body");
        }

        await _roll.ApplyAsync(item.Header, position, (skip, length) => ValueTask.FromResult<ReadOnlyMemory<byte>?>(
            (int)position.Offset + skip + length <= bytes.Length ? bytes.Slice((int)position.Offset + skip, length) : null));
    }

    /// <summary>The log goes on in this segment: what is stale behind its end is overwritten, so that it can't come back.</summary>
    private async Task<LogEnd> EndAtAsync(SegmentScan scan, int segment, ulong use)
    {
        if (scan.IsTorn)
        {
            report.Add("torn-tail", $"the log was cut at {new LogPosition(use, scan.End)}: what stood behind was not durable");
        }

        var end = new LogPosition(use, scan.End);
        try
        {
            await ClearBehindAsync(scan, DeviceGeometry.SegmentOffset(segment));
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            segment = await bad.MoveAsync(1, new MovedPart(use, scan.End, DeviceGeometry.SegmentBytes, end), e);
        }

        return new LogEnd(segment, end, FooterMender.CatalogWithDamage(scan, use), 1, scan.NextSegment);
    }

    private async Task ClearBehindAsync(SegmentScan scan, ulong segmentOffset)
    {
        var staleEnd = scan.StaleEnd;
        if (scan.End == 0)
        {
            // Nothing of this use is here: an earlier one's footer, and then its first commit, would say that all is still its.
            var block = label.PhysicalBlock;
            await device.WriteAsync(segmentOffset + (ulong)(DeviceGeometry.SegmentBytes - block), new byte[block]);
            await device.FlushAsync();
            staleEnd = Math.Max(staleEnd, (uint)block);
        }

        if (staleEnd > scan.End)
        {
            await device.WriteAsync(segmentOffset + scan.End, new byte[staleEnd - scan.End]);
            await device.FlushAsync();
        }
    }
}
