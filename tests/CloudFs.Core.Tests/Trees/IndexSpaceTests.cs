using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Trees;
using Xunit;

namespace CloudFs.Core.Tests.Trees;

public sealed class IndexSpaceTests
{
    [Fact]
    public void Page_numbers_lead_to_places_and_back()
    {
        const ulong Device = (8 << 20) + (3UL << 24);
        Assert.Equal((512, 4096, 6UL << 20), (
            IndexPageNumber.FixedPages, IndexPageNumber.PagesInSegment, IndexPageNumber.FixedAreaOffset));
        foreach (var (page, offset) in new[]
        {
            (1UL, (6UL << 20) + 4096), (511UL, (8UL << 20) - 4096), (4096UL, 8UL << 20), (4097UL, (8UL << 20) + 4096),
            (8191UL, (24UL << 20) - 4096), (8192UL, 24UL << 20), (16_383UL, Device - 4096),
        })
        {
            Assert.True(IndexPageNumber.TryOffset(page, Device, out var found));
            Assert.Equal(offset, found);
            var (segment, slot) = IndexPageNumber.PlaceOf(page);
            Assert.Equal(page, IndexPageNumber.Of(segment, slot));
        }

        foreach (var page in new[] { 0UL, 512UL, 4095UL, 16_384UL, 1UL << 43, ulong.MaxValue })
        {
            Assert.False(IndexPageNumber.TryOffset(page, Device, out _));
        }
    }

    [Fact]
    public void The_fixed_area_goes_first_then_the_lowest_segment()
    {
        var space = Make(2, out var segments);
        Assert.Equal(Enumerable.Range(1, 511).Select(i => (ulong)i), Take(space, 511));
        Assert.Equal(2, segments.Free);
        Assert.Equal([4096UL, 4097UL], Take(space, 2));
        Take(space, 4094);
        Assert.Equal([8192UL], Take(space, 1));
        Assert.Equal((511 + 4096 + 1, 4095), (space.PagesInUse, space.FreePages));

        space.Release(7);
        space.Release(4099);
        space.Settle();
        Assert.Equal([7UL, 4099UL, 8193UL], Take(space, 3));
    }

    [Fact]
    public void What_was_released_is_not_used_again_before_it_is_settled()
    {
        var space = Make(1, out var segments);
        Take(space, 600);
        space.Settle();
        for (var page = 1UL; page < 512; page++)
        {
            space.Release(page);
        }

        Assert.Equal(600 - 511, space.PagesInUse);
        Assert.All(Take(space, 100), page => Assert.True(page >= 4096));
        Assert.Equal([0], space.Snapshot().Select(area => area.Segment));
        space.Settle();
        Assert.Equal([1UL], Take(space, 1));
        Assert.Equal(0, segments.Free);
    }

    [Fact]
    public void Segments_without_pages_are_given_back()
    {
        var space = Make(3, out var segments);
        var pages = Take(space, 511 + 4096 + 10);
        pages.Skip(511).Take(4096).ToList().ForEach(space.Release);
        Assert.Equal(1, segments.Free);
        space.Settle();
        Assert.Equal(2, segments.Free);
        Assert.Equal([4096UL * 2 + 10], Take(space, 1));
        space.Abandon();
        Assert.Equal(521, space.PagesInUse);
    }

    [Fact]
    public void What_a_failed_merge_did_is_undone()
    {
        var space = Make(3, out var segments);
        var kept = Take(space, 300);
        space.Settle();
        var before = Flat(space);

        var fresh = Take(space, 1000);
        space.Release(kept[5]);
        space.Release(fresh[5]);
        space.Abandon();

        Assert.Equal(before, Flat(space));
        Assert.Equal((300, 3), (space.PagesInUse, segments.Free));
        Assert.Equal(fresh, Take(space, 1000));
    }

