using CloudFs.Core.Checkpoints;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// Whatever stands in a slot, loading a checkpoint gives one, or none and the reason. Contents are mutated with the checks of
/// their pages computed anew, so that the parser sees them.
/// </summary>
public sealed class CheckpointFuzzTests
{
    private const int Rounds = 1200;

    [Fact]
    public async Task Any_mutated_contents_are_loaded_or_told_to_be_damaged()
    {
        var device = await SampleCheckpoint.DeviceAsync();
        var golden = GoldenLayout.Read("checkpoint-page");
        var length = BitConverter.ToInt32(golden, CheckpointPageLayout.Length);
        var chance = new Random(21);
        var loaded = 0;
        for (var i = 0; i < Rounds; i++)
        {
            // One to three mutations anywhere in the contents, where LayoutMutants prefers the start.
            var from = CheckpointPageLayout.HeaderBytes + chance.Next(length);
            var part = LayoutMutants.Mutate(chance, golden[from..(CheckpointPageLayout.HeaderBytes + length)]);
            var page = (byte[])golden.Clone();
            part.AsSpan(0, Math.Min(part.Length, page.Length - from)).CopyTo(page.AsSpan(from));
            CheckpointRoot.SealPage(page, LayoutSamples.Device, 1, 0, length);
            loaded += await LoadsAsync(device, 0, page) ? 1 : 0;
        }

        Assert.InRange(loaded, 1, Rounds - 1);
    }

