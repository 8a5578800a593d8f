using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A place that refuses writes: what was meant for it goes elsewhere, and it is remembered. What is not a place poisons.</summary>
public sealed class BadPlaceTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(4096)]
    [InlineData(DeviceGeometry.SegmentBytes)]
    public void A_bad_place_costs_nothing_is_told_once_and_is_never_used_again(int length) => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(4096, Filled(2), false, None));
        var bad = OpenSegment(host);
        var start = length == 4096 ? EndOfLog(host) : DeviceGeometry.SegmentOffset(bad);
        host.Device.RefusesWrite = (offset, bytes) => offset < start + (ulong)length && start < offset + (ulong)bytes;

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(8192, Filled(3), true, None));

        AssertOneBad(host, bad);
        Assert.Equal(1, host.Device.RefusedWrites);
        Assert.NotEqual(bad, OpenSegment(host));
        await AssertThreeAsync(disk);
        foreach (var (end, stopFirst) in ((End, bool)[])[(End.PowerCut, false), (End.Kill, true), (End.PowerCut, false)])
        {
            await host.EndAsync(end, stopFirst);
            await host.OpenAsync();
            disk = host.Engine.FindDisk(disk.Id.ToString());
            await AssertThreeAsync(disk);
            AssertOneBad(host, bad);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(12288, Filled(4), true, None));
            Assert.True(await host.Engine.CheckpointAsync());
            Assert.Equal(0, host.Device.RefusedWrites);
            Assert.Empty(await VerifyAsync(host.Device));
        }

        var rebuilt = await host.OpenCopyAsync(withCheckpoints: false);
        await AssertThreeAsync(rebuilt.FindDisk(disk.Id.ToString()));
    });

    [Fact]
    public void Where_every_write_fails_the_device_is_poisoned_after_a_bounded_number() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
        host.Device.FailWrites = true;

        Assert.Equal(IoStatus.Poisoned, await disk.WriteAsync(0, Filled(2), true, None));

        Assert.InRange(host.Device.RefusedWrites, 1, 30);
        Assert.Equal("failed", host.Engine.GetHealth().Status);
        await host.EndAsync(End.PowerCut, stopFirst: true);
        host.Device.FailWrites = false;
        await host.OpenAsync();
        var read = new byte[4096];
        Assert.Equal(IoStatus.Ok, await host.Engine.FindDisk(disk.Id.ToString()).ReadAsync(0, read, None));
        Assert.Equal(Filled(1), read);
    });

    [Fact]
    public void A_file_system_without_room_is_no_bad_place() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        host.Device.RefusesWrite = (_, _) => throw new DeviceException("no space left on device");

        Assert.Equal(IoStatus.Poisoned, await disk.WriteAsync(0, Filled(2), true, None));

        Assert.Equal("failed", host.Engine.GetHealth().Status);
        Assert.Equal(0UL, host.Engine.GetSpace().Bad);
    });

    [Fact]
    public void A_checkpoint_whose_slot_refused_it_is_written_again_later() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        var before = host.Engine.GetCounters().Checkpoints;
        host.Device.RefusesWrite = (offset, _) => IsSlot(offset);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
        Assert.False(await host.Engine.CheckpointAsync());
        Assert.Equal("degraded", host.Engine.GetHealth().Status);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(2), true, None));
        host.Device.RefusesWrite = null;

        await Task.Delay(TimeSpan.FromSeconds(90), simulation.Time);

        Assert.True(host.Engine.GetCounters().Checkpoints > before);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    [Fact]
    public void Slots_that_refuse_every_checkpoint_poison_after_some_minutes_and_reads_go_on() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        host.Device.RefusesWrite = (offset, _) => IsSlot(offset);
        for (var minute = 0; minute < 12; minute++)
        {
            await disk.WriteAsync(0, Filled((byte)minute), true, None);
            await Task.Delay(TimeSpan.FromMinutes(1), simulation.Time);
        }

        Assert.Equal("failed", host.Engine.GetHealth().Status);
        Assert.Contains(host.Engine.GetHealth().Issues, issue => issue.Message.Contains("10 checkpoints", StringComparison.Ordinal));
        Assert.InRange(host.Device.RefusedWrites, 10, 11);
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, new byte[4096], None));
    });

    [Fact]
    public void What_the_kernel_calls_EIO_is_a_bad_place()
    {
        // The one file at hand that gives a real one: memory that is not there.
        using var memory = File.OpenHandle("/proc/self/mem", FileMode.Open, FileAccess.ReadWrite);

        var thrown = Assert.ThrowsAny<IOException>(() => RandomAccess.Write(memory, new byte[512], 4096));

        Assert.True(Posix.IsBadPlace(thrown.HResult), $"{thrown.HResult}: {thrown.Message}");
        Assert.False(Posix.IsBadPlace(Posix.ErrorNoSpace));
    }

    private static bool IsSlot(ulong offset) => offset >= DeviceGeometry.CheckpointSlotsOffset
        && offset < DeviceGeometry.CheckpointSlotOffset(DeviceGeometry.CheckpointSlots);

    private static async Task<SimulatedHost> StartAsync(Simulation simulation)
    {
        var host = new SimulatedHost(simulation, new Random(1), new MemoryDevice(EngineHarness.DeviceBytes));
        await host.OpenAsync();
        return host;
    }

    private static int OpenSegment(SimulatedHost host)
    {
        var (end, _) = host.Engine.Services.Log.Tail();
        Assert.True(host.Engine.Services.Segments.TryLocate(end.Use, out var segment));
        return segment;
    }

    private static ulong EndOfLog(SimulatedHost host)
    {
        var (end, _) = host.Engine.Services.Log.Tail();
        Assert.True(host.Engine.Services.Segments.TryLocate(end, out var offset));
        return offset;
    }

    private static void AssertOneBad(SimulatedHost host, int segment)
    {
        Assert.Equal("degraded", host.Engine.GetHealth().Status);
        Assert.Contains(host.Engine.GetHealth().Issues, issue => issue.Message.StartsWith("1 segment is bad:", StringComparison.Ordinal));
        Assert.Equal((ulong)DeviceGeometry.SegmentBytes, host.Engine.GetSpace().Bad);
        Assert.Equal(segment, Assert.Single(host.Engine.Services.Bad.Places).Segment);
        Assert.Single(host.Events, told => told.Code == "bad-place");
    }

    private static async Task<List<string>> VerifyAsync(MemoryDevice device)
    {
        var problems = new List<string>();
        await new DeviceVerifier(device.Copy(), problems.Add).RunAsync(None);
        return problems;
    }

    private static byte[] Filled(byte value) => [.. Enumerable.Repeat(value, 4096)];

    private static async Task AssertThreeAsync(Disk disk)
    {
        for (byte i = 0; i < 3; i++)
        {
            var read = new byte[4096];
            Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)i * 4096, read, None));
            Assert.Equal(Filled((byte)(i + 1)), read);
        }
    }
}
