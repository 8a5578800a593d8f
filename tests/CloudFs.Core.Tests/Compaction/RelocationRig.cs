using CloudFs.Core.Compaction;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Tests.Layout;
using Xunit;

namespace CloudFs.Core.Tests.Compaction;

/// <summary>Gives the free segments of a table, as many as it is allowed to.</summary>
internal sealed class SpaceOf(SegmentTable segments) : IRelocationSpace
{
    private ulong _next = LogPosition.FirstRelocationUse;

    public int Allowed { get; set; } = int.MaxValue;

    public List<ulong> Begun { get; } = [];

    public List<ulong> SealedUses { get; } = [];

    public bool TryBegin(int stream, out ulong use, out int segment)
    {
        use = 0;
        segment = Begun.Count < Allowed ? segments.FindUnbacked() : -1;
        if (segment < 0)
        {
            return false;
        }

        use = _next++;
        segments.Occupy(segment, SegmentState.Open, use);
        Begun.Add(use);
        return true;
    }

    public void Sealed(ulong use, HeaderTally headers)
    {
        Assert.DoesNotContain(use, SealedUses);
        SealedUses.Add(use);
        segments.Seal(use, 0, use);
    }

    public Task<int> MoveAsync(int tries, MovedPart part, DeviceException why) =>
        throw new DeviceException("nothing moves here", why);
}

/// <summary>
/// Disks whose chains lie in sealed segments of a device in memory, maps that say what is live, and a relocator over them; with
/// all that must hold whatever was relocated.
/// </summary>
internal sealed class RelocationRig
{
    public const int Sectors = 4096;
    private const int Segments = 24;

    private readonly Dictionary<Id160, ExtentMap> _maps = [];
    private readonly Dictionary<(Id160 Disk, ulong Lsn), EntryHeader> _entries = [];
    private readonly Dictionary<(Id160 Disk, ulong Lsn), LogPosition> _metas = [];

    public RelocationRig(IBlockDevice? device = null, ReadCache? cache = null)
    {
        Device = device ?? new MemoryDevice(DeviceGeometry.SegmentsOffset + (Segments * (ulong)DeviceGeometry.SegmentBytes));
        Table = new SegmentTable(Segments);
        Space = new SpaceOf(Table);
        var buffer = WriteBuffer.InMemory(2);
        var writer = new LogWriter(
            Device, Table, new BadPlaces(Device, LayoutSamples.Device, _ => { }), buffer, LayoutSamples.Device, 4096, LogEnd.Empty, Runtime);
        Log = new LogReader(Device, Table, writer, () => buffer, LayoutSamples.Device);
        Pages = new PageReader(Log, cache);
        Relocator = NewRelocator(Relocator.DefaultMoveLimit);
    }

    public IBlockDevice Device { get; }

    public MemoryDevice Memory => (MemoryDevice)Device;

    public LogReader Log { get; }

    public PageReader Pages { get; }

    public SegmentTable Table { get; }

    public SpaceOf Space { get; }

    public Relocator Relocator { get; }

    public Dictionary<ulong, SampleSegment> Built { get; } = [];

    /// <summary>The views whose secrets must be kept.</summary>
    public HashSet<Id160> InForce { get; } = [];

    public TreeRead LookupStatus { get; set; } = TreeRead.Ok;

    public Relocator NewRelocator(int limit) => new(
        Device, Table, Space, LayoutSamples.Device, 4096, LookUp, record => InForce.Contains(record.View))
    {
        MoveLimit = limit,
    };

    public ExtentMap MapOf(Id160 disk) => _maps[disk];

    public LogPosition MetaOf(Id160 disk, ulong lsn) => _metas[(disk, lsn)];

    /// <summary>A segment of commits of these items, sealed, and mapped over what was there.</summary>
    public async Task AddAsync(ulong use, params byte[][][] commits)
    {
        var segment = new SampleSegment(use);
        foreach (var items in commits)
        {
            segment.Commit(null, items);
        }

        segment.Seal(-1);
        Built.Add(use, segment);
        var at = Table.FindUnbacked();
        Table.Occupy(at, SegmentState.Sealed, use);
        await Device.WriteAsync(DeviceGeometry.SegmentOffset(at), segment.Bytes);
        await Device.FlushAsync();
        for (var i = 0; i < segment.Catalog.Count; i++)
        {
            Map(segment.Catalog.Copy(i), segment.Catalog.Position(i));
        }
    }