    [Fact]
    public void A_snapshot_restores_what_is_in_use_and_nothing_else()
    {
        var space = Make(3, out _);
        var pages = Take(space, 5000);
        pages.Where((_, i) => i % 3 == 0).ToList().ForEach(space.Release);
        var restored = Make(3, out var segments);
        restored.Restore(space.Snapshot());

        Assert.Equal(Flat(space), Flat(restored));
        Assert.Equal(space.PagesInUse, restored.PagesInUse);
        Assert.Equal(3, segments.Free);
        Assert.Equal(pages[0], restored.Allocate());
    }

    [Fact]
    public void No_segment_is_an_error_and_a_release_of_what_is_not_in_use_is_a_defect()
    {
        var space = Make(0, out _);
        Take(space, 511);
        Assert.Throws<IndexSpaceException>(() => space.Allocate());
        space.Release(4);
        Assert.Throws<InvariantException>(() => space.Release(4));
        Assert.Throws<InvariantException>(() => space.Release(4096));
    }

    [Theory]
    [InlineData(3, 512)]
    [InlineData(-2, 512)]
    [InlineData(0, 511)]
    [InlineData(-1, 512)]
    [InlineData(1, 512)]
    public void A_map_that_can_not_be_is_refused(int segment, int bytes) => Assert.Throws<IndexSpaceException>(() =>
        Make(3, out _).Restore([(1, new byte[512]), (segment, new byte[bytes])]));

    [Fact]
    public async Task Room_below_the_device_is_reserved_once_before_the_first_write()
    {
        var device = new SparseDevice { HasRoom = true };
        var space = new IndexSpace(device, new FakeSegments(2));
        Take(space, 513);
        await space.WriteAsync(1, new byte[4096]);
        await space.WriteAsync(3, new byte[8192]);
        await space.WriteAsync(4097, new byte[4096]);

        Assert.Equal(
            ["reserve 6291456 2097152", "write 6295552 4096", "write 6303744 8192", "reserve 8388608 16777216", "write 8392704 4096"],
            device.Done);
        Assert.Equal(16_384, space.BytesWritten);
    }

    [Fact]
    public async Task Without_room_below_the_device_nothing_is_written()
    {
        var device = new SparseDevice();
        var space = new IndexSpace(device, new FakeSegments(2));
        space.Allocate();

        await Assert.ThrowsAsync<IndexSpaceException>(async () => await space.WriteAsync(1, new byte[4096]));

        Assert.Equal(["reserve 6291456 2097152"], device.Done);
        Assert.Equal(0, space.BytesWritten);
    }

    private static IndexSpace Make(int count, out FakeSegments segments)
    {
        segments = new FakeSegments(count);
        return new IndexSpace(new MemoryDevice(DeviceGeometry.SegmentOffset(count)), segments);
    }

    private static List<ulong> Take(IndexSpace space, int count) => [.. Enumerable.Range(0, count).Select(_ => space.Allocate())];

    private static List<string> Flat(IndexSpace space) =>
        [.. space.Snapshot().Select(area => $"{area.Segment} {Convert.ToHexString(area.Used)}")];

    /// <summary>A file with holes in a file system that has room or has none.</summary>
    private sealed class SparseDevice : IBlockDevice
    {
        public bool HasRoom { get; init; }

        public List<string> Done { get; } = [];

        public ulong Length => DeviceGeometry.SegmentOffset(2);

        public int PhysicalBlock => 4096;

        public ValueTask ReadAsync(ulong offset, Memory<byte> destination) => throw new DeviceException("not asked for");

        public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
        {
            Done.Add($"write {offset} {source.Length}");
            return ValueTask.CompletedTask;
        }

        public ValueTask FlushAsync() => ValueTask.CompletedTask;

        public ValueTask<bool> TryReserveAsync(ulong offset, ulong length)
        {
            Done.Add($"reserve {offset} {length}");
            return ValueTask.FromResult(HasRoom);
        }

        public void Dispose()
        {
        }
    }
}
