using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

public sealed class ClockAndViewTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task After_a_clock_that_jumped_back_time_advances_by_a_microsecond_an_entry_and_it_is_told_once()
    {
        var clock = new SettableClock();
        var events = new List<EngineEvent>();
        await using var engine = await EngineHarness.OpenAsync(
            new MemoryDevice(EngineHarness.DeviceBytes), events: events, time: clock);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None);
        var before = disk.GetStatus().TimeMicros;

        clock.Now -= TimeSpan.FromHours(1);
        for (ulong entry = 1; entry <= 3; entry++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled((byte)entry), false, None));
            Assert.Equal(before + entry, disk.GetStatus().TimeMicros);
        }

        Assert.Single(events, told => told.Code == "clock-jumped");
        clock.Now += TimeSpan.FromHours(2);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(9), false, None));
        Assert.Equal(before + 3_600_000_000, disk.GetStatus().TimeMicros);
    }

    [Fact]
    public async Task A_disk_that_was_never_written_keeps_its_two_ids_equal_through_restarts_and_then_opens_a_view()
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        Id160 id;
        await using (var engine = await EngineHarness.OpenAsync(device))
        {
            id = (await engine.CreateDiskAsync(new DiskSpec(1 << 30, "one"), None)).Id;
        }

        for (var restart = 0; restart < 2; restart++)
        {
            device = device.Kill();
            await using var engine = await EngineHarness.OpenAsync(device);
            Assert.True(engine.TryGetDisk("one", out var unwritten));
            Assert.Equal(new DiskVersion(1, id), unwritten.Durable);
        }

        await using var last = await EngineHarness.OpenAsync(device.Kill());
        Assert.True(last.TryGetDisk("one", out var disk));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
        Assert.Equal(3UL, disk.Durable.Lsn);
        Assert.Equal(2UL, disk.GetStatus().Epoch);
    }

    private static byte[] Filled(byte value)
    {
        var sector = new byte[512];
        Array.Fill(sector, value);
        return sector;
    }

    private sealed class SettableClock : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        public override DateTimeOffset GetUtcNow() => Now;
    }
}