    /// <summary>Random updates of two disks, filling a use each to the given number of entries.</summary>
    public async Task<List<SampleDisk>> FillAsync(int seed, ulong uses, int entries)
    {
        var chance = new Random(seed);
        List<SampleDisk> disks = [new(), new(LayoutSamples.Id(0x31))];
        for (var use = 1UL; use <= uses; use++)
        {
            var commits = Enumerable.Range(0, entries / 4)
                .Select(_ => Enumerable.Range(0, 4).Select(_ => disks[chance.Next(2)].Write(RandomExtents(chance))).ToArray());
            byte[][] views = [disks[0].RecordBytes, disks[0].First, disks[1].RecordBytes, disks[1].First];
            await AddAsync(use, [.. commits.Prepend(views).Skip(use > 1 ? 1 : 0)]);
        }

        return disks;
    }

    private static EngineRuntime Runtime => new()
    {
        Time = TimeProvider.System,
        FillRandom = bytes => bytes.Clear(),
        Spawn = loop => loop(),
        Report = _ => { },
    };

    public ValueTask<RelocationOutcome> RelocateAsync(ulong use) =>
        Relocator.RelocateAsync(use, (fields, _) => fields.HasJsonBody ? 1 : 0, CheckPace, CancellationToken.None);

    /// <summary>Finishes, flushes, maps the moves, takes the victims away, and checks every copy.</summary>
    public async Task<RelocationPlan> FinishAsync(bool seal = false)
    {
        var live = Relocator.Plan.Victims.ToDictionary(use => use, LiveSectors);
        var plan = await Relocator.FinishAsync(seal, CheckPace);
        await Device.FlushAsync();
        Assert.Equal((decimal)live.Values.Sum(sectors => (long)sectors), plan.Moves.Values.Sum(moves => moves.Sum(move => (long)move.Sectors)));
        Assert.Equal(plan.MoveCount, plan.Moves.Values.Sum(moves => moves.Count));
        Apply(plan);
        foreach (var victim in plan.Victims)
        {
            Assert.Equal(0UL, LiveSectors(victim));
            Assert.True(Table.TryLocate(victim, out var segment));
            Table.Evict(segment);
            await Device.WriteAsync(DeviceGeometry.SegmentOffset(segment), new byte[DeviceGeometry.SegmentBytes]);
        }

        await CheckCopiesAsync(Device);
        return plan;
    }

    /// <summary>What all disks read as: bytes of each mapped sector, or what else it is.</summary>
    public async Task<Dictionary<(Id160 Disk, ulong Sector), string>> ReadAllAsync()
    {
        var read = new Dictionary<(Id160 Disk, ulong Sector), string>();
        foreach (var (disk, map) in _maps)
        {
            foreach (var extent in Extents(map))
            {
                for (var sector = extent.Lba; sector < extent.End; sector++)
                {
                    read.Add((disk, sector), await ReadAsync(disk, extent.Clip(sector, sector + 1)));
                }
            }
        }

        return read;
    }

    /// <summary>
    /// Every relocation segment that something is mapped to: its footer holds, a scan finds nothing amiss, its second copies
    /// are those that were scanned, and every entry proves itself and is the one that it was.
    /// </summary>
    public async Task<int> CheckCopiesAsync(IBlockDevice device)
    {
        var entries = 0;
        foreach (var use in _maps.Values.SelectMany(Extents).Select(extent => extent.Position)
            .Where(position => LogPosition.IsRelocation(position.Use)).Select(position => position.Use).Distinct())
        {
            Assert.True(Table.TryLocate(use, out var segment));
            var walker = new SegmentWalker(device, Table, LayoutSamples.Device);
            using var read = await walker.ReadSegmentAsync(segment);
            var bytes = read.Memory;
            var footer = await walker.ReadFooterAsync(segment, use);
            Assert.True(footer is not null || Table.StateOf(segment) != SegmentState.Sealed || !ReferenceEquals(device, Device));
            var scan = SegmentScan.Scan(
                bytes, LayoutSamples.Device, use, default, default, footer?.CommitsEnd ?? -1);
            Assert.Empty(scan.Holes);
            Assert.Equal(0, scan.DamagedRecords + scan.DamagedTrailers);
            Assert.All(scan.Frames, frame => Assert.True(
                frame.Content == CommitContent.Relocated && frame.Length <= (2 << 20)
                && (frame.Durable.IsNone || frame.Durable.Use == use)));
            entries += scan.Items.Count;
            if (footer is null)
            {
                continue;
            }

            var catalog = await walker.ReadCatalogAsync(segment, footer.Value);
            Assert.NotNull(catalog);
            Assert.Equal((0, false, scan.Items.Count), (catalog.DamagedCopies, catalog.IsIncomplete, catalog.Count));
            Assert.All(Enumerable.Range(0, catalog.Count), i => Assert.True(
                catalog.Position(i).Offset == scan.Items[i].Place && catalog.Copy(i).SequenceEqual(scan.Items[i].Header.Span)));
            entries += scan.Items.Count(item => CheckCopy(bytes, item));
        }

        return entries;
    }

