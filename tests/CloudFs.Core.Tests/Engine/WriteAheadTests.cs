using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A log that is flushed in small pieces has what lies behind its end written before it gets there.</summary>
public sealed class WriteAheadTests
{
    private const int PageBytes = 4096;

    private static readonly CancellationToken None = CancellationToken.None;

    private readonly MemoryDevice _device = new(EngineHarness.DeviceBytes) { TellsUnwritten = true };

    [Fact]
    public async Task Short_flushes_in_a_row_have_the_way_made_ready()
    {
        await using var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        var before = engine.GetCounters().AheadBytes;
        for (var i = 0; i < 400; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)(i * PageBytes), Page(i), true, None));
        }

        // 400 commits of 8 KiB are 3.1 MiB of log: three or four pieces, and nothing far ahead of it.
        Assert.InRange(engine.GetCounters().AheadBytes - before, 3UL << 20, 5UL << 20);
        await AssertHoldsAsync(disk, 400);
    }

    [Fact]
    public async Task Long_flushes_and_writes_that_nobody_flushes_have_not()
    {
        await using var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        var before = engine.GetCounters().AheadBytes;
        for (var i = 0; i < 40; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)i << 17, Bytes(i, 128 << 10), true, None));
        }

        for (var i = 0; i < 40; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)i << 17, Bytes(i, 4096), false, None));
        }

        Assert.Equal(before, engine.GetCounters().AheadBytes);
    }

    [Fact]
    public async Task What_was_written_once_is_not_written_ahead_again()
    {
        for (var at = DeviceGeometry.SegmentsOffset; at < EngineHarness.DeviceBytes; at += 1 << 20)
        {
            await _device.WriteAsync(at, Bytes(1, 1 << 20));
        }

        await using var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        for (var i = 0; i < 50; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)(i * PageBytes), Page(i), true, None));
        }

        Assert.Equal(0UL, engine.GetCounters().AheadBytes);
        await AssertHoldsAsync(disk, 50);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Over_several_segments_and_after_a_power_cut_all_that_was_flushed_is_there(int seed)
    {
        var random = new Random(seed);
        var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
        for (var i = 0; i < 2500; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)(i * PageBytes), Page(i), true, None));
            if (random.Next(200) == 0)
            {
                await disk.WriteAsync(512 << 20, Bytes(i, random.Next(1, 2048) * 512), false, None);
            }
        }

        var found = _device.PowerCut(random);
        await using var again = await EngineHarness.OpenAsync(found);
        await AssertHoldsAsync(again.FindDisk("one"), 2500);
    }

    [Fact]
    public async Task A_flush_that_is_prepared_has_nothing_left_to_write()
    {
        await using var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Page(0), true, None));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(PageBytes, Page(1), false, None));
        var durable = disk.Durable;
        await disk.PrepareFlushAsync();
        Assert.Equal(durable, disk.Durable);
        var operations = _device.Operations;
        Assert.Equal(IoStatus.Ok, await disk.FlushHereAsync());
        Assert.Equal(operations + 1, _device.Operations);
        Assert.Equal(disk.Newest, disk.Durable);

        // Nothing to prepare: nothing is done.
        await disk.PrepareFlushAsync();
        Assert.Equal(operations + 1, _device.Operations);
        var found = _device.PowerCut(new Random(1));
        await using var again = await EngineHarness.OpenAsync(found);
        await AssertHoldsAsync(again.FindDisk("one"), 2);
    }

    [Fact]
    public async Task A_place_that_the_medium_refuses_is_left_to_the_commit_that_goes_there()
    {
        await using var engine = await EngineHarness.OpenAsync(_device);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30), None);
        _device.RefusesWrite = (_, length) => length == 1 << 20;
        for (var i = 0; i < 300; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)(i * PageBytes), Page(i), true, None));
        }

        Assert.True(_device.RefusedWrites > 0);
        Assert.Equal(0UL, engine.GetCounters().AheadBytes);
        await AssertHoldsAsync(disk, 300);
    }

    [Fact]
    public async Task A_file_tells_what_of_it_was_never_written()
    {
        var path = Path.Combine(Path.GetTempPath(), $"cloudfs-ahead-{Guid.NewGuid():n}");
        try
        {
            using var device = FileBlockDevice.Open(path, 256UL << 20);
            Assert.Equal((1UL << 20, 2UL << 20), device.FindUnwritten(1 << 20, 2 << 20));
            Assert.True(await device.TryReserveAsync(0, 16 << 20));
            Assert.Equal((1UL << 20, 2UL << 20), device.FindUnwritten(1 << 20, 2 << 20));
            await device.WriteAsync(1 << 20, Bytes(1, 1 << 20));
            Assert.Equal((2UL << 20, 1UL << 20), device.FindUnwritten(1 << 20, 2 << 20));
            Assert.Equal((0UL, 1UL << 20), device.FindUnwritten(0, 3 << 20));
            Assert.Equal(0UL, device.FindUnwritten(1 << 20, 1 << 20).Length);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static async Task AssertHoldsAsync(Disk disk, int pages)
    {
        var read = new byte[PageBytes];
        for (var i = 0; i < pages; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)(i * PageBytes), read, None));
            Assert.True(read.AsSpan().SequenceEqual(Page(i)), $"page {i} is not what was written");
        }
    }

    private static byte[] Page(int seed) => Bytes(seed, PageBytes);

    private static byte[] Bytes(int seed, int length)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
