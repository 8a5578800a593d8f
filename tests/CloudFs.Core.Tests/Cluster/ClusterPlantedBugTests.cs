using System.Globalization;
using System.Text.RegularExpressions;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Tests.Format;
using CloudFs.Core.Tests.Replication;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>Bugs of replication that are planted on purpose are found.</summary>
public sealed partial class ClusterPlantedBugTests
{
    /// <summary>The bugs that docs/testing/fault-model.md says are found by clusters, and within how many.</summary>
    public static TheoryData<string, int> Table()
    {
        var table = new TheoryData<string, int>();
        var doc = File.ReadAllText(Path.Combine(TestTree.Root, "docs", "testing", "fault-model.md"));
        foreach (Match row in Rows().Matches(doc))
        {
            table.Add(row.Groups[1].Value, int.Parse(row.Groups[2].Value, CultureInfo.InvariantCulture));
        }

        return table;
    }

    [Theory]
    [MemberData(nameof(Table))]
    public void A_planted_bug_is_found_within_the_stated_number_of_clusters(string bug, int most)
    {
        for (var seed = 1; seed <= most; seed++)
        {
            try
            {
                ClusterWorld.Run(seed, planted: Enum.Parse<PlantedBug>(bug));
            }
            catch (InvalidOperationException)
            {
                // It was the bug, and not the cluster.
                ClusterWorld.Run(seed);
                return;
            }
        }

        Assert.Fail($"{bug} was not found in {most} clusters");
    }

    [Fact]
    public void A_fence_holds_and_one_that_is_ignored_is_seen()
    {
        Assert.True(IsFenceKept(PlantedBug.None));
        Assert.False(IsFenceKept(PlantedBug.IgnoreFence));
    }

    /// <summary>Two of three hosts promise a ballot; nothing of the primary's lower one may reach them after that.</summary>
    private static bool IsFenceKept(PlantedBug planted)
    {
        var isKept = true;
        Simulation.Run(91, async simulation =>
        {
            using var rig = new ClusterRig(simulation, 91, 3);
            for (var host = 0; host < 3; host++)
            {
                rig.Host(host).Planted = planted;
            }

            await rig.StartAsync();
            var disk = await rig.CreateAsync([0, 1, 2]);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, new byte[4096], fua: true, default));
            var promised = new Ballot(9, ClusterRig.IdOf(2));
            Assert.True((await rig.DiskOn(1, disk.Id).PromiseAsync(promised, default)).Granted);
            Assert.True((await rig.DiskOn(2, disk.Id).PromiseAsync(promised, default)).Granted);
            var before = new[] { rig.DiskOn(1, disk.Id).Newest, rig.DiskOn(2, disk.Id).Newest };
            var writing = disk.WriteAsync(4096, new byte[4096], fua: true, default).AsTask();
            await rig.PassAsync(0.5);
            isKept = Enumerable.Range(1, 2).All(host =>
                rig.DiskOn(host, disk.Id) is var here && (here.Newest == before[host - 1] || here.Head.Ballot >= promised));
            await rig.StopAsync();
            await writing;
        });
        return isKept;
    }

    [GeneratedRegex(@"^\| `(\w+)` \| [^|]* \| cluster \| (\d+) \|", RegexOptions.Multiline)]
    private static partial Regex Rows();
}
