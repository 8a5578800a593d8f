using CloudFs.Core.Compaction;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A small device that goes round: segments are reclaimed and used again, and it is filled to the brim.</summary>
public sealed class ReclaimTests
{
    private const int DiskBytes = 8 << 20;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Overwriting_the_same_goes_on_for_ever_through_restarts_and_deaths(int seed) =>
        Simulation.Run(seed, async simulation =>
        {
            var random = new Random(seed);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(200UL << 20));
            await host.OpenAsync();
            var busy = await CreateAsync(host, DiskBytes);
            var quiet = await CreateAsync(host, 1 << 20);
            await WriteAsync(host, quiet, 0, 4096, random);
            for (var round = 0; round < 5; round++)
            {
                for (var i = 0; i < 45; i++)
                {
                    await WriteAsync(host, busy, random.Next((DiskBytes - (1 << 20)) / 512) * 512, 1 << 20, random);
                }

                await WriteAsync(host, quiet, random.Next(200) * 4096, 4096, random);
                await host.EndAsync(End.Kill, stopFirst: round % 2 == 0);
                await host.OpenAsync();
                Assert.Empty(host.Engine.GetHealth().Issues);
                var rebuilt = await host.OpenCopyAsync(withCheckpoints: false);
                Assert.DoesNotContain(rebuilt.GetHealth().Issues, issue => issue.Code is not "full");
                foreach (var model in (DiskModel[])[busy, quiet])
                {
                    model.Recovered(Find(host.Engine, model), nothingLost: true);
                    await model.AssertContentsAsync(Find(host.Engine, model), random);
                    await model.AssertContentsAsync(Find(rebuilt, model), random);
                    Assert.Equal(Find(host.Engine, model).Newest, Find(rebuilt, model).Newest);
                }
            }
        });

    [Fact]
    public void A_log_without_checkpoints_is_rebuilt_though_what_came_before_a_view_was_reclaimed() =>
        Simulation.Run(1, async simulation =>
        {
            var random = new Random(1);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(130UL << 20));
            await host.OpenAsync();

            // The disk's beginning lies in a segment that dies; its data, older than its view in force, does not.
            var kept = await CreateAsync(host, 1 << 20);
            var busy = await CreateAsync(host, DiskBytes);
            await FillSegmentAsync(host, busy, random);
            await WriteAsync(host, kept, 0, 8192, random);
            await FillSegmentAsync(host, busy, random);
            await host.EndAsync(End.Kill, stopFirst: true);
            await host.OpenAsync();
            kept.Recovered(Find(host.Engine, kept), nothingLost: true);
            busy.Recovered(Find(host.Engine, busy), nothingLost: true);
            await WriteAsync(host, kept, 65536, 4096, random);
            for (var i = 0; i < 10; i++)
            {
                await FillSegmentAsync(host, busy, random);
            }

            Assert.True(host.Engine.GetCounters().SegmentsReclaimed > 3);
            Assert.Equal(IoStatus.Ok, await host.Engine.FlushAsync(None));
            var rebuilt = await host.OpenCopyAsync(withCheckpoints: false);

            Assert.Empty(rebuilt.GetHealth().Issues);
            await kept.AssertContentsAsync(Find(rebuilt, kept), random);
            await busy.AssertContentsAsync(Find(rebuilt, busy), random);
        });

    [Fact]
    public void A_device_full_of_large_entries_refuses_writes_instead_of_copying_them_round_and_round() =>
        Simulation.Run(1, async simulation =>
        {
            // Fifteen entries of 1 MiB fit a segment: what is left at its end is garbage that no copying wins.
            var random = new Random(1);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(340UL << 20));
            await host.OpenAsync();
            var model = await CreateAsync(host, 340 << 20);
            var disk = Find(host.Engine, model);
            var data = new byte[1 << 20];
            var status = IoStatus.Ok;
            for (var written = 0; status == IoStatus.Ok; written += data.Length)
            {
                random.NextBytes(data);
                var write = disk.WriteAsync((ulong)written, data, false, None).AsTask();
                await Task.WhenAny(write, Task.Delay(TimeSpan.FromMinutes(10), simulation.Time));
                Assert.True(write.IsCompleted, $"the write at {written >> 20} MiB waits for ever");
                status = await write;
            }

            Assert.Equal(IoStatus.NoSpace, status);
        });

    [Fact]
    public void A_full_device_refuses_writes_and_nothing_else_and_comes_back_each_time() =>
        Simulation.Run(1, async simulation =>
        {
            var random = new Random(1);
            using var host = new SimulatedHost(simulation, random, new MemoryDevice(200UL << 20));
            await host.OpenAsync();
            var model = await CreateAsync(host, 160 << 20);
            var free = new List<ulong>();
            for (var round = 0; round < 3; round++)
            {
                var doomed = await CreateAsync(host, 1 << 20);
                var disk = Find(host.Engine, model);
                var filled = 0;
                var status = IoStatus.Ok;
                var data = new byte[1 << 20];
                random.NextBytes(data);
                for (; status == IoStatus.Ok; filled += status == IoStatus.Ok ? data.Length : 0)
                {
                    status = await disk.WriteAsync((ulong)filled, data, false, None);
                }

                Assert.Equal(IoStatus.NoSpace, status);
                Assert.True(filled >= 16 << 20, $"{filled} bytes were taken");
                Assert.Contains(host.Engine.GetHealth().Issues, issue => issue.Code == "full");
                Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
                var read = new byte[1 << 20];
                Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)filled - (1 << 20), read, None));
                Assert.Equal(data, read);
                if (round == 1)
                {
                    await host.EndAsync(End.Kill, stopFirst: false);
                    await host.OpenAsync();
                    disk = Find(host.Engine, model);
                    for (status = IoStatus.Ok; status == IoStatus.Ok;)
                    {
                        status = await disk.WriteAsync(0, data, false, None);
                    }

                    Assert.Equal(IoStatus.NoSpace, status);
                }

                await Find(host.Engine, doomed).DeleteAsync(None);
                for (var at = 0; at < filled; at += 64 << 10)
                {
                    Assert.Equal(IoStatus.Ok, await disk.ZeroAsync((ulong)at, 64 << 10, false, None));
                }

                Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
                Assert.Equal(IoStatus.Ok, await disk.ZeroAsync(0, 160 << 20, true, None));
                await Task.Delay(TimeSpan.FromSeconds(5), simulation.Time);
                Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, data, true, None));
                Assert.DoesNotContain(host.Engine.GetHealth().Issues, issue => issue.Code == "full");
                Assert.Equal(IoStatus.Ok, await disk.ZeroAsync(0, 160 << 20, true, None));

                // With enough free nobody writes one, and what was trimmed since the last is counted as living until then.
                Assert.True(await host.Engine.CheckpointAsync());
                var space = host.Engine.GetSpace();
                Assert.Equal(space.Capacity, SpaceAccountingTests.Sum(space));
                free.Add((space.Free + space.Reclaimable) >> 24);
            }

            Assert.True(free.Max() - free.Min() <= 2, $"free segments after each round: {string.Join(", ", free)}");
        });

    /// <summary>A write that finds no room looks again only when it is told to: whatever makes room must tell.</summary>
    [Fact]
    public void Who_waits_for_room_is_told_when_a_cycle_has_given_up_its_floor_and_when_a_checkpoint_is_written() =>
        Simulation.Run(5, async simulation =>
        {
            using var host = new SimulatedHost(simulation, new Random(5), new MemoryDevice(200UL << 20));
            await host.OpenAsync();
            var services = host.Engine.Services;
            var space = new RelocationSpace(services);
            space.Begin(new CompactionPlan(CompactionVerdict.Chosen, 1, 1, 2, false));
            var waiting = services.Log.RoomChanged;
            Assert.False(waiting.IsCompleted);
            space.End();
            Assert.True(waiting.IsCompleted);
            Assert.Equal(0, services.Segments.CycleFloor);

            var disk = await CreateAsync(host, 1 << 20);
            await WriteAsync(host, disk, 0, 4096, new Random(5));
            waiting = services.Log.RoomChanged;
            Assert.True(await host.Engine.CheckpointAsync());
            Assert.True(waiting.IsCompleted);
        });

    private static async Task<DiskModel> CreateAsync(SimulatedHost host, int bytes)
    {
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec((ulong)bytes), None);
        return new DiskModel(disk.Id, disk.Newest, bytes);
    }

    private static Disk Find(CloudFs.Core.Engine.StorageEngine engine, DiskModel model) =>
        engine.TryGetDisk(model.Id.ToString(), out var disk) ? disk : throw new InvalidOperationException("the disk is gone");

    private static async Task FillSegmentAsync(SimulatedHost host, DiskModel model, Random random)
    {
        for (var i = 0; i < 16; i++)
        {
            await WriteAsync(host, model, i % 8 << 20, EntryLayout.MaxBodyLength, random);
        }
    }

    private static async Task WriteAsync(SimulatedHost host, DiskModel model, int offset, int length, Random random)
    {
        var data = new byte[length];
        random.NextBytes(data);
        model.Write(offset, length, data);
        Assert.Equal(IoStatus.Ok, await Find(host.Engine, model).WriteAsync((ulong)offset, data, false, None));
        model.Acknowledge(Find(host.Engine, model), durable: false);
    }
}
