using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Placement;
using CloudFs.Replicator.Tests.Fakes;
using Xunit;

namespace CloudFs.Replicator.Tests.Creation;

/// <summary>An id that calls for the hosts that its entry names.</summary>
public sealed class CreationSearchTests
{
    private int _secrets;

    private Id160 NewSecret() => Id160.Parse(Make.Id($"secret {_secrets++}"));

    private CreationPlan Search(int replicas, IReadOnlyList<HostView> hosts, string local = "h0") => CreationSearch.Search(
        new DiskWish(replicas, AttributesBody.Empty.WithSize(1 << 20).WithName("mail")), hosts, Id160.Parse(Make.Id(local)), NewSecret, new ManualTime());

    private static List<HostView> Hosts(int count) => [.. Enumerable.Range(0, count).Select(i => Make.Host($"h{i}"))];

    [Fact]
    public void Three_of_three_are_found_at_once_and_the_local_host_is_the_primary()
    {
        var plan = Search(3, Hosts(3));
        Assert.Equal((1, 3), (plan.Tries, plan.Overlap));
        Assert.Equal(Make.Id("h0"), plan.Entry.View.Primary.ToString());
        Assert.Equal(3, plan.Entry.View.Replicas.Count);
    }

    [Fact]
    public void Three_of_eight_are_those_that_the_id_calls_for()
    {
        var hosts = Hosts(8);
        var plan = Search(3, hosts);
        Assert.Equal(3, plan.Overlap);
        Assert.Equal(
            Rendezvous.Place(plan.Entry.Id, hosts.Select(host => host.ForPlacement), 3).Select(host => host.Id.ToString()).Order(),
            plan.Entry.View.Replicas.Select(replica => replica.Host.ToString()).Order());
    }

    [Fact]
    public void Two_take_a_third_as_witness_one_that_is_meant_for_it_first()
    {
        var hosts = Hosts(4);
        hosts.Add(Make.Host("w", change: record => record with { Witness = true }));
        Assert.Equal(Make.Id("w"), Search(2, hosts).Witness!.Record.Id);
        Assert.NotNull(Search(2, Hosts(3)).Witness);
        Assert.Null(Search(2, Hosts(2)).Witness);
    }

    [Fact]
    public void Too_few_hosts_are_refused_with_what_there_is_and_what_to_ask_for()
    {
        var line = CreationSearch.FindRefusal(3, [.. Hosts(2), Make.Host("x", HostState.Down)]);
        Assert.StartsWith("3 replicas were asked for, but there are 2 hosts: ", line, StringComparison.Ordinal);
        Assert.Contains("which is down", line, StringComparison.Ordinal);
        Assert.EndsWith("ask for fewer: cloudfs newdisk 2", line, StringComparison.Ordinal);
        Assert.Null(CreationSearch.FindRefusal(2, Hosts(2)));
        Assert.NotNull(CreationSearch.FindRefusal(0, Hosts(2)));
    }

    [Fact]
    public void What_is_full_draining_or_a_witness_takes_nothing()
    {
        Assert.False(Make.Host("a", draining: true).TakesData);
        Assert.False(Make.Host("a", change: record => record with { FreeBytes = 1 }).TakesData);
        Assert.False(Make.Host("a", change: record => record with { Witness = true }).TakesData);
        Assert.False(Make.Host("a", change: record => record with { Ready = false }).TakesData);
        Assert.True(Make.Host("a").TakesData);
    }

    [Fact]
    public void An_entry_reads_as_it_was_sealed_and_not_when_a_bit_is_turned()
    {
        var entry = Search(3, Hosts(3)).Entry;
        Assert.Equal(entry.Id, FirstEntry.Read(entry.Bytes, out _)!.Value.Id);
        for (var at = 0; at < entry.Bytes.Length; at += 7)
        {
            var broken = entry.Bytes.ToArray();
            broken[at] ^= 4;
            Assert.Null(FirstEntry.Read(broken, out var fault));
            Assert.NotEmpty(fault);
        }

        Assert.Null(FirstEntry.Read(entry.Bytes.AsSpan(0, 100), out _));
        Assert.Null(FirstEntry.Read([], out _));
    }

    [Fact]
    public void Two_disks_of_one_name_do_not_get_votes_at_once()
    {
        var time = new ManualTime();
        var votes = new VoteBook(time);
        Assert.Null(votes.TryVote("1", "mail"));
        Assert.NotNull(votes.TryVote("2", "mail"));
        Assert.Null(votes.TryVote("3", null));
        time.Advance(11);
        Assert.Null(votes.TryVote("2", "mail"));
        votes.End("2");
        Assert.Null(votes.TryVote("4", "mail"));
    }
}