    [Fact]
    public async Task Any_mutated_root_or_page_header_is_loaded_or_told_to_be_damaged()
    {
        var device = await SampleCheckpoint.DeviceAsync();
        var root = GoldenLayout.Read("checkpoint-root");
        var page = GoldenLayout.Read("checkpoint-page");
        var chance = new Random(22);
        for (var i = 0; i < Rounds; i++)
        {
            var mutant = LayoutMutants.Mutate(chance, i % 2 == 0 ? root : page);
            Array.Resize(ref mutant, i % 2 == 0 ? root.Length : page.Length);
            LayoutMutants.Mend(mutant, i % 2 == 0 ? CheckpointRootLayout.Check : CheckpointPageLayout.Check);
            await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(0), i % 2 == 0 ? mutant : root);
            await LoadsAsync(device, 0, i % 2 == 0 ? page : mutant, mayBeAbsent: i % 2 == 0);
        }
    }

    [Fact]
    public async Task Contents_that_do_not_fit_the_slot_spill_into_segments_and_are_read_back()
    {
        var device = await SampleCheckpoint.DeviceAsync(70_000, isPair: true);
        var damage = new List<string>();

        var loaded = await SampleCheckpoint.LoadAsync(device, damage);

        Assert.Empty(damage);
        var disk = loaded!.Disks[new SampleDisk().Head.Disk];
        Assert.Equal(70_000, disk.Lsns.Runs.Count);
        Assert.Equal(70_001UL, disk.Head.Lsn);
        var spills = Enumerable.Range(0, SampleCheckpoint.SegmentCount).Where(IsSpill).ToList();
        Assert.Equal([SampleCheckpoint.SegmentCount - 2, SampleCheckpoint.SegmentCount - 1], spills);
        Assert.DoesNotContain(loaded.Segments.Snapshot(), use => spills.Contains(use.Segment));

        bool IsSpill(int segment) => loaded.Segments.StateOf(segment) == SegmentState.Checkpoint;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    [InlineData(31)]
    public async Task A_page_that_rotted_makes_the_checkpoint_damaged_not_shorter(int index)
    {
        var device = await SampleCheckpoint.DeviceAsync(70_000);
        var offset = CheckpointRoot.PageOffset(0, [SampleCheckpoint.SegmentCount - 1], index);
        device.FlipBit(offset + 1000, 3);
        var damage = new List<string>();

        Assert.Null(await SampleCheckpoint.LoadAsync(device, damage));
        Assert.Contains($"page {index}", Assert.Single(damage));
    }

    [Fact]
    public async Task A_page_of_another_place_is_not_taken()
    {
        var device = await SampleCheckpoint.DeviceAsync(70_000);
        var page = await SampleCheckpoint.ReadAsync(device, CheckpointRoot.PageOffset(0, [], 7), CheckpointPageLayout.Size);
        await device.WriteAsync(CheckpointRoot.PageOffset(0, [], 8), page);
        var damage = new List<string>();

        Assert.Null(await SampleCheckpoint.LoadAsync(device, damage));
        Assert.Contains("page 8", Assert.Single(damage));
    }

    [Fact]
    public async Task Both_slots_say_the_same_so_that_one_may_be_damaged()
    {
        var device = await SampleCheckpoint.DeviceAsync(isPair: true);
        var damage = new List<string>();
        var store = new CheckpointStore(device, LayoutSamples.Device);
        var loaded = await store.LoadAsync(SampleCheckpoint.SegmentCount, damage.Add);
        var later = SampleCheckpoint.RollFrom.Plus(4096);
        await store.WriteAsync(loaded!.Segments, SampleCheckpoint.Contents(loaded.Segments, later, 80), later, 0);

        Assert.Equal(later, (await SampleCheckpoint.LoadAsync(device, damage))!.Cut.RollFrom);
        Assert.Empty(damage);
        for (var slot = 0; slot < DeviceGeometry.CheckpointSlots; slot++)
        {
            device.FlipBit(DeviceGeometry.CheckpointSlotOffset(slot) + 50, 0);
            Assert.Equal(later, (await SampleCheckpoint.LoadAsync(device, damage))!.Cut.RollFrom);
            Assert.Equal(slot + 1, damage.Count);
            device.FlipBit(DeviceGeometry.CheckpointSlotOffset(slot) + 50, 0);
        }
    }

    [Fact]
    public async Task The_second_of_a_pair_alone_makes_it_whole()
    {
        var device = await SampleCheckpoint.DeviceAsync();
        var store = new CheckpointStore(device, LayoutSamples.Device);
        var loaded = await store.LoadAsync(SampleCheckpoint.SegmentCount, _ => { });
        Assert.False(store.IsPaired);

        await store.WriteAsync(loaded!.Segments, SampleCheckpoint.Contents(loaded.Segments, SampleCheckpoint.RollFrom, 80), default, 0);

        Assert.True(store.IsPaired);
        Assert.Equal(4UL, store.Newest);
        var again = new CheckpointStore(device, LayoutSamples.Device);
        await again.LoadAsync(SampleCheckpoint.SegmentCount, _ => { });
        Assert.True(again.IsPaired);
    }

    [Fact]
    public async Task A_disk_that_stands_there_twice_and_lost_sectors_beyond_any_disk_are_damage()
    {
        var device = await SampleCheckpoint.DeviceAsync();
        var segments = new SegmentTable(SampleCheckpoint.SegmentCount);
        var disk = (await SampleCheckpoint.LoadAsync(device, []))!.Disks.Values.First();
        var snapshot = DiskSnapshot.Of(disk);
        foreach (var disks in (DiskSnapshot[][])[[snapshot, snapshot], [snapshot with { Lost = [(ulong.MaxValue - 100, ulong.MaxValue)] }]])
        {
            var store = new CheckpointStore(device, LayoutSamples.Device);
            await store.WriteAsync(segments, SampleCheckpoint.Contents(segments, default, 1, disks), default, 0);
            var damage = new List<string>();
            Assert.Null(await SampleCheckpoint.LoadAsync(device, damage));
            Assert.Equal(2, damage.Count);
        }
    }

    /// <summary>True when it is loaded; false, with one reason told, when it is not. A root of another device is no damage.</summary>
    private static async Task<bool> LoadsAsync(MemoryDevice device, int index, byte[] page, bool mayBeAbsent = false)
    {
        await device.WriteAsync(CheckpointRoot.PageOffset(0, [], index), page);
        await device.FlushAsync();
        var damage = new List<string>();
        var loaded = await SampleCheckpoint.LoadAsync(device, damage);
        Assert.InRange(damage.Count, loaded is null && !mayBeAbsent ? 1 : 0, loaded is null ? 1 : 0);
        return loaded is not null;
    }
}
