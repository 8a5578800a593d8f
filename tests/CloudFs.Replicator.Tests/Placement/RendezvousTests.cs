using System.Text.Json;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Placement;
using CloudFs.Replicator.Tests.Fakes;
using Xunit;

namespace CloudFs.Replicator.Tests.Placement;

/// <summary>docs/protocol/placement.md: another program computes the same.</summary>
public sealed class RendezvousTests
{
    private static List<PlacementHost> Hosts(int count, int zones = 1000) =>
        [.. Enumerable.Range(0, count).Select(i => new PlacementHost(Id160.Parse(Make.Id($"h{i}")), $"z{i % zones}", 1))];

    private static Id160 Disk(int number) => Id160.Parse(Make.Id($"d{number}"));

    [Fact]
    public void Vectors_that_another_program_made_come_out_the_same()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "CloudFs.slnx")))
        {
            folder = Path.GetDirectoryName(folder)!;
        }

        using var vectors = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tests/golden/placement/vectors.json")));
        foreach (var set in vectors.RootElement.EnumerateArray())
        {
            var hosts = set.GetProperty("hosts").EnumerateArray().Select(host => new PlacementHost(
                Id160.Parse(host.GetProperty("id").GetString()!), host.GetProperty("zone").GetString()!,
                host.GetProperty("weight").GetDouble())).ToList();
            foreach (var score in set.GetProperty("scores").EnumerateArray())
            {
                var host = hosts.Single(host => host.Id.ToString() == score.GetProperty("host").GetString());
                var found = Rendezvous.Score(Id160.Parse(score.GetProperty("disk").GetString()!), host.Id, host.Weight);
                Assert.Equal(1, found / score.GetProperty("score").GetDouble(), 1e-12);
            }

            foreach (var vector in set.GetProperty("placements").EnumerateArray())
            {
                var found = Rendezvous.Place(Id160.Parse(vector.GetProperty("disk").GetString()!), hosts, vector.GetProperty("count").GetInt32());
                Assert.Equal(
                    vector.GetProperty("hosts").EnumerateArray().Select(id => id.GetString()), found.Select(host => host.Id.ToString()));
            }
        }
    }

    [Fact]
    public void A_host_that_is_added_takes_its_share_and_nothing_else_moves()
    {
        const int Disks = 4000;
        var before = Hosts(9);
        var after = Hosts(10);
        var added = after[^1];
        var moved = 0;
        for (var i = 0; i < Disks; i++)
        {
            var old = Rendezvous.Place(Disk(i), before, 3).ToHashSet();
            var now = Rendezvous.Place(Disk(i), after, 3);
            var fresh = now.Where(host => !old.Contains(host)).ToList();
            Assert.All(fresh, host => Assert.Equal(added, host));
            moved += fresh.Count;
        }

        // Three of ten replicas' places: 1200 of 4000, within five standard deviations.
        Assert.InRange(moved, 1050, 1350);
    }

    [Fact]
    public void Shares_are_in_proportion_to_weights()
    {
        var hosts = Hosts(4);
        hosts[0] = hosts[0] with { Weight = 3 };
        var first = Enumerable.Range(0, 6000).Count(i => Rendezvous.Place(Disk(i), hosts, 1)[0] == hosts[0]);
        Assert.InRange(first, 2800, 3200);
    }

    [Fact]
    public void Zones_come_first_where_there_are_enough_and_are_filled_up_where_not()
    {
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(3, Rendezvous.Place(Disk(i), Hosts(9, zones: 3), 3).DistinctBy(host => host.Zone).Count());
            var two = Rendezvous.Place(Disk(i), Hosts(9, zones: 2), 3);
            Assert.Equal((3, 2), (two.Distinct().Count(), two.DistinctBy(host => host.Zone).Count()));
        }

        Assert.Equal(2, Rendezvous.Place(Disk(1), Hosts(2), 3).Count);
        Assert.Empty(Rendezvous.Place(Disk(1), [], 3));
    }

    [Fact]
    public void A_weight_that_is_none_comes_last()
    {
        var hosts = Hosts(3);
        hosts[1] = hosts[1] with { Weight = double.NaN };
        Assert.Equal(hosts[1], Rendezvous.Rank(Disk(3), hosts)[^1]);
    }
}
