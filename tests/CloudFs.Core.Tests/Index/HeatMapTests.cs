using CloudFs.Core.Index;
using Xunit;

namespace CloudFs.Core.Tests.Index;

public sealed class HeatMapTests
{
    [Fact]
    public void Pages_written_more_than_most_are_hot_and_cool_down()
    {
        const int Pages = 100_000;
        var heat = new HeatMap(Pages * 4096L);
        heat.Live(Pages * 8);
        var random = new Random(5);
        Assert.False(heat.IsWarm);
        Run(heat, random, hot: 0);
        Assert.True(heat.IsWarm);
        Assert.InRange(Hot(heat, 0), 0.9, 1);
        Assert.InRange(Hot(heat, 1), 0, 0.05);

        Run(heat, random, hot: 1);
        Assert.InRange(Hot(heat, 0), 0, 0.05);
        Assert.InRange(Hot(heat, 1), 0.9, 1);

        static double Hot(HeatMap heat, int which) =>
            Enumerable.Range(0, Pages / 5).Count(i => heat.IsHot(9, (ulong)((i * 5) + which) * 8)) / (Pages / 5.0);

        static void Run(HeatMap heat, Random random, int hot)
        {
            for (var i = 0; i < 8 * Pages; i++)
            {
                var page = random.Next(5) > 0 ? (random.Next(Pages / 5) * 5) + hot : random.Next(Pages);
                heat.Wrote(9, (ulong)page * 8, 8);
            }
        }
    }

    [Fact]
    public void Disks_are_told_apart_and_long_writes_count_for_each_page()
    {
        var heat = new HeatMap(1 << 30);
        for (var i = 0; i < HeatMap.HotCount; i++)
        {
            heat.Wrote(1, 16, 32);
        }

        Assert.Equal([false, false, true, true, true, true, false], Enumerable.Range(0, 7).Select(i => heat.IsHot(1, (ulong)i * 8)));
        Assert.False(heat.IsHot(2, 16));
    }

    [Fact]
    public void Memory_is_bounded_and_on_large_devices_a_run_counts_once()
    {
        var heat = new HeatMap(1UL << 42);
        Assert.Equal(HeatMap.MaxCounters / 2, heat.Bytes);

        for (ulong page = 0; page < 4096; page++)
        {
            heat.Wrote(1, page * 8, 8);
        }

        Assert.False(heat.IsHot(1, 0));
        for (var i = 0; i < HeatMap.HotCount; i++)
        {
            heat.Wrote(1, 0, 32768);
        }

        Assert.True(heat.IsHot(1, 2000));
    }
}
