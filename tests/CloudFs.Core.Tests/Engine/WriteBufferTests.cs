using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>What is replayed of a write buffer that a dead process left, and what must not be.</summary>
public sealed class WriteBufferTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public void A_buffer_that_reaches_over_two_segments_is_replayed() => Simulation.Run(1, async simulation =>
    {
        var (device, region, expected) = await DieWithFullBufferAsync(simulation, slots: 8);

        var engine = await OpenAsync(simulation, device, region);

        await AssertHoldsAsync(engine, expected);
    }, shuffle: false);

    [Fact]
    public void A_replay_that_dies_at_any_write_or_flush_loses_nothing()
    {
        for (var operation = 1; operation < 12; operation++)
        {
            var at = operation;
            Simulation.Run(at, async simulation =>
            {
                var (device, region, expected) = await DieWithFullBufferAsync(simulation, slots: 3);
                device.StopAt(at, new Random(at));
                await Task.WhenAny(OpenAsync(simulation, device, region), device.Stopped);

                var engine = await OpenAsync(simulation, device.Kill(), [.. region]);

                await AssertHoldsAsync(engine, expected);
                Assert.Empty(engine.GetHealth().Issues);
            });
        }
    }

    [Fact]
    public void A_replay_whose_device_fails_keeps_the_buffer_for_the_next_start() => Simulation.Run(1, async simulation =>
    {
        var (device, region, expected) = await DieWithFullBufferAsync(simulation, slots: 3);
        var before = device.Copy();
        device.FailWrites = true;
        await Assert.ThrowsAsync<DeviceException>(() => OpenAsync(simulation, device, region));

        var engine = await OpenAsync(simulation, before, [.. region]);

        await AssertHoldsAsync(engine, expected);
    }, shuffle: false);

    [Fact]
    public void A_device_that_was_put_back_to_an_older_copy_does_not_get_the_newer_buffer() => Simulation.Run(1, async simulation =>
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var region = EngineHarness.NewRegion();
        var engine = await OpenAsync(simulation, device, region);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1, 4096), true, None));
        var older = device.Copy();
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(2, 4096), true, None));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(4096, Filled(3, 4096), false, None));
        device.Kill();

        var again = await OpenAsync(simulation, older, [.. region]);

        Assert.True(again.TryGetDisk(disk.Id.ToString(), out var found));
        await AssertReadsAsync(found, 0, Filled(1, 4096));
        await AssertReadsAsync(found, 4096, new byte[4096]);
        Assert.Contains(again.Recovery.Decisions, decision => decision.Code == "buffer-mismatch");
        Assert.Equal(0, again.Recovery.EntriesReplayed);
    }, shuffle: false);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_buffer_of_another_boot_or_device_is_not_replayed(bool otherBoot) => Simulation.Run(1, async simulation =>
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var region = EngineHarness.NewRegion();
        var engine = await OpenAsync(simulation, device, region);
        var disk = await engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Filled(1, 4096), false, None));
        var target = otherBoot ? device.Kill() : new MemoryDevice(EngineHarness.DeviceBytes);

        var again = await OpenAsync(simulation, target, [.. region], boot: otherBoot ? (byte)2 : (byte)1);

        Assert.Equal(0, again.Recovery.EntriesReplayed);
        Assert.Empty(again.GetHealth().Issues);
        if (otherBoot)
        {
            Assert.True(again.TryGetDisk(disk.Id.ToString(), out var found));
            await AssertReadsAsync(found, 0, new byte[4096]);
        }
    }, shuffle: false);

    /// <summary>A device that hangs while the buffer fills, and then the process dies.</summary>
    private static async Task<(MemoryDevice Device, byte[] Region, List<(Id160 Disk, int Offset, byte[] Data)> Expected)>
        DieWithFullBufferAsync(Simulation simulation, int slots)
    {
        var device = new MemoryDevice(EngineHarness.DeviceBytes);
        var region = EngineHarness.NewRegion(slots);
        var engine = await OpenAsync(simulation, device, region);
        var disk = await engine.CreateDiskAsync(new DiskSpec(64 << 20), None);
        for (var i = 0; i < 15; i++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)i << 20, Filled((byte)i, 1 << 20), false, None));
        }

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        var free = new TaskCompletionSource();
        device.Stall = free.Task;
        var expected = new List<(Id160, int, byte[])>();
        for (var i = 0; ; i++)
        {
            var data = Filled((byte)(i + 100), 300 << 10);
            var write = disk.WriteAsync((ulong)i * (300 << 10), data, false, None).AsTask();
            await Task.WhenAny(write, Task.Delay(TimeSpan.FromMilliseconds(10), simulation.Time));
            if (!write.IsCompleted)
            {
                break;
            }

            Assert.Equal(IoStatus.Ok, await write);
            expected.Add((disk.Id, i * (300 << 10), data));
        }

        return (device.Kill(), [.. region], expected);
    }

    private static async Task AssertHoldsAsync(StorageEngine engine, List<(Id160 Disk, int Offset, byte[] Data)> expected)
    {
        Assert.NotEmpty(expected);
        foreach (var (id, offset, data) in expected)
        {
            Assert.True(engine.TryGetDisk(id.ToString(), out var disk));
            await AssertReadsAsync(disk, offset, data);
        }
    }

    private static async Task AssertReadsAsync(Disk disk, int offset, byte[] data)
    {
        var read = new byte[data.Length];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)offset, read, None));
        Assert.True(read.AsSpan().SequenceEqual(data), $"other bytes at {offset}");
    }

    private static byte[] Filled(byte value, int length)
    {
        var data = new byte[length];
        data.AsSpan().Fill(value == 0 ? (byte)255 : value);
        return data;
    }

    private static Task<StorageEngine> OpenAsync(Simulation simulation, MemoryDevice device, byte[] region, byte boot = 1) =>
        StorageEngine.OpenAsync(
            new EngineSettings
            {
                Device = device,
                OpenBuffer = _ => new EngineBuffer(region, () => region.AsSpan(0, WriteBuffer.HeaderBytes).Clear()),
                Boot = new Id160([.. Enumerable.Repeat(boot, Id160.Size)]),
                ReadCacheBytes = 0,
            },
            new EngineRuntime
            {
                Time = simulation.Time,
                FillRandom = System.Security.Cryptography.RandomNumberGenerator.Fill,
                Spawn = simulation.Spawn,
                Report = _ => { },
            });
}
