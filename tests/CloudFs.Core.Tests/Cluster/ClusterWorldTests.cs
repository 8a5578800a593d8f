using System.Globalization;
using CloudFs.Core.Tests.Format;
using CloudFs.Core.Tests.Worlds;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>
/// Worlds of clusters with fresh seeds each time, and those that failed once. CLOUDFS_CLUSTER_SEED=n runs one alone, CLOUDFS_CLUSTER_WORLDS=n
/// more of them, CLOUDFS_CLUSTER_FROM=n from a seed on.
/// </summary>
public sealed class ClusterWorldTests(ITestOutputHelper output)
{
    private const int FreshWorlds = 40;

    [Fact]
    public void Fresh_clusters_end_as_they_must()
    {
        if (Number("CLOUDFS_CLUSTER_SEED") is { } alone)
        {
            Console.WriteLine(ClusterWorld.Run(alone));
            return;
        }

        var from = Number("CLOUDFS_CLUSTER_FROM") ?? WorldRunner.FreshSeed();
        var count = Number("CLOUDFS_CLUSTER_WORLDS") ?? FreshWorlds;
        output.WriteLine($"clusters {from} to {from + count - 1}");
        var failures = new List<string>();
        var forked = 0;
        for (var seed = from; seed < from + count; seed++)
        {
            try
            {
                var result = ClusterWorld.Run(seed);
                forked += result.Forked;
                output.WriteLine(result.ToString());
            }
            catch (Exception e)
            {
                failures.Add($"cluster {seed} (again: CLOUDFS_CLUSTER_SEED={seed}): {e.Message}");
            }
        }

        // One in some hundred does, until suffixes are given up (docs/testing/fault-model.md).
        Assert.True(forked <= 2 + (count / 50), $"{forked} disks of {count} clusters were left with two chains");
        Assert.True(failures.Count == 0, $"{failures.Count} of {count}:\n{string.Join("\n\n", failures)}");
    }

    [Fact]
    public void Clusters_that_failed_once_do_not_fail_again()
    {
        var file = Path.Combine(TestTree.Root, "tests", "CloudFs.Core.Tests", "Cluster", "seeds.txt");
        foreach (var line in File.ReadAllLines(file).Select(line => line.Split('#')[0].Trim()).Where(line => line.Length > 0))
        {
            ClusterWorld.Run(int.Parse(line, CultureInfo.InvariantCulture));
        }
    }

    [Fact]
    public void The_same_seed_gives_the_same_cluster_and_another_seed_another()
    {
        var first = ClusterWorld.Run(4242, ClusterFaults.None);

        Assert.Equal(first, ClusterWorld.Run(4242, ClusterFaults.None));
        Assert.NotEqual(first.Digest, ClusterWorld.Run(4243, ClusterFaults.None).Digest);
        Assert.Equal(0, first.FromElsewhere);
    }

    private static int? Number(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } given ? int.Parse(given, CultureInfo.InvariantCulture) : null;
}
