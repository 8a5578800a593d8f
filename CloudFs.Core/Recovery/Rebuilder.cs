using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Makes the disks and their maps again from the segments alone, when no checkpoint can be used. Whatever is in force is in
/// some segment, whole; beside it may lie what was relocated, superseded or reclaimed since, which is only older. So the
/// entry with the higher LSN wins, in whatever order they are found (docs/format/index.md).
/// </summary>
internal sealed class Rebuilder(
    IBlockDevice device, Id160 deviceId, SegmentTable segments, PagedTree tree, IndexSpace space, FooterMender mender,
    RecoveryReport report)
{
    /// <summary>Extents held in memory before they are merged into trees.</summary>
    private const int LayerExtentsMax = 256 << 10;

    private readonly SegmentWalker _walker = new(device, segments, deviceId);
    private readonly Dictionary<Id160, RebuiltDisk> _disks = [];
    private readonly List<ulong> _dispensable = [];
    private int _sinceMerge;
    private bool _hasHoles;
    private bool _losesBeforeHistory;

    /// <summary>Secrets of views that were found.</summary>
    public Dictionary<(Id160 Disk, Id160 View), Id160> Secrets { get; } = [];

    /// <summary>Disks of which newer entries may have stood in what could not be read.</summary>
    public List<Id160> InDoubt { get; } = [];

    /// <summary>Reads segments by their uses, those of the log first, and gives the disks as they then stand.</summary>
    public async Task<Dictionary<Id160, DiskState>> RunAsync(IEnumerable<KeyValuePair<ulong, int>> uses)
    {
        foreach (var (use, segment) in uses)
        {
            segments.Occupy(segment, SegmentState.Sealed, use);
        }

        foreach (var (use, segment) in uses)
        {
            report.SegmentsRead++;
            await ReadSegmentAsync(use, segment);
        }

        var disks = new Dictionary<Id160, DiskState>();
        foreach (var disk in _disks.Values)
        {
            disk.Finish(Secrets, report, _losesBeforeHistory);
            if (disk.IsInDoubt)
            {
                InDoubt.Add(disk.Id);
            }

            if (!disk.State.Map.Tree.IsEmpty)
            {
                await MergeAsync(disk);
            }

            disks.Add(disk.Id, disk.State);
        }

        return disks;
    }

    private async Task ReadSegmentAsync(ulong use, int segment)
    {
        var footer = await _walker.ReadFooterAsync(segment, use);
        var catalog = footer is { } found ? await _walker.ReadCatalogAsync(segment, found) : null;
        if (catalog is null or { IsIncomplete: true })
        {
            catalog = await ScanAsync(use, segment, footer?.CommitsEnd ?? -1);
        }

        if (catalog.IsIncomplete)
        {
            NoteHole(use);
        }

        var hasMetas = false;
        for (var i = 0; i < catalog.Count; i++)
        {
            hasMetas |= await TakeAsync(catalog.Memory(i), catalog.Position(i), segment, catalog.IsIncomplete);
        }

        if (catalog.IsIncomplete)
        {
            PutInDoubt(use);
        }
        else if (!hasMetas)
        {
            _dispensable.Add(use);
        }

        if (_sinceMerge > LayerExtentsMax)
        {
            foreach (var disk in _disks.Values)
            {
                await MergeAsync(disk);
            }

            _sinceMerge = 0;
        }
    }

    /// <summary>
    /// The headers of a segment without a footer by its commits: of one that was relocated into and never completed whatever is
    /// there; of one of the log, which had a footer, all, or it is incomplete.
    /// </summary>
    private async Task<SegmentCatalog> ScanAsync(ulong use, int segment, int commitsEnd)
    {
        using var bytes = await _walker.ReadSegmentAsync(segment);
        var scan = SegmentScan.Scan(bytes.Memory, deviceId, use, LogPosition.None, LogPosition.None, commitsEnd);
        var isWhole = scan.Holes.Count == 0 && scan.Items.All(item => item.Kind == ScannedKind.Whole);
        if (isWhole && LogPosition.IsRelocation(use))
        {
            // Nobody goes on with it.
            try
            {
                await mender.TryMendAsync(scan, segment, use, (int)scan.End, -1);
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                report.AddDamage("unmended-footer", $"segment {segment} (use {use}) can't be given a footer: {e.Message}");
            }
        }

        var catalog = new SegmentCatalog(use) { IsIncomplete = !isWhole || (commitsEnd < 0 && !LogPosition.IsRelocation(use)) };
        foreach (var item in scan.Items.Where(item => item.Kind == ScannedKind.Whole))
        {
            catalog.Add(item.Header.Span, item.Place);
        }

        return catalog;
    }

    /// <summary>Takes an item in. True when it is of those that stay for ever, wherever they are found.</summary>
    private async Task<bool> TakeAsync(ReadOnlyMemory<byte> header, LogPosition position, int segment, bool mayFollowHole)
    {
        if (DeviceRecord.TryRead(header.Span, out var record) == LayoutFault.None)
        {
            Secrets[(record.Disk, record.View)] = record.Secret;
            return true;
        }

        if (!EntryHeaderCodec.TryRead(header.Span, out var fields, out _))
        {
            return false;
        }

        if (!_disks.TryGetValue(fields.Disk, out var disk))
        {
            _disks.Add(fields.Disk, disk = new RebuiltDisk(fields.Disk, segments) { IsInDoubt = _hasHoles });
        }

        disk.IsInDoubt |= mayFollowHole && !LogPosition.IsRelocation(position.Use);
        disk.NoteEntry(fields, position);
        if (fields.HasJsonBody)
        {
            disk.NoteMeta(fields, await ReadBodyAsync(header, fields, position, segment), position);
        }
        else
        {
            _sinceMerge += fields.ExtentCount;
            disk.NoteExtents(header.Span, fields, position);
        }

        return fields.HasJsonBody;
    }

    private async Task<EntryBodyParsed?> ReadBodyAsync(
        ReadOnlyMemory<byte> header, EntryHeader fields, LogPosition position, int segment)
    {
        var bytes = new byte[fields.BodyLength];
        try
        {
            var offset = DeviceGeometry.SegmentOffset(segment) + position.Offset + (ulong)fields.HeaderLength;
            await device.ReadAsync(offset, bytes);
        }
        catch (DeviceException)
        {
            return null;
        }

        return EntryBody.VerifyPages(header.Span, fields, bytes, out _, out _)
            && EntryBodyParsed.TryParse(fields.Kind, bytes, out var body, out _) ? body : null;
    }

    /// <summary>Something of a segment can't be read: what it may have superseded is in doubt, until an entry follows on.</summary>
    private void NoteHole(ulong use)
    {
        report.AddDamage("hole", $"not all of use {use} can be read, and the index is rebuilt from the log: what was there is in doubt");
        _hasHoles |= !LogPosition.IsRelocation(use);
        PutInDoubt(use);
    }

    private void PutInDoubt(ulong use)
    {
        if (LogPosition.IsRelocation(use))
        {
            // What was relocated is older than the history.
            _losesBeforeHistory = true;
            return;
        }

        foreach (var disk in _disks.Values)
        {
            disk.IsInDoubt = true;
        }
    }

    /// <summary>Merges a disk's layers into its tree, except what the tree has newer.</summary>
    private async Task MergeAsync(RebuiltDisk disk)
    {
        MakeRoom();
        var map = disk.State.Map;
        var layers = map.Freeze();
        var newest = new ExtentMap(null);
        var found = new MappedExtent[64];
        foreach (var extent in layers.SelectMany(layer => layer.Runs().Leaves).SelectMany(leaf => leaf))
        {
            for (var lba = extent.Lba; lba < extent.End;)
            {
                var (status, count) = await tree.FindAsync(map.Tree, lba, extent.End, found);
                if (status != TreeRead.Ok)
                {
                    throw new DeviceException("a page of the index that was just written can't be read back");
                }

                lba = TakeNewer(newest, extent, lba, found.AsSpan(0, count), count == found.Length);
            }
        }

        var delta = new LivenessDelta();
        var root = await tree.MergeAsync(map.Tree, newest.Runs(), [], delta);
        map.Merged(root, layers, 0);
        segments.Apply(delta);
        foreach (var extent in layers.SelectMany(layer => layer.Runs().Leaves).SelectMany(leaf => leaf))
        {
            segments.Removed(extent);
        }

        // No checkpoint leads to the pages that were replaced.
        space.Settle();
    }

    /// <summary>
    /// Remnants hold segments that the index may need: those of which nothing is in force by now, and nothing stays, are given
    /// up, oldest first.
    /// </summary>
    private void MakeRoom()
    {
        for (var i = 0; i < _dispensable.Count && segments.Free < SegmentTable.ReserveSegments + 1;)
        {
            var use = _dispensable[i];
            if (!segments.TryFree(use))
            {
                i++;
                continue;
            }

            _dispensable.RemoveAt(i);
            foreach (var disk in _disks.Values)
            {
                disk.State.Lsns.Drop(use);
            }
        }
    }

    private static ulong TakeNewer(
        ExtentMap newest, in MappedExtent extent, ulong lba, ReadOnlySpan<MappedExtent> found, bool isCut)
    {
        var to = isCut ? found[^1].End : extent.End;
        foreach (ref readonly var there in found)
        {
            if (!there.IsOlderThan(extent))
            {
                Take(newest, extent, lba, there.Lba);
                lba = there.End;
            }
        }

        Take(newest, extent, lba, to);
        return to;
    }

    private static void Take(ExtentMap newest, in MappedExtent extent, ulong from, ulong to)
    {
        if (from < to)
        {
            newest.Apply(extent.Clip(from, to));
        }
    }
}
