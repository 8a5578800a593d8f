using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Reads of ranges whose pages lie all over the log: right, each waited for as little as can be, and none mistaken.</summary>
public sealed class ScatteredReadsTests
{
    private const int PageBytes = 4096;
    private const int Pages = 256;
    private const int DiskBytes = Pages * PageBytes;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public void A_short_entry_is_one_read_and_a_range_of_many_waits_for_few() => Simulation.Run(1, async _ =>
    {
        var device = new FetchingDevice(new MemoryDevice(EngineHarness.DeviceBytes));
        var model = new byte[DiskBytes];
        await using var engine = await AgedAsync(device, model, first: 0, PageOrder(1));
        var disk = engine.FindDisk("one");
        await AssertReads(disk, 7 * PageBytes, model.AsMemory(7 * PageBytes, PageBytes));
        device.Forget();
        await AssertReads(disk, 9 * PageBytes, model.AsMemory(9 * PageBytes, PageBytes));
        Assert.Equal((1, 1, 0), (device.Reads, device.Waits, device.Told));

        // The sectors in the middle of a page need all of it.
        device.Forget();
        await AssertReads(disk, (11 * PageBytes) + 1024, model.AsMemory((11 * PageBytes) + 1024, 512));
        Assert.Equal((1, 1), (device.Reads, device.Waits));

        device.Forget();
        await AssertReads(disk, 0, model);
        Assert.Equal(Pages, device.Reads);
        Assert.Equal(1, device.Waits);

        // Entries written one after another adjoin: all of them are one range, but where a commit ends.
        Assert.InRange(device.Told, 1, 20);
    });

    [Fact]
    public void Of_a_long_entry_the_header_is_read_once_for_what_is_left_of_it() => Simulation.Run(1, async _ =>
    {
        var device = new FetchingDevice(new MemoryDevice(EngineHarness.DeviceBytes));
        var model = new byte[DiskBytes];
        await using var engine = await AgedAsync(device, model, first: DiskBytes, [.. PageOrder(2).Where(page => page % 4 != 1)]);
        var disk = engine.FindDisk("one");
        await AssertReads(disk, 7 * PageBytes, model.AsMemory(7 * PageBytes, PageBytes));
        device.Forget();
        await AssertReads(disk, 0, model);

        // A read for each page; the rest of the header, twice at most; few that had to be waited for.
        Assert.InRange(device.Reads, Pages, Pages + 4);
        Assert.InRange(device.Waits, 1, 8);
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Extents_of_one_entry_are_found_wherever_they_lie(bool flushed)
    {
        // One entry of 32 extents, each second of zeroes: those with data lie nearer to its beginning than their numbers say.
        // While it is the newest in the write buffer, a guess goes beyond what is there.
        var device = new FetchingDevice(new MemoryDevice(EngineHarness.DeviceBytes));
        await using var engine = await EngineHarness.OpenAsync(device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        var data = Bytes(3, 32 * PageBytes);
        for (var page = 1; page < 32; page += 2)
        {
            data.AsSpan(page * PageBytes, PageBytes).Clear();
        }

        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(PageBytes, data, flushed, None));
        device.Forget();
        for (var page = 0; page < 32; page++)
        {
            await AssertReads(disk, (ulong)(page + 1) * PageBytes, data.AsMemory(page * PageBytes, PageBytes));
            await AssertReads(disk, ((ulong)(page + 1) * PageBytes) + 512, data.AsMemory((page * PageBytes) + 512, 1024));
        }

        await AssertReads(disk, PageBytes, data);
        Assert.Equal(flushed, device.Reads > 0);
        Assert.Equal((0UL, 0UL), (engine.GetCounters().HeadersFromCopy, engine.GetCounters().DamagedPages));
    }

    [Fact]
    public async Task The_first_damaged_page_in_order_decides_and_no_other_is_told()
    {
        var device = new FetchingDevice(new MemoryDevice(EngineHarness.DeviceBytes));
        var model = new byte[DiskBytes];
        await using var engine = await AgedAsync(device, model, first: 0, PageOrder(4));
        var disk = engine.FindDisk("one");
        Flip(device.Inner, model.AsSpan((90 * PageBytes) + 700, 64));
        Flip(device.Inner, model.AsSpan((33 * PageBytes) + 700, 64));

        var read = new byte[DiskBytes];
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(0, read, None));
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        var ranges = new List<DiskRange>();
        Assert.Equal(IoStatus.Ok, await disk.DescribeAsync(0, DiskBytes, 16, ranges));
        Assert.Equal(33UL * PageBytes, Assert.Single(ranges, range => range.Content == RangeContent.Damaged).Offset);

        await AssertReads(disk, 0, model.AsMemory(0, 33 * PageBytes));
        await AssertReads(disk, 34 * PageBytes, model.AsMemory(34 * PageBytes, 56 * PageBytes));
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(34 * PageBytes, read.AsMemory(0, 60 * PageBytes), None));
        Assert.Equal(2UL * PageBytes, disk.GetStatus().DamagedBytes);
    }

