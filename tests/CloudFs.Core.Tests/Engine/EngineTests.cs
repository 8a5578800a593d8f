using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

public sealed class EngineTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task What_was_written_is_read_back_before_and_after_a_clean_restart()
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var data = new byte[300_032];
        new Random(1).NextBytes(data);
        await using (var engine = await EngineHarness.OpenAsync(device))
        {
            var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
            Assert.Equal(disk.Id, disk.Durable.Id);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(1536, data, false, None));
            await AssertReads(disk, 1536, data);
            Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
            Assert.Equal(disk.Newest, disk.Durable);
        }

        await using (var engine = await EngineHarness.OpenAsync(device.Kill()))
        {
            Assert.True(engine.TryGetDisk("one", out var disk));
            await AssertReads(disk, 1536, data);
            Assert.Equal("ok", engine.GetHealth().Status);
        }
    }

    [Fact]
    public async Task A_plain_write_survives_the_death_of_the_process()
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var region = EngineHarness.NewRegion();
        var engine = await EngineHarness.OpenAsync(device, region);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
        var data = new byte[8192];
        new Random(1).NextBytes(data);
        for (var i = 0; i < 100; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)i * 8192, data, false, None));
        }

        var died = (byte[])[.. region];
        var newest = disk.Newest;
        await using var again = await EngineHarness.OpenAsync(device.Kill(), died);
        Assert.True(again.TryGetDisk("one", out var found));
        Assert.Equal(newest, found.Durable);
        await AssertReads(found, 99 * 8192, data);
        Assert.Equal("ok", again.GetHealth().Status);
        Assert.Equal(IoStatus.Ok, await found.WriteAsync(0, new byte[512], true, None));
        Assert.Equal(newest.Lsn + 2, found.Durable.Lsn);
        await engine.DisposeAsync();
    }

    private static async Task AssertReads(Disk disk, ulong offset, byte[] expected)
    {
        var read = new byte[expected.Length];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(offset, read, None));
        Assert.True(read.AsSpan().SequenceEqual(expected), "other bytes were read than were written");
    }
}
