using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Crashes at chosen places, each the shortest way to something that once went wrong.</summary>
public sealed class CrashTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public void What_recovery_found_only_in_the_kernels_hands_is_durable_before_it_is_shown_as_durable() =>
        Simulation.Run(1, async simulation =>
        {
            using var host = new SimulatedHost(simulation, new Random(1), new MemoryDevice(EngineHarness.DeviceBytes));
            await host.OpenAsync();
            var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
            var data = new byte[4096];
            data.AsSpan().Fill(7);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, data, false, None));

            // The commit is written; the process dies before the flush.
            host.Device.StopAt(2, new Random(1));
            _ = host.Engine.FlushAsync(None).AsTask();
            await host.Device.Stopped;
            await host.EndAsync(End.Kill, stopFirst: false);

            await host.OpenAsync();
            Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out var found));
            Assert.Equal(found.Newest, found.Durable);
            Assert.Equal(IoStatus.Ok, await found.FlushAsync(None));
            await host.EndAsync(End.PowerCut, stopFirst: false);

            await host.OpenAsync();
            Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out found));
            var read = new byte[4096];
            Assert.Equal(IoStatus.Ok, await found.ReadAsync(0, read, None));
            Assert.Equal(data, read);
        }, shuffle: false);

    [Fact]
    public void A_power_cut_at_any_write_or_flush_around_the_end_of_a_segment_damages_nothing()
    {
        for (var operation = 1; operation < 26; operation++)
        {
            var at = operation;
            for (var seed = 0; seed < 2; seed++)
            {
                var chance = new Random(seed);
                Simulation.Run(seed, simulation => CrossSegmentAsync(simulation, chance, at), shuffle: false);
            }
        }
    }

    private static async Task CrossSegmentAsync(Simulation simulation, Random random, int operation)
    {
        using var host = new SimulatedHost(simulation, random, new MemoryDevice(EngineHarness.DeviceBytes));
        await host.OpenAsync();
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        var model = new DiskModel(disk.Id, disk.Newest, 1 << 20);
        var data = new byte[1 << 20];
        random.NextBytes(data);
        for (var i = 0; i < 14; i++)
        {
            await WriteAsync(model, disk, data);
        }

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        model.NoteDurable(disk.Durable.Lsn);
        host.Device.StopAt(operation, random);
        for (var i = 0; i < 8 && !host.Device.Stopped.IsCompleted; i++)
        {
            data[i] ^= 1;
            model.Write(0, data.Length, data[..]);
            await Task.WhenAny(disk.WriteAsync(0, data, i % 3 == 2, None).AsTask(), host.Device.Stopped);
        }

        await Task.WhenAny(Task.Delay(TimeSpan.FromSeconds(1), simulation.Time), host.Device.Stopped);
        model.NoteDurable(disk.Durable.Lsn);
        await host.EndAsync(End.PowerCut, stopFirst: false);
        await host.OpenAsync();
        Assert.Empty(host.Engine.GetHealth().Issues);
        Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out var found));
        model.Recovered(found, nothingLost: false);
        await model.AssertContentsAsync(found, random);
    }

    private static async Task WriteAsync(DiskModel model, Disk disk, byte[] data)
    {
        model.Write(0, data.Length, data[..]);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, data, false, None));
        model.Acknowledge(disk, durable: false);
    }
}