    [Fact]
    public void Ranges_read_right_while_segments_are_compacted_and_used_again() =>
        Seeds.Run(0, 12, 3, seed => Simulation.Run(seed, async simulation =>
        {
            var random = new Random(seed);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(208UL << 20)) { ReadCacheBytes = seed % 2 * 200_000 };
            await host.OpenAsync();
            var disk = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            var other = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            var model = Bytes(seed, DiskBytes);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, model, false, None));
            for (var round = 0; round < 4; round++)
            {
                foreach (var page in PageOrder(seed + round).Take(140))
                {
                    random.NextBytes(model.AsSpan(page * PageBytes, PageBytes));
                    Assert.Equal(IoStatus.Ok, await disk.WriteAsync(
                        (ulong)page * PageBytes, model.AsMemory(page * PageBytes, PageBytes), false, None));
                }

                // Their segment is full with this, so that it may be compacted.
                for (var i = 0; i < 16; i++)
                {
                    Assert.Equal(IoStatus.Ok, await other.WriteAsync(0, Bytes(i, DiskBytes), false, None));
                }

                Assert.True(await host.Engine.CheckpointAsync());
                var compacting = host.Engine.CompactAsync();
                var readers = Enumerable.Range(0, 4).Select(_ => ReadAroundAsync(disk, model, new Random(random.Next())));
                await Task.WhenAll([compacting, .. readers]);
            }

            await AssertReads(disk, 0, model);
            Assert.Equal(0UL, host.Engine.GetCounters().DamagedPages);
            Assert.True(host.Engine.GetCounters().SegmentsReclaimed > 1);
        }));

    private static async Task ReadAroundAsync(Disk disk, byte[] model, Random random)
    {
        for (var i = 0; i < 12; i++)
        {
            var from = random.Next(Pages) * PageBytes;
            var length = Math.Min(random.Next(1, Pages) * PageBytes, DiskBytes - from);
            await AssertReads(disk, (ulong)from, model.AsMemory(from, length));
        }
    }

    /// <summary>
    /// A disk "one" whose first <paramref name="first"/> bytes were written at once, and then these pages, each by itself; opened
    /// anew over them.
    /// </summary>
    private static async Task<StorageEngine> AgedAsync(FetchingDevice device, byte[] model, int first, int[] pages)
    {
        await using (var engine = await EngineHarness.OpenAsync(device))
        {
            var disk = await engine.CreateDiskAsync(new DiskSpec(DiskBytes, "one"), None);
            new Random(5).NextBytes(model);
            if (first > 0)
            {
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Bytes(6, first), false, None));
                Bytes(6, first).CopyTo(model, 0);
            }

            foreach (var page in pages)
            {
                var bytes = model.AsMemory(page * PageBytes, PageBytes);
                new Random(page).NextBytes(bytes.Span);
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)page * PageBytes, bytes, false, None));
            }

            Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        }

        device.Restart();
        return await EngineHarness.OpenAsync(device);
    }

    private static int[] PageOrder(int seed)
    {
        var order = Enumerable.Range(0, Pages).ToArray();
        new Random(seed).Shuffle(order);
        return order;
    }

    private static void Flip(MemoryDevice device, ReadOnlySpan<byte> bytes)
    {
        const ulong first = 8 << 20;
        var at = device.Peek(first, 16 << 20).AsSpan().IndexOf(bytes);
        Assert.True(at >= 0);
        device.FlipBit(first + (ulong)at, 3);
    }

    private static byte[] Bytes(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static async Task AssertReads(Disk disk, ulong offset, ReadOnlyMemory<byte> expected)
    {
        var read = new byte[expected.Length];
        new Random(9).NextBytes(read);
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(offset, read, None));
        var same = read.AsSpan().CommonPrefixLength(expected.Span);
        Assert.True(same == read.Length, $"byte {offset + (ulong)same} is not what was written");
    }
}