    public ulong LiveSectors(ulong use) => _maps.Values.Aggregate(0UL, (sum, map) => sum + Extents(map)
        .Where(extent => extent.Position.Use == use).Aggregate(0UL, (sectors, extent) => sectors + extent.Sectors));

    public static IEnumerable<MappedExtent> Extents(ExtentMap map) => map.Runs().Leaves.SelectMany(leaf => leaf);

    public static ValueTask CheckPace(int bytes)
    {
        Assert.InRange(bytes, 1, 256 << 10);
        return ValueTask.CompletedTask;
    }

    public void Apply(RelocationPlan plan)
    {
        foreach (var (disk, moves) in plan.Moves)
        {
            Assert.All(moves.Zip(moves.Skip(1)), pair => Assert.True(pair.First.End <= pair.Second.Lba));
            Assert.All(moves, move => Apply(_maps[disk], move));
        }

        foreach (var meta in plan.Metas)
        {
            Assert.Equal(_metas[(meta.Disk, meta.Lsn)], meta.From);
            _metas[(meta.Disk, meta.Lsn)] = meta.To;
        }
    }

    private static void Apply(ExtentMap map, ExtentMove move)
    {
        var found = new MappedExtent[1024];
        foreach (var old in found[..map.Find(move.Lba, move.End, found)])
        {
            Assert.True(old.Position == move.From && old.Lsn == move.Lsn, "a move says exactly what was live");
            map.Apply(old with { Position = move.To, Content = move.To.IsNone ? MappedContent.Lost : old.Content });
        }
    }

    private bool CheckCopy(ReadOnlyMemory<byte> segment, ScannedItem item)
    {
        Assert.Equal((ScannedKind.Whole, false), (item.Kind, item.IsRebuilt));
        if (DeviceRecord.IsAt(item.Header.Span))
        {
            return false;
        }

        Assert.True(EntryHeaderCodec.TryRead(item.Header.Span, out var fields, out var error), error.ToString());
        var body = segment.Slice((int)item.Place + fields.HeaderLength, fields.BodyLength);
        Assert.True(EntryBody.VerifyPages(item.Header.Span, fields, body.Span, out error, out _), error.ToString());
        Assert.Equal(_entries[(fields.Disk, fields.Lsn)].Id, fields.Id);
        return true;
    }

    private void Map(ReadOnlySpan<byte> header, LogPosition position)
    {
        if (DeviceRecord.IsAt(header))
        {
            return;
        }

        Assert.True(EntryHeaderCodec.TryRead(header, out var fields, out _));
        _entries.Add((fields.Disk, fields.Lsn), fields);
        if (fields.HasJsonBody)
        {
            _metas.Add((fields.Disk, fields.Lsn), position);
            return;
        }

        if (!_maps.TryGetValue(fields.Disk, out var map))
        {
            _maps.Add(fields.Disk, map = new ExtentMap(null));
        }

        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(header, i);
            var content = extent.Kind == ExtentKind.Zero ? MappedContent.Zero : MappedContent.Data;
            map.Apply(new MappedExtent(extent.Lba, extent.Sectors, content, (ushort)i, fields.Lsn, position));
        }
    }

    private async Task<string> ReadAsync(Id160 disk, MappedExtent extent)
    {
        if (extent.Content != MappedContent.Data)
        {
            return extent.Content.ToString();
        }

        var bytes = new byte[512];
        var outcome = await Pages.ReadAsync(extent, disk, bytes);
        return outcome.Status == LogRead.Ok ? Convert.ToHexString(bytes, 0, 24) : outcome.Status.ToString();
    }

    private ValueTask<(TreeRead Status, int Count)> LookUp(Id160 disk, ulong lba, ulong end, Memory<MappedExtent> into) =>
        ValueTask.FromResult((LookupStatus, _maps.TryGetValue(disk, out var map) ? map.Find(lba, end, into.Span) : 0));

    private static ExtentRecord[] RandomExtents(Random chance) => [.. Enumerable.Range(0, chance.Next(1, 5)).Select(_ =>
        new ExtentRecord(
            (ulong)chance.Next(Sectors - 256), (uint)(1 + chance.Next(chance.Next(8) == 0 ? 256 : 24)),
            chance.Next(5) == 0 ? ExtentKind.Zero : ExtentKind.Data))];
}
