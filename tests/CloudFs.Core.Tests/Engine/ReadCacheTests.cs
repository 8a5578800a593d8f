using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>What was read or written lately is had from memory, is always right, and hides nothing of the device.</summary>
public sealed class ReadCacheTests
{
    private const int PageBytes = 4096;
    private const int SectorBytes = 512;

    /// <summary>A few dozen pages: most of what is put in has to go again.</summary>
    private const long Tiny = 150_000;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task A_page_that_was_read_is_not_read_again()
    {
        var data = Bytes(1, 64 * PageBytes);
        await using var engine = await ReopenedAsync(data, Tiny * 10, out var device);
        var disk = engine.FindDisk("one");
        var reads = device.Reads;
        await AssertReads(disk, PageBytes + SectorBytes, data.AsMemory(PageBytes + SectorBytes, 2 * SectorBytes));
        Assert.True(device.Reads > reads);

        // The whole page came with the two sectors, and those before and behind it did not.
        reads = device.Reads;
        await AssertReads(disk, PageBytes, data.AsMemory(PageBytes, PageBytes));
        Assert.Equal(reads, device.Reads);
        await AssertReads(disk, 0, data.AsMemory(0, PageBytes));
        Assert.True(device.Reads > reads);

        // Of a range that is here in part, the rest is read.
        await AssertReads(disk, 0, data.AsMemory());
        reads = device.Reads;
        await AssertReads(disk, 0, data.AsMemory());
        Assert.Equal(reads, device.Reads);

        var counters = engine.GetCounters();
        Assert.Equal((1UL + 2 + 64, 1UL + 1 + 62), (counters.ReadCacheHits, counters.ReadCacheMisses));
        Assert.InRange(counters.ReadCacheBytes, 64UL * PageBytes, 66UL * PageBytes);
    }

