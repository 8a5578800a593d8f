using CloudFs.Core.Compaction;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Layout;
using Xunit;

namespace CloudFs.Core.Tests.Compaction;

/// <summary>What is relocated reads as before, what is dead is gone, and what can't be proved is not copied.</summary>
public sealed class RelocatorTests
{
    [Theory]
    [InlineData(1, 4)]
    [InlineData(2, 120)]
    [InlineData(3, 400)]
    [InlineData(4, 60)]
    public async Task All_that_is_live_reads_as_before_over_many_cycles(int seed, int entries)
    {
        var rig = new RelocationRig();
        await rig.FillAsync(seed, uses: 6, entries);
        var before = await rig.ReadAllAsync();
        Assert.DoesNotContain(before.Values, value => value is nameof(LogRead.Damaged) or nameof(LogRead.Dropped));
        var judged = 0L;
        var dropped = 0L;
        for (var use = 1UL; use <= 6; use += 2)
        {
            Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(use));
            Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(use + 1));
            var plan = await rig.FinishAsync(seal: use == 5);
            judged += plan.EntriesKept + plan.EntriesDropped;
            dropped += plan.EntriesDropped;
            Assert.Equal(before, await rig.ReadAllAsync());
        }

        Assert.Equal((6 * entries) + 2, judged);
        Assert.True(dropped > 0 || entries < 60, "dead entries vanish");
        Assert.Equal(rig.Space.Begun, rig.Space.SealedUses.Order());

        // Once more: copies are victims like any other.
        foreach (var use in rig.Space.Begun.ToList())
        {
            Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(use));
        }

        await rig.FinishAsync(seal: true);
        Assert.Equal(before, await rig.ReadAllAsync());
    }

    [Fact]
    public async Task A_page_stays_when_a_sector_of_it_is_mapped_and_all_others_are_marked()
    {
        var rig = new RelocationRig();
        var disk = new SampleDisk();
        await rig.AddAsync(1, [disk.RecordBytes, disk.First], [disk.Update(4, 40), disk.Update(104, 8), disk.Trim(200, 64)]);
        await rig.AddAsync(2, [disk.Update(9, 15), disk.Update(104, 8), disk.Update(208, 8)]);
        var before = await rig.ReadAllAsync();

        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        var plan = await rig.FinishAsync();

        // Of the pages 4-7, 8-15, 16-23, 24-31, 32-39, 40-43 only the third is covered; of the second one sector shows.
        Assert.Equal((3, 1, 2, 0), (plan.EntriesKept, plan.EntriesDropped, plan.PagesDropped, plan.PagesLost));
        Assert.Equal(before, await rig.ReadAllAsync());
        var moves = plan.Moves[disk.Head.Disk];
        Assert.Equal([(4UL, 5UL), (24, 20), (200, 8), (216, 48)], moves.Select(move => (move.Lba, move.Sectors)));
        var header = await HeaderAsync(rig, moves[0].To);
        Assert.True(EntryHeaderCodec.TryRead(header, out var fields, out _));
        Assert.True(fields.IsCompacted);
        Assert.Equal(
            [PageState.Present, PageState.Present, PageState.Dropped, PageState.Present, PageState.Present, PageState.Present],
            Enumerable.Range(0, 6).Select(i => EntryHeaderCodec.ReadPage(header, fields, i).State));
        Assert.Equal(32 * 512, fields.BodyLength);
    }

    [Fact]
    public async Task Views_stay_whole_with_the_secret_before_the_one_in_force()
    {
        var rig = new RelocationRig();
        var disk = new SampleDisk();
        var other = new SampleDisk(LayoutSamples.Id(0x31));
        await rig.AddAsync(1, [disk.RecordBytes, disk.First, other.RecordBytes, other.First], [disk.Update(0, 8)]);
        await rig.AddAsync(2, [disk.Update(0, 8)]);
        rig.InForce.Add(other.Record.View);

        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        var plan = await rig.FinishAsync();

        Assert.Empty(plan.Moves);
        Assert.Equal([(disk.Head.Disk, 1UL), (other.Head.Disk, 1)], plan.Metas.Select(meta => (meta.Disk, meta.Lsn)));
        var use = Assert.Single(rig.Space.Begun);
        Assert.True(rig.Table.TryLocate(use, out var segment));
        var bytes = rig.Memory.Peek(DeviceGeometry.SegmentOffset(segment), DeviceGeometry.SegmentBytes);
        var at = (int)plan.Metas[1].To.Offset;
        Assert.Equal(other.First, bytes[at..(at + other.First.Length)]);
        Assert.Equal(other.RecordBytes, bytes[(at - 512)..at]);
        at = (int)plan.Metas[0].To.Offset;
        Assert.Equal(512, at);
        Assert.Equal(disk.First, bytes[at..(at + disk.First.Length)]);
    }

    [Fact]
    public async Task Rotted_pages_are_lost_and_never_copied()
    {
        var rig = new RelocationRig();
        var disk = new SampleDisk();
        await rig.AddAsync(1, [disk.RecordBytes, disk.First], [disk.Update(4, 40), disk.Update(104, 8), disk.Update(200, 8)]);
        var before = await rig.ReadAllAsync();
        Rot(rig, 1, item: 2, page: 2);
        Rot(rig, 1, item: 3, page: 0);

        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        var plan = await rig.FinishAsync();

        Assert.Equal((2, 4, 0), (plan.PagesLost, plan.EntriesKept, plan.EntriesDropped));
        foreach (var ((_, sector), value) in await rig.ReadAllAsync())
        {
            var lost = sector is (>= 16 and < 24) or (>= 104 and < 112);
            Assert.Equal(lost ? nameof(MappedContent.Lost) : before[(disk.Head.Disk, sector)], value);
        }
    }

    [Fact]
    public async Task An_index_that_means_sectors_which_the_entry_has_not_loses_them()
    {
        var rig = new RelocationRig();
        var disk = new SampleDisk();
        await rig.AddAsync(1, [disk.Update(0, 8), disk.Trim(64, 8)]);
        var wrong = RelocationRig.Extents(rig.MapOf(disk.Head.Disk)).First();
        rig.MapOf(disk.Head.Disk).Apply(wrong with { Lba = 2, Sectors = 2, ExtentIndex = 1 });

        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        await rig.FinishAsync();

        Assert.Equal(
            [MappedContent.Data, MappedContent.Lost, MappedContent.Data, MappedContent.Zero],
            RelocationRig.Extents(rig.MapOf(disk.Head.Disk)).Select(extent => extent.Content));
    }

    [Theory]
    [InlineData("record", false)]
    [InlineData("places", true)]
    [InlineData("copy", true)]
    [InlineData("copy and original", true)]
    [InlineData("copy, original and tail", false)]
    [InlineData("places and header", true)]
    [InlineData("places, header and page", false)]
    [InlineData("view", false)]
    public async Task A_victim_of_which_not_all_can_be_told_is_refused(string damage, bool done)
    {
        var rig = new RelocationRig();
        var disk = new SampleDisk();
        await rig.AddAsync(1, [disk.RecordBytes, disk.First], [disk.Update(4, 40), disk.Update(100, 8)]);
        var before = await rig.ReadAllAsync();
        var built = rig.Built[1];
        Assert.True(SegmentFooter.TryRead(
            built.Bytes.AsSpan(SegmentFooter.RecordOffset), LayoutSamples.Device, out var footer) == LayoutFault.None);
        Assert.True(rig.Table.TryLocate(1, out var segment));
        void Flip(int at) => rig.Memory.FlipBit(DeviceGeometry.SegmentOffset(segment) + (ulong)at, 3);
        foreach (var what in damage.Split([", ", " and "], StringSplitOptions.None))
        {
            Flip(what switch
            {
                "record" => SegmentFooter.RecordOffset + 40,
                "places" => footer.PlacesStart + 1,
                "copy" => footer.CopiesStart + footer.CopiesLength - 112,
                "original" => (int)built.Catalog.Position(3).Offset + 100,
                "header" => (int)built.Catalog.Position(2).Offset + 200,
                "tail" => (int)built.Catalog.Position(3).Offset + built.Catalog.Copy(3).Length + 5,
                "page" => (int)built.Catalog.Position(2).Offset + built.Catalog.Copy(2).Length + 5,
                _ => (int)built.Catalog.Position(1).Offset + built.Catalog.Copy(1).Length + 5,
            });
        }

        Assert.Equal(done ? RelocationOutcome.Done : RelocationOutcome.Unreadable, await rig.RelocateAsync(1));
        Assert.Equal(done ? [1UL] : [], rig.Relocator.Plan.Victims);
        if (done)
        {
            await rig.FinishAsync();
            Assert.Equal(before, await rig.ReadAllAsync());
        }
        else
        {
            Assert.Empty(rig.Relocator.Plan.Moves);
            Assert.Empty(rig.Relocator.Plan.Metas);
        }
    }

    [Fact]
    public async Task What_stops_a_victim_leaves_the_plan_as_it_was()
    {
        var rig = new RelocationRig();
        await rig.FillAsync(5, uses: 4, entries: 200);
        var before = await rig.ReadAllAsync();
        Assert.Equal(RelocationOutcome.Gone, await rig.RelocateAsync(77));
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        rig.LookupStatus = TreeRead.Mismatch;
        Assert.Equal(RelocationOutcome.IndexDamaged, await rig.RelocateAsync(2));
        rig.LookupStatus = TreeRead.Ok;
        rig.Memory.FailReads = true;
        Assert.Equal(RelocationOutcome.Unreadable, await rig.RelocateAsync(2));
        rig.Memory.FailReads = false;
        rig.Space.Allowed = 2;
        var done = new List<ulong> { 1 };
        for (var use = 2UL; use <= 4; use++)
        {
            if (await rig.RelocateAsync(use) == RelocationOutcome.Done)
            {
                done.Add(use);
            }
        }

        Assert.Equal(done, rig.Relocator.Plan.Victims);
        await rig.FinishAsync(seal: true);
        Assert.Equal(before, await rig.ReadAllAsync());

        rig.Space.Allowed = int.MaxValue;
        var narrow = rig.NewRelocator(limit: 3);
        Assert.Equal(
            RelocationOutcome.TooMuch,
            await narrow.RelocateAsync(rig.Space.Begun.MaxBy(rig.LiveSectors), (_, _) => 0, RelocationRig.CheckPace, CancellationToken.None));
    }

    [Fact]
    public async Task No_room_gives_the_victim_up_and_the_rest_stands()
    {
        var rig = new RelocationRig();
        await rig.FillAsync(6, uses: 2, entries: 60);
        var before = await rig.ReadAllAsync();
        rig.Space.Allowed = 0;
        Assert.Equal(RelocationOutcome.NoRoom, await rig.RelocateAsync(1));
        Assert.Equal(0, rig.Relocator.RoomLeft(0));
        rig.Space.Allowed = 2;
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        Assert.InRange(rig.Relocator.RoomLeft(0), 8 << 20, 16 << 20);
        await rig.FinishAsync();
        Assert.Equal(before, await rig.ReadAllAsync());
    }

    [Fact]
    public async Task Cancelled_anywhere_the_rest_of_the_plan_stands()
    {
        var stops = 0;
        for (var at = 1; at == 1 || stops == at - 1; at++)
        {
            var rig = new RelocationRig();
            await rig.FillAsync(7, uses: 2, entries: 80);
            var before = await rig.ReadAllAsync();
            Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
            var left = at;
            ValueTask Pace(int bytes) => --left == 0 ? throw new OperationCanceledException() : RelocationRig.CheckPace(bytes);
            try
            {
                Assert.Equal(RelocationOutcome.Done, await rig.Relocator.RelocateAsync(2, (_, _) => 0, Pace, CancellationToken.None));
                Assert.Equal([1UL, 2], rig.Relocator.Plan.Victims);
            }
            catch (OperationCanceledException)
            {
                stops++;
                Assert.Equal([1UL], rig.Relocator.Plan.Victims);
            }

            await rig.FinishAsync();
            Assert.Equal(before, await rig.ReadAllAsync());
            if (stops == at)
            {
                Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(2));
                await rig.FinishAsync();
                Assert.Equal(before, await rig.ReadAllAsync());
            }
        }

        Assert.InRange(stops, 4, 400);
    }

    [Fact]
    public async Task Abandoned_it_is_as_though_it_had_not_been()
    {
        var rig = new RelocationRig();
        await rig.FillAsync(8, uses: 3, entries: 300);
        var before = await rig.ReadAllAsync();
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        await rig.FinishAsync();
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(2));
        rig.Relocator.Abandon();
        Assert.Equal(before, await rig.ReadAllAsync());
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(3));
        Assert.Equal([3UL], (await rig.FinishAsync()).Victims);
        Assert.Equal(before, await rig.ReadAllAsync());
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    public async Task A_power_cut_anywhere_in_a_cycle_leaves_what_the_cycles_before_made(int seed)
    {
        var rig = new RelocationRig();
        await rig.FillAsync(seed, uses: 2, entries: 240);
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        await rig.FinishAsync();
        var chance = new Random(seed);
        var cuts = 0;
        rig.Memory.Pause = async () =>
        {
            var cut = rig.Memory.Copy().PowerCut(chance);
            Assert.True(await rig.CheckCopiesAsync(cut) > 0);
            cuts++;
        };
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(2));
        await rig.Relocator.FinishAsync(true, RelocationRig.CheckPace);
        await rig.Device.FlushAsync();
        rig.Memory.Pause = null;
        Assert.InRange(cuts, 8, 1000);
    }

    [Fact]
    public async Task A_failed_write_spoils_the_cycle_and_the_segment_and_nothing_else()
    {
        var rig = new RelocationRig();
        await rig.FillAsync(9, uses: 2, entries: 60);
        var before = await rig.ReadAllAsync();
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        rig.Memory.FailWrites = true;
        await Assert.ThrowsAsync<DeviceException>(async () => await rig.FinishAsync());
        await Assert.ThrowsAsync<InvariantException>(async () => await rig.FinishAsync());
        rig.Memory.FailWrites = false;
        rig.Relocator.Abandon();
        Assert.Equal(rig.Space.Begun, rig.Space.SealedUses);
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(1));
        await rig.FinishAsync();
        Assert.Equal(before, await rig.ReadAllAsync());
    }

    [Fact]
    public async Task A_victim_costs_little_memory_beyond_its_headers()
    {
        var rig = new RelocationRig(new ArrayDevice());
        await rig.FillAsync(10, uses: 4, entries: 500);
        await rig.RelocateAsync(1);
        await rig.FinishAsync();
        await rig.RelocateAsync(2);
        var headers = 0L;
        for (var i = 0; i < rig.Built[3].Catalog.Count; i++)
        {
            headers += rig.Built[3].Catalog.Copy(i).Length;
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(3));
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.True(headers > 250_000, $"{headers} bytes of headers");
        Assert.True(allocated < (2 * headers) + 600_000, $"{allocated} bytes for {headers} bytes of headers");
    }

    private static void Rot(RelocationRig rig, ulong use, int item, int page)
    {
        var catalog = rig.Built[use].Catalog;
        var header = catalog.Copy(item);
        Assert.True(EntryHeaderCodec.TryRead(header, out var fields, out _));
        foreach (var found in EntryPages.Of(header, fields))
        {
            if (found.Index == page)
            {
                Assert.True(rig.Table.TryLocate(use, out var segment));
                var at = catalog.Position(item).Offset + fields.HeaderLength + found.BodyOffset + 77;
                rig.Memory.FlipBit(DeviceGeometry.SegmentOffset(segment) + (ulong)at, 5);
            }
        }
    }

    private static async Task<byte[]> HeaderAsync(RelocationRig rig, LogPosition position)
    {
        Assert.True(rig.Table.TryLocate(position, out var at));
        var start = new byte[512];
        await rig.Device.ReadAsync(at, start);
        Assert.True(EntryHeaderCodec.TryReadLengths(start, out var length, out _, out _));
        var header = new byte[length];
        await rig.Device.ReadAsync(at, header);
        return header;
    }

    /// <summary>A device that is an array, and so allocates nothing.</summary>
    private sealed class ArrayDevice : IBlockDevice
    {
        private readonly byte[] _bytes = new byte[DeviceGeometry.SegmentsOffset + (24 * (ulong)DeviceGeometry.SegmentBytes)];

        public ulong Length => (ulong)_bytes.Length;

        public int PhysicalBlock => 4096;

        public ValueTask ReadAsync(ulong offset, Memory<byte> destination)
        {
            _bytes.AsMemory((int)offset, destination.Length).CopyTo(destination);
            return ValueTask.CompletedTask;
        }

        public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
        {
            source.CopyTo(_bytes.AsMemory((int)offset));
            return ValueTask.CompletedTask;
        }

        public ValueTask FlushAsync() => ValueTask.CompletedTask;

        public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => ValueTask.FromResult(true);

        public void Dispose()
        {
        }
    }
}
