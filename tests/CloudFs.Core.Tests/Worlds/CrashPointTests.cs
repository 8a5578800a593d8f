using Xunit;

namespace CloudFs.Core.Tests.Worlds;

public sealed class CrashPointTests
{
    [Fact]
    public void Every_crash_point_of_every_history_of_up_to_three_operations_leaves_what_was_promised()
    {
        var histories = CrashPoints.Histories(3).ToList();

        var (states, _, failures) = WorldRunner.TryCrashPoints(histories, Environment.ProcessorCount);

        Assert.Empty(failures);
        Assert.True(states > 10 * histories.Count, $"{states} states of {histories.Count} histories");
    }
}
