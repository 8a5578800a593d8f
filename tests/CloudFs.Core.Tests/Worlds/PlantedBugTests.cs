using System.Globalization;
using System.Text.RegularExpressions;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>Bugs planted on purpose are found, each within as many worlds as docs/testing/fault-model.md says.</summary>
public sealed partial class PlantedBugTests
{
    private static readonly string Doc =
        File.ReadAllText(Path.Combine(TestTree.Root, "docs", "testing", "fault-model.md"));

    /// <summary>The bugs of the doc's table, with the class of worlds that finds each and how many it takes at most.</summary>
    public static TheoryData<string, string, int> Table()
    {
        var table = new TheoryData<string, string, int>();
        // Those of clusters are looked for in clusters (Cluster/ClusterPlantedBugTests.cs).
        foreach (var row in Rows().Matches(Doc).Where(row => row.Groups[2].Value is not ("cluster" or "scenario")))
        {
            table.Add(row.Groups[1].Value, row.Groups[2].Value, int.Parse(row.Groups[3].Value, CultureInfo.InvariantCulture));
        }

        return table;
    }

    [Theory]
    [MemberData(nameof(Table))]
    public void A_planted_bug_is_found_within_the_stated_number_of_worlds(string bug, string worlds, int most)
    {
        var planted = Enum.Parse<PlantedBug>(bug);
        var only = Enum.Parse<WorldClass>(worlds);
        for (var seed = 1; seed <= most; seed++)
        {
            if (WorldRunner.Run(seed, 1, 1, only, planted).Count > 0)
            {
                // It was the bug, and not the world.
                Assert.Empty(WorldRunner.Run(seed, 1, 1, only));
                return;
            }
        }

        Assert.Fail($"{bug} was not found in {most} worlds of class {worlds}");
    }

    [Fact]
    public void Every_bug_that_can_be_planted_is_in_the_table()
    {
        var listed = Rows().Matches(Doc).Select(row => row.Groups[1].Value).ToHashSet();

        Assert.Equal([], Enum.GetValues<PlantedBug>().Where(bug => bug != PlantedBug.None && !listed.Contains(bug.ToString())));
    }

    [Fact]
    public void Crash_points_find_a_flush_that_was_skipped()
    {
        var (_, _, failures) = WorldRunner.TryCrashPoints([[Operation.FuaWrite], [Operation.Write, Operation.Flush]], 1, PlantedBug.SkipFlush);

        Assert.Equal(2, failures.Count);
    }

    [GeneratedRegex(@"^\| `(\w+)` \| [^|]* \| (\w+) \| (\d+) \|", RegexOptions.Multiline)]
    private static partial Regex Rows();
}
