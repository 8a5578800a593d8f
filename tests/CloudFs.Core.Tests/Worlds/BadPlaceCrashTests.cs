using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>Every write of short histories finds a bad place, and everything ends at every write and flush that follows.</summary>
public sealed class BadPlaceCrashTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("FuaWrite")]
    [InlineData("Write,Flush")]
    [InlineData("Write,Checkpoint")]
    [InlineData("FuaWrite,Compact")]
    [InlineData("Rename")]
    [InlineData("Cross")]
    public void Whichever_write_finds_a_bad_place_and_wherever_it_ends_then_what_was_promised_is_there(string history)
    {
        var points = new CrashPoints();

        var (writes, states) = points.TryBadPlaces(Of(history));

        output.WriteLine($"{history}: {writes} writes, {states} states");
        Assert.True(writes > 1 && states > 10 * writes, $"{writes} writes, {states} states");
    }

    [Theory]
    [InlineData("FuaWrite", 1)]
    [InlineData("FuaWrite", 2)]
    [InlineData("FuaWrite", 5)]
    [InlineData("FuaWrite", 6)]
    [InlineData("FuaWrite", 7)]
    public void Neither_does_a_second_bad_place_on_the_way_out_cost_anything(string history, int second)
    {
        var points = new CrashPoints();

        var (writes, states) = points.TryBadPlaces(Of(history), second);

        output.WriteLine($"{history}, {second} later: {writes} writes, {states} states");
    }

    private static Operation[] Of(string history) => [.. history.Split(',').Select(Enum.Parse<Operation>)];
}
