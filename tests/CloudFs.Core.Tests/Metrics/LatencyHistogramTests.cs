using CloudFs.Core.Metrics;
using FsCheck;
using Xunit;

namespace CloudFs.Core.Tests.Metrics;

/// <summary>Every time lies in the one bucket that is its own, whoever adds it.</summary>
public sealed class LatencyHistogramTests
{
    private static readonly Configuration Fixed = new()
    {
        MaxNbOfTest = 500,
        QuietOnSuccess = true,
        Runner = Config.QuickThrowOnFailure.Runner,
        Replay = FsCheck.Random.StdGen.NewStdGen(19, 26),
    };

    [Theory]
    [InlineData(long.MinValue, 0)]
    [InlineData(0, 0)]
    [InlineData(250, 0)]
    [InlineData(251, 1)]
    [InlineData(500, 1)]
    [InlineData(501, 2)]
    [InlineData(1_000, 2)]
    [InlineData(1_001, 3)]
    [InlineData(8_388_608_000, 25)]
    [InlineData(8_388_608_001, 26)]
    [InlineData(long.MaxValue, 26)]
    public void A_bucket_holds_its_bound_and_the_next_what_is_longer(long nanos, int bucket)
    {
        var histogram = new LatencyHistogram();
        histogram.Add(nanos);
        var snapshot = histogram.Read();
        Assert.Equal((1, 1), (snapshot.Count, snapshot.Counts[bucket]));
        Assert.Equal(Math.Max(0, nanos), snapshot.Nanos);
    }

    [Fact]
    public void Bounds_double_and_every_time_is_above_the_one_before_its_own()
    {
        Assert.Equal(8_388_608_000, LatencyHistogram.BoundNanos(LatencyHistogram.Bounds - 1));
        var times =
            from power in Gen.Choose(0, 35)
            from part in Gen.Choose(0, int.MaxValue)
            select (1L << power) + (long)((double)part / int.MaxValue * (1L << power));
        Prop.ForAll(Arb.From(times), nanos =>
        {
            var bucket = LatencyHistogram.BucketOf(nanos);
            Assert.True(bucket == LatencyHistogram.Bounds || nanos <= LatencyHistogram.BoundNanos(bucket));
            Assert.True(bucket == 0 || nanos > LatencyHistogram.BoundNanos(bucket - 1));
        }).Check(Fixed);
    }

    [Fact]
    public void What_many_threads_add_is_all_there()
    {
        var histogram = new LatencyHistogram();
        Parallel.For(0, 8, thread =>
        {
            for (var i = 0; i < 10_000; i++)
            {
                histogram.Add((thread + 1) * 1_000);
            }
        });
        var snapshot = histogram.Read();
        Assert.Equal((80_000, 360_000_000), (snapshot.Count, snapshot.Nanos));
        Assert.Equal((10_000, 10_000, 20_000, 40_000), (
            snapshot.Counts[2], snapshot.Counts[3], snapshot.Counts[4], snapshot.Counts[5]));
    }

    [Fact]
    public void Adding_makes_no_garbage()
    {
        var histogram = new LatencyHistogram();
        histogram.Add(1);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            histogram.Add(i);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
