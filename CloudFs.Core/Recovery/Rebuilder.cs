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
    RememberedDisks remembered, RecoveryReport report)
{
    /// <summary>Extents held in memory before they are merged into trees.</summary>
    private const int LayerExtentsMax = 256 << 10;

    private static readonly IReadOnlySet<int> NoneBad = new HashSet<int>();

    private readonly RebuildReader _reader = new(new SegmentWalker(device, segments, deviceId), mender, deviceId, report);
    private readonly RebuildCopies _copies = new(device, tree);
    private readonly Dictionary<Id160, RebuiltDisk> _disks = [];
    private readonly List<ulong> _dispensable = [];
    private readonly List<DeviceRecord> _copyRecords = [];
    private int _sinceMerge;
    private bool _losesBeforeHistory;

    /// <summary>Secrets of views that were found.</summary>
    public Dictionary<(Id160 Disk, Id160 View), Id160> Secrets { get; } = [];

    /// <summary>Disks of which newer entries may have stood in what could not be read.</summary>
    public List<Id160> InDoubt { get; } = [];

    /// <summary>True when something of the log could not be read, and in it maybe disks of which nothing else was found.</summary>
    public bool HasHoles { get; private set; }

    /// <summary>Reads segments by their uses, those of the log first, and gives the disks as they then stand.</summary>
    /// <param name="found">Every use that was found, and its segment.</param>
    /// <param name="last">The log's last, which is left out.</param>
    /// <param name="mayLackSegments">True when there may have been others, in what can't be read.</param>
    public async Task<Dictionary<Id160, DiskState>> RunAsync(SortedDictionary<ulong, int> found, ulong last, bool mayLackSegments)
    {
        var uses = found.Where(pair => pair.Key != last).ToList();
        foreach (var (use, segment) in uses)
        {
            segments.Occupy(segment, SegmentState.Sealed, use);
        }

        // What was dropped must be known before its leftovers are met; records that were copied would come last.
        foreach (var (use, segment) in uses.Where(pair => LogPosition.IsRelocation(pair.Key)))
        {
            foreach (var item in await _reader.ReadCopiesAsync(segment, use))
            {
                if (item.Kind != FoundKind.Hole && DeviceRecord.TryRead(item.Header.Span, out var record) == LayoutFault.None
                    && record.Type != DeviceRecordType.ViewSecret)
                {
                    remembered.Apply(record);
                }
            }
        }

        var before = 0UL;
        foreach (var (use, segment) in uses)
        {
            report.SegmentsRead++;
            if (mayLackSegments && !LogPosition.IsRelocation(use) && use > before + 1)
            {
                PutInDoubt(use);
            }

            await ReadSegmentAsync(use, segment, found.GetValueOrDefault(use + 1, -1));
            before = use;
        }

        foreach (var record in _copyRecords)
        {
            if (record.Epoch > remembered.Of(record.Disk).CopiesDropped && _disks.TryGetValue(record.Disk, out var copied))
            {
                copied.NoteCopy(record);
            }
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

            await TellLostAsync(disk);
            disks.Add(disk.Id, disk.State);
        }

        return disks;
    }

    private async Task ReadSegmentAsync(ulong use, int segment, int following)
    {
        var isCopies = LogPosition.IsRelocation(use);
        var items = isCopies ? await _reader.ReadCopiesAsync(segment, use) : await _reader.ReadLogAsync(segment, use, following);
        var hasMetas = false;
        var hasHole = false;
        foreach (var item in items)
        {
            if (item.Kind == FoundKind.Hole)
            {
                hasHole = true;
                PutInDoubt(use);
            }
            else if (item.Kind == FoundKind.PrefixOnly)
            {
                TakePrefix(item);
            }
            else
            {
                hasMetas |= await TakeAsync(item, segment);
            }
        }

        if (hasHole)
        {
            report.AddDamage(
                "hole", $"not all of use {use} can be read, and the index is rebuilt from the log: what was there is in doubt");
        }
        else if (!hasMetas && items.TrueForAll(item => item.Kind == FoundKind.Whole))
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

    /// <summary>Takes an item in. True when it is of those that stay for ever, wherever they are found.</summary>
    private async Task<bool> TakeAsync(FoundItem item, int segment)
    {
        var (header, position) = (item.Header, item.Position);
        if (DeviceRecord.TryRead(header.Span, out var record) == LayoutFault.None)
        {
            await TakeAsync(record, LogPosition.IsRelocation(position.Use));
            return true;
        }

        if (!EntryHeaderCodec.TryRead(header.Span, out var fields, out _))
        {
            return false;
        }

        var known = remembered.Of(fields.Disk);
        if (LogPosition.IsRelocation(position.Use) ? position.Use < known.DroppedUse : position.Value < known.DroppedAt)
        {
            // A copy of a copy that was dropped: what came of the disk since has others.
            return false;
        }

        var disk = DiskOf(fields.Disk);
        disk.NoteEntry(fields, position);
        if (fields.HasJsonBody)
        {
            disk.NoteMeta(fields, await ReadBodyAsync(header, fields, position, segment), position);
            return true;
        }

        // Of two copies of one entry the later is taken: unless it is one that was never completed, and written over since.
        var isDoubtful = LogPosition.IsRelocation(position.Use)
            && (item.Kind == FoundKind.Unproven || await _copies.IsTwiceAsync(disk.State.Map, header, fields, position));
        var bad = isDoubtful ? await _copies.FindBadPagesAsync(header, fields, position, segment) : NoneBad;
        _sinceMerge += fields.ExtentCount;
        disk.NoteExtents(header.Span, fields, position, bad);
        return false;
    }

    private async Task TakeAsync(DeviceRecord record, bool isCopy)
    {
        if (record.Type == DeviceRecordType.ViewSecret)
        {
            Secrets[(record.Disk, record.View)] = record.Secret;
            return;
        }

        remembered.Apply(record);
        if (record.Type is DeviceRecordType.CopyEnd or DeviceRecordType.CopyLost)
        {
            // Its entries may be found later, and a drop that voids it too.
            _copyRecords.Add(record);
            return;
        }

        if (record.Type == DeviceRecordType.Dropped && !isCopy
            && _disks.Remove(record.Disk, out var dropped) && !dropped.State.Map.Tree.IsEmpty)
        {
            var delta = new LivenessDelta();
            await tree.DropAsync(dropped.State.Map.Tree, 0, delta);
            segments.Apply(delta);
            space.Settle();
        }
    }

    /// <summary>An entry of which only the prefix is left: what it set is lost, unless another copy of it is found.</summary>
    private void TakePrefix(FoundItem item)
    {
        if (DeviceRecord.IsAt(item.Header.Span))
        {
            return;
        }

        var fields = EntryHeaderCodec.ReadFields(item.Header.Span, default);
        var disk = DiskOf(fields.Disk);
        disk.NoteEntry(fields, item.Position);
        if (fields.HasJsonBody)
        {
            disk.NoteMeta(fields, null, item.Position);
            return;
        }

        _sinceMerge += fields.ExtentCount;
        disk.NoteLost(item.Header.Span, fields);
    }

    private RebuiltDisk DiskOf(Id160 id)
    {
        if (!_disks.TryGetValue(id, out var disk))
        {
            _disks.Add(id, disk = new RebuiltDisk(id, segments) { IsInDoubt = HasHoles });
        }

        return disk;
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

    /// <summary>Something can't be read: what it may have superseded is in doubt, until an entry follows on.</summary>
    private void PutInDoubt(ulong use)
    {
        if (LogPosition.IsRelocation(use))
        {
            // What was relocated is older than the history.
            _losesBeforeHistory = true;
            return;
        }

        HasHoles = true;
        foreach (var disk in _disks.Values)
        {
            disk.IsInDoubt = true;
        }
    }

    /// <summary>What the log has nowhere any more is told: no read of it would note it.</summary>
    private async Task TellLostAsync(RebuiltDisk disk)
    {
        disk.TellLost(disk.State.Map.View(0, EntryLayout.MaxSector).Pieces);
        if (disk.State.Map.Tree.LostSectors == 0)
        {
            return;
        }

        var status = await tree.WalkAsync(disk.State.Map.Tree, 0, extents =>
        {
            disk.TellLost(extents.ToArray());
            return true;
        });
        if (status != TreeRead.Ok)
        {
            throw new DeviceException("a page of the index that was just written can't be read back");
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
