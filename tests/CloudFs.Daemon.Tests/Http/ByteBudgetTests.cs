using CloudFs.Daemon.Http;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

public sealed class ByteBudgetTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Who_comes_later_waits_behind_a_large_request()
    {
        var budget = new ByteBudget(100);
        var first = await budget.TryTakeAsync(60, Long, CancellationToken.None);
        var large = budget.TryTakeAsync(80, Long, CancellationToken.None).AsTask();
        var small = budget.TryTakeAsync(10, Long, CancellationToken.None).AsTask();
        Assert.False(large.IsCompleted);
        Assert.False(small.IsCompleted);

        first!.Dispose();
        using var taken = await large;
        using var behind = await small;
        Assert.Equal(90, budget.InUse);
    }

    [Fact]
    public async Task Impatience_leaves_the_line_and_lets_those_behind_go_on()
    {
        var budget = new ByteBudget(100);
        using var first = await budget.TryTakeAsync(60, Long, CancellationToken.None);
        var large = budget.TryTakeAsync(80, TimeSpan.FromMilliseconds(20), CancellationToken.None).AsTask();
        var small = budget.TryTakeAsync(40, Long, CancellationToken.None).AsTask();
        Assert.Null(await large);
        using var taken = await small;
        Assert.Equal(100, budget.InUse);
    }

    [Fact]
    public async Task Cancelled_waiters_and_leases_given_back_twice_leave_nothing_behind()
    {
        var budget = new ByteBudget(100);
        var first = await budget.TryTakeAsync(100, Long, CancellationToken.None);
        using var gone = new CancellationTokenSource();
        var waiting = budget.TryTakeAsync(1, Long, gone.Token).AsTask();
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        first!.Dispose();
        first.Dispose();
        Assert.Equal(0, budget.InUse);
    }

    [Fact]
    public async Task Many_at_once_never_hold_more_than_there_is()
    {
        var budget = new ByteBudget(64);
        long inside = 0;
        await Task.WhenAll(Enumerable.Range(0, 32).Select(seed => Task.Run(async () =>
        {
            var random = new Random(seed);
            for (var round = 0; round < 200; round++)
            {
                var bytes = random.Next(1, 65);
                var patience = random.Next(8) == 0 ? TimeSpan.FromMilliseconds(1) : Long;
                using var lease = await budget.TryTakeAsync(bytes, patience, CancellationToken.None);
                if (lease is null)
                {
                    continue;
                }

                Assert.True(Interlocked.Add(ref inside, bytes) <= 64);
                await Task.Yield();
                Interlocked.Add(ref inside, -bytes);
            }
        })));
        Assert.Equal(0, budget.InUse);
    }
}
