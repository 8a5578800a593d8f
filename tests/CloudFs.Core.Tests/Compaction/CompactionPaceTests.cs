using CloudFs.Core.Compaction;
using Xunit;

namespace CloudFs.Core.Tests.Compaction;

public sealed class CompactionPaceTests
{
    private const long MiB = 1 << 20;
    private static readonly PaceInput Middle = new(120 * MiB, 40 * MiB, 200 * MiB, 100 * MiB, 0, 0.5);

    [Fact]
    public void It_rests_at_high_water_and_knows_no_limit_at_the_floor()
    {
        Assert.Equal(0, CompactionPace.BytesPerSecond(Middle with { FreeBytes = 200 * MiB }));
        Assert.Equal(double.PositiveInfinity, CompactionPace.BytesPerSecond(Middle with { FreeBytes = 40 * MiB }));
        Assert.Equal(double.PositiveInfinity, CompactionPace.BytesPerSecond(Middle with { FreeBytes = 0 }));
    }

    [Fact]
    public void Half_way_down_it_wins_what_clients_take()
    {
        Assert.Equal(100.0 * MiB, CompactionPace.BytesPerSecond(Middle));
        Assert.Equal(300.0 * MiB, CompactionPace.BytesPerSecond(Middle with { LiveShare = 0.75 }), 1.0);
        Assert.True(double.IsFinite(CompactionPace.BytesPerSecond(Middle with { LiveShare = 1 })));
    }

    [Fact]
    public void The_less_is_free_the_faster()
    {
        var before = double.PositiveInfinity;
        for (var free = 41; free < 200; free++)
        {
            var rate = CompactionPace.BytesPerSecond(Middle with { FreeBytes = free * MiB, LeftBytes = 30 * MiB });
            Assert.True(rate <= before && rate >= CompactionPace.IdleBytesPerSecond);
            before = rate;
        }
    }

    [Fact]
    public void A_cycle_is_through_before_clients_have_taken_what_is_left()
    {
        var input = Middle with { LeftBytes = 400 * MiB };

        var secondsOfCycle = input.LeftBytes / CompactionPace.BytesPerSecond(input);
        var secondsOfRoom = 80.0 * MiB / input.ClientBytesPerSecond;

        Assert.Equal(CompactionPace.CycleShare * secondsOfRoom, secondsOfCycle, 1e-9);
    }

    [Fact]
    public void Without_clients_it_goes_on_slowly() =>
        Assert.Equal(CompactionPace.IdleBytesPerSecond, CompactionPace.BytesPerSecond(Middle with { ClientBytesPerSecond = 0 }));

    [Fact]
    public void The_time_that_is_left_counts_what_clients_take()
    {
        var debt = new CompactionDebt(300 * MiB, 100 * MiB, true);

        Assert.Equal(10, CompactionPace.SecondsLeft(debt, 30 * MiB, 0), 1e-9);
        Assert.Equal(20, CompactionPace.SecondsLeft(debt, 30 * MiB, 5 * MiB), 1e-9);
        Assert.Equal(double.PositiveInfinity, CompactionPace.SecondsLeft(debt, 30 * MiB, 10 * MiB));
        Assert.Equal(double.PositiveInfinity, CompactionPace.SecondsLeft(debt with { IsReachable = false }, 30 * MiB, 0));
        Assert.Equal(0, CompactionPace.SecondsLeft(new CompactionDebt(0, 0, true), 0, 5));
        Assert.Equal(0, CompactionPace.SecondsLeft(debt with { LiveBytes = 0 }, 30 * MiB, MiB));
    }
}