    [Theory]
    [InlineData(PageBytes, true)]
    [InlineData(3 * SectorBytes, true)]
    [InlineData(64 << 10, true)]
    [InlineData((64 << 10) + SectorBytes, false)]
    [InlineData(1 << 20, false)]
    public async Task Pages_of_short_writes_are_here_at_once_and_those_of_long_ones_are_not(int length, bool isHere)
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes), readCache: Tiny * 10);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        var data = Bytes(1, length);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(8 * PageBytes, data, false, None));
        Assert.Equal(isHere, engine.GetCounters().ReadCacheBytes > 0);
        await AssertReads(disk, 8 * PageBytes, data);

        var pages = (ulong)(length + PageBytes - 1) / PageBytes;
        var counters = engine.GetCounters();
        Assert.Equal(isHere ? (pages, 0) : (0, pages), (counters.ReadCacheHits, counters.ReadCacheMisses));
    }

    [Fact]
    public async Task Extents_of_a_write_with_zeroes_between_keep_their_own_pages()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes), readCache: Tiny);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);

        // Begins and ends in mid-page; of eight pages two runs are zeroes.
        var data = Bytes(1, (7 * PageBytes) + SectorBytes);
        data.AsSpan(3 * SectorBytes, PageBytes).Clear();
        data.AsSpan((3 * SectorBytes) + (3 * PageBytes), 2 * PageBytes).Clear();
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(5 * SectorBytes, data, false, None));
        await AssertReads(disk, 5 * SectorBytes, data);
        for (var at = 0; at < data.Length; at += SectorBytes)
        {
            await AssertReads(disk, (ulong)(5 * SectorBytes) + (ulong)at, data.AsMemory(at, SectorBytes));
        }

        Assert.Equal(0UL, engine.GetCounters().ReadCacheMisses);
        Assert.True(engine.GetCounters().ReadCacheBytes < 6 * (PageBytes + 64), "zeroes are not kept");
    }

    [Fact]
    public async Task A_read_of_a_page_that_is_here_allocates_nothing()
    {
        var data = Bytes(1, PageBytes);
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes), readCache: Tiny);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(PageBytes, data, true, None));

        Assert.Equal(0, AllocatedBy(disk, new byte[PageBytes]));
    }

    [Fact]
    public async Task A_read_of_many_extents_that_are_here_allocates_nothing()
    {
        await using var engine = await EngineHarness.OpenAsync(new MemoryDevice(EngineHarness.DeviceBytes), readCache: Tiny);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        for (var page = 16; page > 0; page--)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)page * PageBytes, Bytes(page, PageBytes), true, None));
        }

        Assert.Equal(0, AllocatedBy(disk, new byte[16 * PageBytes]));
    }

    [Fact]
    public async Task After_rot_what_is_here_reads_right_and_all_else_answers_an_error()
    {
        var data = Bytes(1, 2 * PageBytes);
        await using var engine = await ReopenedAsync(data, Tiny, out var device);
        var disk = engine.FindDisk("one");
        await AssertReads(disk, 0, data.AsMemory(0, PageBytes));
        device.Flip(data.AsSpan(100, 64));
        device.Flip(data.AsSpan(PageBytes + 100, 64));

        await AssertReads(disk, 0, data.AsMemory(0, PageBytes));
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(PageBytes, new byte[PageBytes], None));
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(PageBytes, new byte[PageBytes], None));
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(0, new byte[2 * PageBytes], None));
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        Assert.Equal("degraded", engine.GetHealth().Status);
        await engine.DisposeAsync();

        await using var again = await EngineHarness.OpenAsync(device.Inner.Kill(), readCache: Tiny);
        disk = again.FindDisk("one");
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(0, new byte[PageBytes], None));
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(0, new byte[SectorBytes], None));
    }

    [Fact]
    public void A_scrub_judges_the_device_and_not_what_is_here() => Simulation.Run(1, async simulation =>
    {
        using var host = new SimulatedHost(simulation, new Random(1), new MemoryDevice(EngineHarness.DeviceBytes)) { ReadCacheBytes = Tiny };
        await host.OpenAsync();
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        var data = Bytes(1, PageBytes);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, data, true, None));
        CountingDevice.Flip(host.Device, data.AsSpan(100, 64));
        host.Engine.Scrub.Begin();
        while (host.Engine.Scrub.GetStatus() is { Running: true })
        {
            await Task.Delay(TimeSpan.FromMilliseconds(50), simulation.Time);
        }

        Assert.Equal(1UL, host.Engine.Scrub.GetStatus().FindingCount);
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        await AssertReads(disk, 0, data);
    });

    [Fact]
    public void With_room_for_a_few_pages_a_disk_reads_as_it_was_written()
    {
        var hits = 0UL;
        Seeds.Run(0, 25, 3, seed => Simulation.Run(seed, async simulation =>
        {
            const int diskBytes = 1 << 20;
            var random = new Random(seed);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(208UL << 20)) { ReadCacheBytes = Tiny };
            await host.OpenAsync();
            var id = (await host.Engine.CreateDiskAsync(new DiskSpec(diskBytes), None)).Id.ToString();
            var model = new byte[diskBytes];
            for (var i = 0; i < 300; i++)
            {
                Assert.True(host.Engine.TryGetDisk(id, out var disk));
                await StepAsync(host, disk, model, random);
            }

            Assert.True(host.Engine.TryGetDisk(id, out var last));
            await AssertReads(last, 0, model);
            hits += host.Engine.GetCounters().ReadCacheHits;
        }));
        Assert.True(hits > 0);
    }

    private static async Task StepAsync(SimulatedHost host, Disk disk, byte[] model, Random random)
    {
        // Mostly within a few pages of one another, so that they overlap and come again.
        var sectors = random.Next(4) == 0 ? random.Next(1, 300) : random.Next(1, 20);
        var first = random.Next(random.Next(3) == 0 ? (model.Length / SectorBytes) - sectors : 400);
        var (offset, length) = (first * SectorBytes, sectors * SectorBytes);
        switch (random.Next(40))
        {
            case < 14:
                var data = new byte[length];
                random.NextBytes(data);
                data.AsSpan(0, random.Next(3) == 0 ? length / 2 : 0).Clear();
                data.CopyTo(model, offset);
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, data, random.Next(8) == 0, None));
                break;
            case < 17:
                model.AsSpan(offset, length).Clear();
                Assert.Equal(IoStatus.Ok, await disk.ZeroAsync((ulong)offset, (ulong)length, false, None));
                break;
            case 17:
                Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
                break;
            case 18:
                Assert.True(await host.Engine.CheckpointAsync());
                break;
            case 19:
                await host.Engine.CompactAsync();
                break;
            case 20 when random.Next(4) == 0:
                await host.EndAsync(End.Kill, stopFirst: random.Next(2) == 0);
                await host.OpenAsync();
                break;
            case 21:
                // Any bytes, written past the edges' sectors, which are read first.
                var odd = new byte[random.Next(1, length + 1)];
                random.NextBytes(odd);
                odd.CopyTo(model, offset + 7);
                Assert.Equal(IoStatus.Ok, (await disk.PutAsync((ulong)offset + 7, odd, null, None)).Status);
                break;
            default:
                await AssertReads(disk, (ulong)offset, model.AsMemory(offset, length));
                break;
        }
    }

    /// <summary>An engine that was opened over a disk "one" with these bytes: nothing of them is in memory.</summary>
    private static Task<StorageEngine> ReopenedAsync(byte[] data, long readCache, out CountingDevice counting)
    {
        var device = new CountingDevice(new MemoryDevice(EngineHarness.DeviceBytes));
        counting = device;
        return OpenAsync();

        async Task<StorageEngine> OpenAsync()
        {
            await using (var engine = await EngineHarness.OpenAsync(device))
            {
                var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, data, true, None));
            }

            device.Inner = device.Inner.Kill();
            return await EngineHarness.OpenAsync(device, readCache: readCache);
        }
    }

    private static long AllocatedBy(Disk disk, byte[] buffer)
    {
        var before = 0L;
        for (var i = 0; i < 1200; i++)
        {
            if (i == 200)
            {
                // The first rounds pay for compilation and for filling pools.
                before = GC.GetAllocatedBytesForCurrentThread();
            }

            var read = disk.ReadAsync(PageBytes, buffer, None);
            if (!read.IsCompletedSuccessfully || read.Result != IoStatus.Ok)
            {
                Assert.Fail("it had to be waited for");
            }
        }

        return GC.GetAllocatedBytesForCurrentThread() - before;
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
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(offset, read, None));
        var same = read.AsSpan().CommonPrefixLength(expected.Span);
        Assert.True(same == read.Length, $"byte {offset + (ulong)same} is not what was written");
    }

    /// <summary>A device that counts how often it is read.</summary>
    private sealed class CountingDevice(MemoryDevice inner) : IBlockDevice
    {
        private int _reads;

        public MemoryDevice Inner { get; set; } = inner;

        public int Reads => Volatile.Read(ref _reads);

        public ulong Length => Inner.Length;

        public int PhysicalBlock => Inner.PhysicalBlock;

        /// <summary>Rots a bit of these bytes, wherever they lie.</summary>
        public void Flip(ReadOnlySpan<byte> bytes) => Flip(Inner, bytes);

        public static void Flip(MemoryDevice device, ReadOnlySpan<byte> bytes)
        {
            const ulong first = 8 << 20;
            var at = device.Peek(first, 16 << 20).AsSpan().IndexOf(bytes);
            Assert.True(at >= 0);
            device.FlipBit(first + (ulong)at, 3);
        }

        public ValueTask ReadAsync(ulong offset, Memory<byte> destination)
        {
            Interlocked.Increment(ref _reads);
            return Inner.ReadAsync(offset, destination);
        }

        public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source) => Inner.WriteAsync(offset, source);

        public ValueTask FlushAsync() => Inner.FlushAsync();

        public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => Inner.TryReserveAsync(offset, length);

        public void Dispose() => Inner.Dispose();
    }
}
