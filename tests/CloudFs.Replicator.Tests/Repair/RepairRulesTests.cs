using CloudFs.Core.Contracts;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Repair;
using CloudFs.Replicator.Tests.Fakes;
using Xunit;

namespace CloudFs.Replicator.Tests.Repair;

/// <summary>What is done about a disk that is not as it should be.</summary>
public sealed class RepairRulesTests
{
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(10);

    private readonly List<HostView> _hosts = [Make.Host("a"), Make.Host("b"), Make.Host("c"), Make.Host("d")];

    private static readonly ClusterReplicaJson Primary = Make.Replica("a", "primary");

    private RepairDecision Decide(ClusterDiskJson disk, DiskIntent? intent = null, string self = "a") =>
        RepairRules.Decide(disk, Make.Id(self), _hosts, intent ?? new DiskIntent(), Grace);

    private void Set(string name, HostState state = HostState.Up, bool draining = false) =>
        _hosts[_hosts.FindIndex(host => host.Record.Id == Make.Id(name))] = Make.Host(name, state, draining);

    private static void Is(RepairDecision decision, RepairStep step, string? host)
    {
        Assert.Equal((step, host is null ? null : Make.Id(host)), (decision.Step, decision.Host));
    }

    [Fact]
    public void A_whole_disk_wants_nothing_and_has_no_reason() => Assert.Null(Decide(
        Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"))).Reason);

    [Fact]
    public void Within_the_grace_period_a_host_that_is_down_is_waited_for()
    {
        Set("c", HostState.Down);
        var decision = Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 60)));
        Is(decision, RepairStep.None, null);
        Assert.Contains("replaced in 540 s", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void After_it_another_host_is_added_first_and_the_lost_one_removed_then()
    {
        Set("c", HostState.Down);
        var lost = Make.Replica("c", "away", 601);
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), lost)), RepairStep.Add, "d");
        var pinned = new DiskIntent(3);
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), lost, Make.Replica("d", "copying", joining: true)), pinned), RepairStep.None, null);
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), lost, Make.Replica("d")), pinned), RepairStep.Remove, "c");
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("d")), pinned), RepairStep.None, null);
    }

    [Fact]
    public void The_lost_one_stays_named_while_the_new_one_is_not_in_step()
    {
        Set("c", HostState.Down);
        var disk = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 601), Make.Replica("d", "catching-up"));
        Is(Decide(disk, new DiskIntent(3)), RepairStep.None, null);
    }

    [Fact]
    public void One_that_is_back_sooner_makes_the_joining_one_needless()
    {
        var joining = Make.Replica("d", "copying", joining: true) with { LagBytes = 1 << 30 };
        var back = Make.Replica("c", "catching-up") with { LagBytes = 1 << 20 };
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), back, joining), new DiskIntent(3)), RepairStep.Remove, "d");
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"), joining), new DiskIntent(3)), RepairStep.Remove, "d");
        var slow = back with { LagBytes = 1L << 31 };
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), slow, joining), new DiskIntent(3)), RepairStep.None, null);
    }

    [Fact]
    public void A_joining_host_that_is_gone_is_given_up()
    {
        Set("d", HostState.Down);
        var disk = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 900), Make.Replica("d", "away", 20, joining: true));
        Set("c", HostState.Down);
        Is(Decide(disk, new DiskIntent(3)), RepairStep.Remove, "d");
    }

    [Fact]
    public void A_named_host_that_is_up_but_away_is_told_to_hold() => Is(
        Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 650))), RepairStep.Hold, "c");

    [Fact]
    public void One_that_is_up_and_yet_never_follows_is_replaced_where_there_is_another_host()
    {
        var disk = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 10));
        Is(Decide(disk), RepairStep.Hold, "c");
        disk = disk with { Replicas = [Primary, Make.Replica("b"), Make.Replica("c", "away", 700)] };
        Is(Decide(disk), RepairStep.Add, "d");
        Set("d", HostState.Down);
        Is(Decide(disk), RepairStep.Hold, "c");
    }

    [Fact]
    public void Where_no_host_is_free_the_reason_says_so()
    {
        Set("c", HostState.Down);
        Set("d", HostState.Down);
        var decision = Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c", "away", 601)));
        Is(decision, RepairStep.None, null);
        Assert.Contains("no other host", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void With_a_witness_a_replica_that_is_away_leaves_after_five_seconds_and_comes_back_by_itself()
    {
        var witness = Make.Replica("c", witness: true);
        Set("b", HostState.Suspect);
        var waiting = Make.Disk(Primary, Make.Replica("b", "away", 4), witness) with { State = "waiting", Reason = "one of two" };
        Is(Decide(waiting), RepairStep.None, null);
        Is(Decide(waiting with { Replicas = [Primary, Make.Replica("b", "away", 5.1), witness] }), RepairStep.Remove, "b");

        var alone = Make.Disk(Primary, witness);
        var intent = new DiskIntent(2, Former: Make.Id("b"), FormerAway: TimeSpan.FromSeconds(30));
        Is(Decide(alone, intent), RepairStep.None, null);
        Is(Decide(alone, intent with { FormerAway = TimeSpan.FromSeconds(601) }), RepairStep.Add, "d");
        Set("b");
        Is(Decide(alone, intent), RepairStep.Add, "b");
    }

    [Fact]
    public void Without_a_live_witness_the_last_two_stay_named()
    {
        Set("b", HostState.Down);
        var away = Make.Replica("b", "away", 100);
        Is(Decide(Make.Disk(Primary, away) with { State = "waiting" }), RepairStep.None, null);
        Set("c", HostState.Down);
        Is(Decide(Make.Disk(Primary, away, Make.Replica("c", "away", 100, witness: true)) with { State = "waiting" }), RepairStep.None, null);
    }

    [Fact]
    public void Draining_a_replica_adds_then_removes()
    {
        Set("c", draining: true);
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"))), RepairStep.Add, "d");
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"), Make.Replica("d")), new DiskIntent(3)), RepairStep.Remove, "c");
    }

    [Fact]
    public void Draining_the_primary_adds_then_moves_and_the_next_primary_removes_it()
    {
        Set("a", draining: true);
        var three = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"));
        Is(Decide(three), RepairStep.Add, "d");
        var four = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"), Make.Replica("d"));
        var move = Decide(four, new DiskIntent(3));
        Assert.Equal(RepairStep.Move, move.Step);
        Assert.NotEqual(Make.Id("a"), move.Host);
        var moved = Make.Disk(Make.Replica("b", "primary"), Make.Replica("a"), Make.Replica("c"), Make.Replica("d"));
        Is(Decide(moved, new DiskIntent(3), self: "b"), RepairStep.Remove, "a");
    }

    [Fact]
    public void More_replicas_are_added_and_fewer_removed_one_at_a_time_never_the_primary()
    {
        var two = Make.Disk(Primary, Make.Replica("b"));
        Assert.Equal(RepairStep.Add, Decide(two, new DiskIntent(3)).Step);
        var three = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"));
        var fewer = Decide(three, new DiskIntent(1));
        Assert.Equal(RepairStep.Remove, fewer.Step);
        Assert.NotEqual(Make.Id("a"), fewer.Host);
        Is(Decide(Make.Disk(Primary), new DiskIntent(1)), RepairStep.None, null);
    }

    [Fact]
    public void A_move_to_a_host_without_a_copy_gives_it_one_first()
    {
        var three = Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"));
        var intent = new DiskIntent(3, MoveTo: Make.Id("d"));
        Is(Decide(three, intent), RepairStep.Add, "d");
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"), Make.Replica("d", "copying", joining: true)), intent), RepairStep.None, null);
        Is(Decide(Make.Disk(Primary, Make.Replica("b"), Make.Replica("c"), Make.Replica("d")), intent), RepairStep.Move, "d");
    }

    [Theory]
    [InlineData("candidate")]
    [InlineData("moving")]
    public void While_a_view_is_in_the_making_nothing_is_done(string state)
    {
        var decision = Decide(Make.Disk(Primary, Make.Replica("b", "away", 9999), Make.Replica("c")) with { State = state });
        Is(decision, RepairStep.None, null);
        Assert.NotNull(decision.Reason);
    }

    [Fact]
    public void Whatever_the_states_the_last_live_replica_is_never_removed_and_a_disk_that_lacks_something_has_a_reason()
    {
        var chance = new Random(5);
        string[] states = ["live", "away", "catching-up", "copying", "refused"];
        for (var i = 0; i < 20_000; i++)
        {
            foreach (var name in new[] { "a", "b", "c", "d" })
            {
                Set(name, (HostState)chance.Next(3), chance.Next(4) == 0);
            }

            var others = new[] { "b", "c", "d" }.Where(_ => chance.Next(3) > 0).Select(name => Make.Replica(
                name, states[chance.Next(states.Length)], chance.Next(1200), joining: chance.Next(5) == 0, witness: chance.Next(4) == 0)).ToArray();
            var disk = Make.Disk([Primary, .. others]) with { State = chance.Next(3) == 0 ? "waiting" : "serving" };
            var decision = Decide(disk, new DiskIntent(chance.Next(2) == 0 ? null : chance.Next(1, 4)));
            Assert.NotEqual((RepairStep.Remove, Make.Id("a")), (decision.Step, decision.Host));
            Assert.True(decision.Step == RepairStep.None || (decision.Host is not null && decision.Reason is not null));
            var victim = others.FirstOrDefault(replica => replica.Host == decision.Host);
            if (decision.Step == RepairStep.Add)
            {
                Assert.Null(victim);
                Assert.DoesNotContain(others, replica => replica.Joining);
            }

            if (decision.Step == RepairStep.None && others.Any(replica => replica.State != "live"))
            {
                Assert.NotNull(decision.Reason);
            }
        }
    }

    [Theory]
    [InlineData(3, 1, 0, UnmadeStep.Wait)]
    [InlineData(3, 1, 1, UnmadeStep.Wait)]
    [InlineData(3, 1, 2, UnmadeStep.Drop)]
    [InlineData(3, 2, 0, UnmadeStep.Complete)]
    [InlineData(2, 1, 0, UnmadeStep.Wait)]
    [InlineData(2, 1, 1, UnmadeStep.Drop)]
    internal void A_disk_in_the_making_is_completed_or_dropped_by_who_has_it(int named, int have, int lack, UnmadeStep expected) =>
        Assert.Equal(expected, Unmade.Decide(named, have, lack));
}
