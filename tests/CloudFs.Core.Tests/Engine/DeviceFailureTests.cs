using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

public sealed class DeviceFailureTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    [InlineData(false, true)]
    public void After_a_failed_write_or_flush_all_who_wait_are_told_and_reads_go_on(bool failsWrites, bool isHere) =>
        Simulation.Run(1, async simulation =>
        {
            using var host = await StartAsync(simulation);
            var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(4096, Filled(2), false, None));
            host.Device.FailWrites = failsWrites;
            host.Device.FailFlush = !failsWrites;

            var first = isHere ? disk.FlushHereAsync().AsTask() : disk.FlushAsync(None).AsTask();
            var second = disk.WriteAsync(8192, Filled(3), true, None).AsTask();
            Assert.Equal(IoStatus.Poisoned, await first);
            Assert.Equal(IoStatus.Poisoned, await second);
            Assert.Equal(IoStatus.Poisoned, await disk.WriteAsync(0, Filled(4), false, None));
            Assert.Equal("failed", host.Engine.GetHealth().Status);
            await AssertReadsAsync(disk, 0, Filled(1));
            await AssertReadsAsync(disk, 4096, Filled(2));

            host.Device.FailWrites = host.Device.FailFlush = false;
            Assert.Equal(IoStatus.Poisoned, await disk.FlushAsync(None));
            Assert.True(await host.EndAsync(End.PowerCut, stopFirst: true));
            await host.OpenAsync();
            Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out var found));
            await AssertReadsAsync(found, 0, Filled(1));
            Assert.Contains(host.Events, told => told.Code == "poisoned");
        });

    [Fact]
    public void When_a_checkpoints_flush_failed_no_flush_of_the_log_is_acknowledged_any_more()
    {
        for (var seed = 0; seed < 60; seed++)
        {
            Simulation.Run(seed, async simulation =>
            {
                using var host = await StartAsync(simulation);
                var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
                var before = disk.Durable;

                // The checkpoint's flush of its pages is the one that fails; the kernel tells that once.
                var checkpoint = host.Engine.CheckpointAsync();
                host.Device.FailNextFlush = true;
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), false, None));
                try
                {
                    await checkpoint;
                }
                catch (Devices.DeviceException)
                {
                    // Told to whom it happened.
                }

                var flush = await disk.FlushAsync(None);

                Assert.Equal(IoStatus.Poisoned, flush);
                Assert.Equal(before, disk.Durable);
            });
        }
    }

    [Fact]
    public void A_disk_that_could_not_be_made_durable_is_not_listed() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        host.Device.FailFlush = true;

        var refusal = await Assert.ThrowsAsync<RefusalException>(async () => await host.Engine.CreateDiskAsync(new DiskSpec(512), None));

        Assert.Equal(Refusal.Unavailable, refusal.Reason);
        Assert.Empty(host.Engine.ListDisks());
    });

    [Fact]
    public void A_device_that_can_not_be_read_answers_damaged_and_comes_back() => Simulation.Run(1, async simulation =>
    {
        using var host = await StartAsync(simulation);
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1), true, None));
        host.Device.FailReads = true;
        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(0, new byte[4096], None));
        Assert.Equal("degraded", host.Engine.GetHealth().Status);
        host.Device.FailReads = false;
        await AssertReadsAsync(disk, 0, Filled(1));
        Assert.Equal(IoStatus.Ok, await disk.ZeroAsync(0, 4096, false, None));
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    private static async Task<SimulatedHost> StartAsync(Simulation simulation)
    {
        var host = new SimulatedHost(simulation, new Random(1), new MemoryDevice(EngineHarness.DeviceBytes));
        await host.OpenAsync();
        return host;
    }

    private static byte[] Filled(byte value) => [.. Enumerable.Repeat(value, 4096)];

    private static async Task AssertReadsAsync(Disk disk, ulong offset, byte[] expected)
    {
        var read = new byte[expected.Length];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(offset, read, None));
        Assert.Equal(expected, read);
    }
}
