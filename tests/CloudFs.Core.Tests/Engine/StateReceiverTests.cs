using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// A disk whose history is short is copied to another host: whatever ends that host on the way, the copy goes on from where it was,
/// shows nothing before it is whole, and then is the disk.
/// </summary>
public sealed class StateReceiverTests
{
    private const int DiskBytes = 8 << 20;
    private const int Piece = 256 << 10;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(1, -1)]
    [InlineData(2, (int)End.Kill)]
    [InlineData(3, (int)End.PowerCut)]
    [InlineData(4, (int)End.Kill)]
    [InlineData(5, (int)End.PowerCut)]
    public void A_copy_is_the_disk_whatever_interrupts_it(int seed, int end) =>
        Simulation.Run(seed, async simulation =>
        {
            var random = new Random(seed);
            using var from = await StartSourceAsync(simulation, random);
            using var to = new SimulatedHost(simulation, random, new MemoryDevice(160UL << 20));
            await to.OpenAsync();
            var source = from.Engine.ListDisks().Single(disk => disk.Name == "quiet");
            var interrupted = 0;
            for (var whole = false; !whole;)
            {
                var receiver = await to.Engine.ReceiveStateAsync(source.Id, Of(source), None);
                var state = await source.OpenStateAsync(receiver.Point, None);
                for (var left = end < 0 || interrupted > 5 ? int.MaxValue : random.Next(1, 9); left > 0 && !whole; left--)
                {
                    Assert.True(await state.MoveNextAsync(false, None));
                    whole = await receiver.TakeAsync(state.Current, None);
                    await AssertIsHiddenAsync(to, source.Id, !whole);
                    if (random.Next(6) == 0)
                    {
                        Assert.True(await to.Engine.CheckpointAsync());
                    }
                }

                if (!whole || end >= 0)
                {
                    interrupted++;
                    await to.EndAsync((End)end, stopFirst: random.Next(3) == 0);
                    await to.OpenAsync();
                    Assert.DoesNotContain(to.Engine.Recovery.Decisions, decision => decision.IsDamage);
                    await AssertIsHiddenAsync(to, source.Id, !whole);
                }
            }

            await AssertSameAsync(source, to.Engine);
            await to.EndAsync(End.PowerCut, stopFirst: false);
            await to.OpenAsync();
            await AssertSameAsync(source, to.Engine);
            await using var rebuilt = await to.OpenCopyAsync(withCheckpoints: false);
            Assert.DoesNotContain(rebuilt.Recovery.Decisions, decision => decision.IsDamage && decision.Code != "no-checkpoint");
            await AssertSameAsync(source, rebuilt);
        });

    [Fact]
    public void A_disk_held_up_to_a_version_catches_up_and_is_not_promised_meanwhile() =>
        Simulation.Run(7, async simulation =>
        {
            var random = new Random(7);
            using var from = await StartSourceAsync(simulation, random);
            using var to = new SimulatedHost(simulation, random, new MemoryDevice(160UL << 20));
            await to.OpenAsync();
            var source = from.Engine.ListDisks().Single(disk => disk.Name == "quiet");
            await CopyAsync(source, to);
            for (var i = 0; i < 3; i++)
            {
                await WriteAsync(source, random, 3 * i * Piece, 8192);
            }

            var receiver = await to.Engine.ReceiveStateAsync(source.Id, Of(source), None);
            Assert.True(to.Engine.TryGetDisk(source.Id.ToString(), out var here));
            Assert.True(here.IsCopying);
            Assert.False((await here.PromiseAsync(new Ballot(99, source.Id), None)).Granted);
            var refused = await Assert.ThrowsAsync<RefusalException>(async () => await here.OpenStateAsync(null, None));
            Assert.Equal(Refusal.Unavailable, refused.Reason);
            var state = await source.OpenStateAsync(receiver.Point, None);
            do
            {
                Assert.True(await state.MoveNextAsync(false, None));
            }
            while (!await receiver.TakeAsync(state.Current, None));

            await AssertSameAsync(source, to.Engine);
            Assert.True((await here.PromiseAsync(new Ballot(99, source.Id), None)).Granted);
        });

    [Fact]
    public void A_damaged_or_foreign_entry_is_refused_and_a_promise_fences_the_sender() =>
        Simulation.Run(8, async simulation =>
        {
            var random = new Random(8);
            using var from = await StartSourceAsync(simulation, random);
            using var to = new SimulatedHost(simulation, random, new MemoryDevice(160UL << 20));
            await to.OpenAsync();
            var source = from.Engine.ListDisks().Single(disk => disk.Name == "quiet");
            var receiver = await to.Engine.ReceiveStateAsync(source.Id, Of(source), None);
            var state = await source.OpenStateAsync(null, None);
            Assert.True(await state.MoveNextAsync(false, None));
            var bad = state.Current.ToArray();
            bad[^1] ^= 1;
            Assert.Equal(Refusal.Invalid, await RefusalOfAsync(receiver, bad));
            var first = state.Current.ToArray();
            Assert.False(await receiver.TakeAsync(first, None));
            Assert.Equal(Refusal.Conflict, await RefusalOfAsync(receiver, first));
            var other = await to.Engine.ReceiveStateAsync(Id160.Parse("da39a3ee5e6b4b0d3255bfef95601890afd80709"), Of(source), None);
            Assert.Equal(Refusal.Conflict, await RefusalOfAsync(other, first));

            await CopyAsync(source, to);
            Assert.True(to.Engine.TryGetDisk(source.Id.ToString(), out var here));
            Assert.True((await here.PromiseAsync(new Ballot(99, source.Id), None)).Granted);
            var fenced = await Assert.ThrowsAsync<RefusalException>(
                async () => await to.Engine.ReceiveStateAsync(source.Id, Of(source), None));
            Assert.Equal(Refusal.Conflict, fenced.Reason);
        });

    private static Ballot Of(Disk disk) => disk.Locked(state => state.Head.Ballot);

    private static async Task<Refusal> RefusalOfAsync(StateReceiver receiver, byte[] item) =>
        (await Assert.ThrowsAsync<RefusalException>(async () => await receiver.TakeAsync(item, None))).Reason;

    private static async Task CopyAsync(Disk source, SimulatedHost to)
    {
        var receiver = await to.Engine.ReceiveStateAsync(source.Id, Of(source), None);
        var state = await source.OpenStateAsync(receiver.Point, None);
        do
        {
            Assert.True(await state.MoveNextAsync(false, None));
        }
        while (!await receiver.TakeAsync(state.Current, None));
    }

    private static async Task AssertIsHiddenAsync(SimulatedHost to, Id160 id, bool isHidden)
    {
        Assert.Equal(isHidden, to.Engine.ListDisks().All(disk => disk.Id != id));
        if (to.Engine.TryGetDisk(id.ToString(), out var disk))
        {
            Assert.Equal(isHidden ? IoStatus.Unreachable : IoStatus.Ok, await disk.ReadAsync(0, new byte[512], None));
        }
    }

    private static async Task AssertSameAsync(Disk source, Core.Engine.StorageEngine engine)
    {
        Assert.True(engine.TryGetDisk(source.Id.ToString(), out var copy));
        var (expected, found) = (source.GetStatus(), copy.GetStatus());
        Assert.Equal(
            (expected.Newest, expected.Name, expected.SizeBytes, expected.View, expected.TimeMicros, expected.DamagedBytes),
            (found.Newest, found.Name, found.SizeBytes, found.View, found.TimeMicros, found.DamagedBytes));
        Assert.Equal(source.Locked(state => state.Views.ToArray()), copy.Locked(state => state.Views.ToArray()));
        Assert.True(found.OldestLsn >= expected.OldestLsn);
        var (there, here) = (new byte[DiskBytes], new byte[DiskBytes]);
        Assert.Equal(IoStatus.Ok, await source.ReadAsync(0, there, None));
        Assert.Equal(IoStatus.Ok, await copy.ReadAsync(0, here, None));
        Assert.True(there.AsSpan().SequenceEqual(here), "the copy holds something else than the disk");
    }

    /// <summary>A disk named quiet, most of whose history another disk has driven out.</summary>
    private static async Task<SimulatedHost> StartSourceAsync(Simulation simulation, Random random)
    {
        var host = new SimulatedHost(simulation, random, new MemoryDevice(160UL << 20));
        await host.OpenAsync();
        var quiet = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes) { Name = "quiet" }, None);
        var busy = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes) { Name = "busy" }, None);
        for (var i = 0; i < 12; i++)
        {
            await WriteAsync(quiet, random, i * Piece, 16384);
        }

        Assert.Equal(IoStatus.Ok, await quiet.ZeroAsync(Piece, Piece, true, None));
        await WriteAsync(quiet, random, 2 * Piece, 4096);
        await FillAsync(busy, random);
        await WriteAsync(quiet, random, DiskBytes - 4096, 4096);
        await WriteAsync(quiet, random, DiskBytes - 4096, 4096);
        var doomed = quiet.Durable.Lsn;
        await FillAsync(busy, random);
        await WriteAsync(quiet, random, DiskBytes - 4096, 4096);
        for (var i = 0; i < 40 && quiet.GetStatus().OldestLsn <= doomed; i++)
        {
            await FillAsync(busy, random);
        }

        Assert.True(quiet.GetStatus().OldestLsn > doomed, "its whole history is still there");
        await WriteAsync(quiet, random, 5 * Piece, 4096);
        return host;
    }

    private static async Task FillAsync(Disk busy, Random random)
    {
        for (var i = 0; i < 17; i++)
        {
            await WriteAsync(busy, random, i % 8 << 20, 1 << 20);
        }
    }

    private static async Task WriteAsync(Disk disk, Random random, int offset, int length)
    {
        var data = new byte[length];
        random.NextBytes(data);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, data, true, None));
    }
}
