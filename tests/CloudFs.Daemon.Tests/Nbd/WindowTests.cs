using CloudFs.Core.Disks;
using CloudFs.Daemon.Nbd;
using CloudFs.Daemon.Nbd.Transmission;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>The bounds on what is under way, and the cutting of long reads, on their own.</summary>
public sealed class WindowTests
{
    [Fact]
    public void The_reserve_comes_first_and_is_never_shared()
    {
        var shared = new SharedBudget(100);
        var window = new InFlightWindow(shared, reserve: 10, maxBytes: 50, maxRequests: 3);
        Assert.True(window.TryEnter(1, 10));
        Assert.Equal(0, shared.Used);
        Assert.True(window.TryEnter(1, 15));
        Assert.Equal(15, shared.Used);
        Assert.True(window.HoldsShared);
        window.Leave(1, 10);
        Assert.Equal(5, shared.Used);
        window.Leave(1, 15);
        Assert.Equal(0, shared.Used);
        Assert.True(window.WaitIdle(TimeSpan.Zero));
    }

    [Fact]
    public void Requests_and_bytes_have_their_own_limits()
    {
        var window = new InFlightWindow(new SharedBudget(1000), 10, maxBytes: 50, maxRequests: 3);
        Assert.True(window.TryEnter(2, 40));
        Assert.False(window.TryEnter(2, 0));
        Assert.False(window.TryEnter(1, 11));
        Assert.True(window.TryEnter(1, 10));
        Assert.True(window.TryEnter(0, 0));
        Assert.False(window.WaitIdle(TimeSpan.FromMilliseconds(10)));
    }

    [Fact]
    public void What_is_larger_than_all_there_is_passes_alone()
    {
        var window = new InFlightWindow(new SharedBudget(20), 10, maxBytes: 50, maxRequests: 3);
        Assert.True(window.TryEnter(1, 500));
        Assert.False(window.TryEnter(1, 1));
        window.Leave(1, 500);
        Assert.True(window.TryEnter(1, 1));
    }

    [Fact]
    public async Task Those_who_wait_are_served_in_turn()
    {
        var shared = new SharedBudget(30);
        InFlightWindow NewWindow() => new(shared, reserve: 0, maxBytes: 100, maxRequests: 10);
        var (holder, large, small) = (NewWindow(), NewWindow(), NewWindow());
        Assert.True(holder.Enter(1, 20));
        var largeTask = Task.Run(() => large.Enter(1, 25));
        Assert.True(await TestServer.BecomesAsync(() => shared.IsShort));

        // There would be room for this one, but the large one came first.
        var smallTask = Task.Run(() => small.Enter(1, 5));
        await Task.Delay(50);
        Assert.False(smallTask.IsCompleted);
        holder.Leave(1, 20);
        Assert.True(await largeTask.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.True(await smallTask.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.Equal(30, shared.Used);
        Assert.False(shared.IsShort);
    }

    [Fact]
    public async Task Closing_ends_a_wait_and_the_place_in_the_queue()
    {
        var shared = new SharedBudget(10);
        InFlightWindow NewWindow() => new(shared, reserve: 0, maxBytes: 100, maxRequests: 10);
        var (holder, first, second) = (NewWindow(), NewWindow(), NewWindow());
        Assert.True(holder.Enter(1, 5));
        var firstTask = Task.Run(() => first.Enter(1, 10));
        Assert.True(await TestServer.BecomesAsync(() => shared.IsShort));
        var secondTask = Task.Run(() => second.Enter(1, 5));
        await Task.Delay(50);
        first.Close();
        Assert.False(await firstTask.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.True(await secondTask.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.False(first.TryEnter(1, 0));
    }

    [Fact]
    public async Task Bytes_are_neither_lost_nor_made_by_many_at_once()
    {
        var shared = new SharedBudget(64);
        var windows = Enumerable.Range(0, 8).Select(_ => new InFlightWindow(shared, 4, 32, 8)).ToArray();
        await Task.WhenAll(windows.Select((window, seed) => Task.Factory.StartNew(
            () =>
            {
                var chance = new Random(seed);
                for (var i = 0; i < 5000; i++)
                {
                    var bytes = chance.Next(0, 40);
                    Assert.True(window.Enter(1, bytes));
                    window.Leave(1, bytes);
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default))).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(0, shared.Used);
        Assert.False(shared.IsShort);
    }

    [Theory]
    [InlineData(1_048_576UL, 1024, 256)]
    [InlineData(ulong.MaxValue, 1024, 256)]
    [InlineData(1024UL, 410, 102)]
    [InlineData(150UL, 60, 15)]
    [InlineData(8UL, 1, 4)]
    public void Connections_take_at_most_half_of_the_descriptors(ulong limit, int connections, int handshakes)
    {
        var fitted = new NbdServerOptions().FitTo(limit);
        Assert.Equal((connections, handshakes), (fitted.MaxConnections, fitted.MaxHandshakes));
    }

    [Fact]
    public void A_plan_covers_the_read_once_and_in_order()
    {
        var chance = new Random(3);
        for (var i = 0; i < 2000; i++)
        {
            var offset = (ulong)chance.Next(0, 1000) * 512;
            var length = (uint)chance.Next(1, 65536) * 512;
            List<DiskRange> known = [];
            for (var at = offset; known.Count < chance.Next(0, 40);)
            {
                known.Add(new DiskRange(at, (ulong)chance.Next(1, 5000) * 512, (RangeContent)chance.Next(3)));
                at += known[^1].Length;
            }

            List<ReadPart> parts = [];
            ReadPlan.Cut(offset, length, known, parts);
            var next = offset;
            foreach (var part in parts)
            {
                Assert.Equal(next, part.Offset);
                Assert.InRange(part.Length, 1, part.IsHole ? int.MaxValue : 1 << 20);
                Assert.True(!part.IsHole || known.Any(r => r.Content == RangeContent.Hole
                    && r.Offset <= part.Offset && part.Offset + (ulong)part.Length <= r.Offset + r.Length));
                next += (ulong)part.Length;
            }

            Assert.Equal(offset + length, next);
        }
    }
}
