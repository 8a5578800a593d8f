using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Core.Tests.Compaction;

/// <summary>The figures of docs/adr/0011, with the real policy, heat and pace on a simulated device.</summary>
public sealed class WriteAmplificationTests(ITestOutputHelper output)
{
    /// <summary>256 segments are 4 GiB, 1024 are 16 GiB.</summary>
    [Theory]
    [InlineData(256, 400, 0.7, 1.1 * 1.88)]
    [InlineData(256, 400, 0.8, 1.1 * 2.7)]
    [InlineData(1024, 100, 0.7, 1.1 * 1.88)]
    [InlineData(1024, 100, 0.8, 1.1 * 2.7)]
    public void Uniform_overwrites_cost_what_theory_says_of_greedy_cleaning(
        int segments, int perSegment, double utilisation, double most)
    {
        var measured = Measure(segments, perSegment, utilisation, (random, pages) => random.Next(pages));

        Assert.InRange(measured, 1.5, most);
    }

    [Theory]
    [InlineData(256, 400)]
    [InlineData(1024, 100)]
    public void Pages_that_die_young_are_kept_apart(int segments, int perSegment) =>
        Assert.InRange(Measure(segments, perSegment, 0.8, Skewed), 1.9, 2.2);

    /// <summary>Every fifth page is hot: no address tells.</summary>
    private static int Skewed(Random random, int pages) => random.Next(5) > 0
        ? random.Next(pages / 5) * 5
        : (random.Next(pages / 5) * 5) + 1 + random.Next(4);

    private double Measure(int segments, int perSegment, double utilisation, Func<Random, int, int> next)
    {
        var pages = (int)(utilisation * SpaceSimulator.Capacity(segments) * perSegment) / 5 * 5;
        var simulator = new SpaceSimulator(segments, perSegment, pages);
        var random = new Random(7);
        for (var page = 0; page < pages; page++)
        {
            Assert.True(simulator.TryWrite(page));
        }

        for (var i = 0; i < pages * 7; i++)
        {
            Assert.True(simulator.TryWrite(next(random, pages)));
        }

        var (written, relocated, waits, cycles) = (simulator.Written, simulator.Relocated, simulator.Waits, simulator.Cycles);
        for (var i = 0; i < pages * 5; i++)
        {
            Assert.True(simulator.TryWrite(next(random, pages)));
        }

        var measured = 1 + ((double)(simulator.Relocated - relocated) / (simulator.Written - written));
        var taken = (simulator.Written - written) / perSegment;
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{segments} segments at {utilisation}: {measured:F3}; of {taken} log segments {simulator.Waits - waits} were waited for; "
            + $"{(double)taken / (simulator.Cycles - cycles):F2} log segments a cycle"));
        Assert.Equal(pages, simulator.LiveSum());

        // At 4 GiB there are two segments between the beginning of a cycle and the reserve.
        Assert.InRange(simulator.Waits - waits, 0, taken / (segments < 512 ? 10 : 100));
        return measured;
    }
}
