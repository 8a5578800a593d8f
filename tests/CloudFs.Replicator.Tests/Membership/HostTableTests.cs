using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Tests.Fakes;
using Xunit;

namespace CloudFs.Replicator.Tests.Membership;

/// <summary>Who is known, who is silent, who lies.</summary>
public sealed class HostTableTests
{
    private readonly ManualTime _time = new();
    private readonly HostTable _table;

    public HostTableTests() => _table = new HostTable(Make.Record("self", 10), _time);

    private HostState State(string name) => _table.Find(Make.Id(name))!.State;

    [Fact]
    public void A_host_knows_whom_another_knows()
    {
        Assert.Null(_table.Merge(Make.Gossip(Make.Record("a"), Make.Record("b"))));
        Assert.Equal(3, _table.Views().Count);
    }

    [Fact]
    public void Silence_makes_suspect_then_down_and_a_new_beat_makes_up()
    {
        _table.Merge(Make.Gossip(Make.Record("a")));
        _time.Advance(4.9);
        Assert.Equal(HostState.Up, State("a"));
        _time.Advance(0.2);
        Assert.Equal(HostState.Suspect, State("a"));
        _table.Merge(Make.Gossip(Make.Record("a")));
        _time.Advance(10);
        Assert.Equal(HostState.Down, State("a"));
        _table.Merge(Make.Gossip(Make.Record("a", beat: 2)));
        Assert.Equal(HostState.Up, State("a"));
    }

    [Fact]
    public void What_was_old_when_it_was_told_counts_as_old()
    {
        _table.Merge(Make.Gossip(Make.Record("a"), Make.Record("b") with { SilentSeconds = 100 }));
        Assert.Equal((HostState.Up, HostState.Down), (State("a"), State("b")));
    }

    [Fact]
    public void An_older_record_changes_nothing()
    {
        _table.Merge(Make.Gossip(Make.Record("a", 2, 5) with { Zone = "new" }));
        _table.Merge(Make.Gossip(Make.Record("a", 1, 9) with { Zone = "old" }));
        Assert.Equal("new", _table.Find(Make.Id("a"))!.Record.Zone);
    }

    [Fact]
    public void Another_process_with_this_hosts_id_is_refused_and_named()
    {
        var line = _table.Merge(Make.Gossip(Make.Record("self", 99) with { Address = "thief:1" }));
        Assert.Contains("two hosts claim the id", line, StringComparison.Ordinal);
        Assert.Contains("thief:1", Assert.Single(_table.Conflicts()).Line, StringComparison.Ordinal);
        _time.Advance(61);
        Assert.Empty(_table.Conflicts());
    }

    [Fact]
    public void This_process_itself_by_another_way_is_no_conflict() =>
        Assert.Null(_table.Merge(Make.Gossip(Make.Record("self", 10, 3))));

    [Fact]
    public void A_third_host_keeps_the_one_that_was_first_and_refuses_the_other()
    {
        _table.Merge(Make.Gossip(Make.Record("a", 5)));
        var thief = Make.Record("a", 6) with { Address = "thief:1" };
        Assert.NotNull(_table.Merge(Make.Gossip(thief)));
        Assert.Null(_table.Merge(Make.Gossip(Make.Record("b"), thief)));
        Assert.Equal("a:8091", _table.Find(Make.Id("a"))!.Record.Address);
        Assert.Single(_table.Conflicts());
        Assert.Equal(HostState.Up, State("b"));
    }

    [Fact]
    public void A_host_may_come_back_at_another_address_after_it_was_silent()
    {
        _table.Merge(Make.Gossip(Make.Record("a", 5)));
        _time.Advance(6);
        Assert.Null(_table.Merge(Make.Gossip(Make.Record("a", 6) with { Address = "moved:1" })));
        Assert.Equal("moved:1", _table.Find(Make.Id("a"))!.Record.Address);
    }

    [Fact]
    public void A_restart_at_the_same_address_is_taken_at_once()
    {
        _table.Merge(Make.Gossip(Make.Record("a", 5, 100)));
        Assert.Null(_table.Merge(Make.Gossip(Make.Record("a", 6))));
        Assert.Equal(6UL, _table.Find(Make.Id("a"))!.Record.Incarnation);
    }

    [Fact]
    public void A_forgotten_host_stays_away_until_its_own_next_start()
    {
        _table.Merge(Make.Gossip(Make.Record("a", 5)));
        _table.Mark(Make.Id("a"), mark => mark with { Forgotten = 5 });
        Assert.Null(_table.Find(Make.Id("a")));
        _table.Merge(Make.Gossip(Make.Record("a", 5, 9)));
        _table.Merge(Make.Gossip(Make.Record("b"), Make.Record("a", 5, 10)));
        Assert.Null(_table.Find(Make.Id("a")));
        _table.Merge(Make.Gossip(Make.Record("a", 6)));
        Assert.NotNull(_table.Find(Make.Id("a")));
    }

    [Fact]
    public void Marks_spread_and_the_newer_one_wins()
    {
        HostMark Mark(ulong version, bool draining) => new() { Id = Make.Id("a"), Version = version, Draining = draining };
        _table.Merge(Make.Gossip(Make.Record("a")) with { Marks = [Mark(2, true)] });
        Assert.True(_table.Find(Make.Id("a"))!.Draining);
        _table.Merge(Make.Gossip(Make.Record("a")) with { Marks = [Mark(1, false)] });
        Assert.True(_table.Find(Make.Id("a"))!.Draining);
        _table.Merge(Make.Gossip(Make.Record("a")) with { Marks = [Mark(3, false)] });
        Assert.False(_table.Find(Make.Id("a"))!.Draining);
    }

    [Fact]
    public void A_host_learns_that_it_was_forgotten()
    {
        var mark = new HostMark { Id = Make.Id("self"), Version = 1, Forgotten = 10 };
        _table.Merge(Make.Gossip(Make.Record("a")) with { Marks = [mark] });
        Assert.True(_table.IsForgotten);
    }

    [Fact]
    public void What_a_database_remembers_is_down_until_it_is_heard_of()
    {
        _table.Recall([Make.Record("a"), Make.Record("self")], []);
        Assert.Equal(HostState.Down, State("a"));
        Assert.Equal(2, _table.Views().Count);
        _table.Merge(Make.Gossip(Make.Record("a", 2)));
        Assert.Equal(HostState.Up, State("a"));
    }

    [Fact]
    public void Messages_that_cannot_be_are_refused_whole()
    {
        var good = Make.Record("a");
        GossipMessage[] bad =
        [
            Make.Gossip(good with { Id = "xyz" }), Make.Gossip(good with { Id = new string('0', 40) }),
            Make.Gossip(good with { Address = "no port" }), Make.Gossip(good with { Daemon = "a:99999" }),
            Make.Gossip(good with { Weight = double.NaN }), Make.Gossip(good with { Weight = -1 }),
            Make.Gossip(good with { SilentSeconds = -5 }), Make.Gossip(good with { Device = "12" }), Make.Gossip(good, good),
            Make.Gossip(good) with { From = Make.Id("b") }, Make.Gossip(good) with { Marks = [new HostMark { Id = "x", Version = 1 }] },
            new GossipMessage(good.Id, [.. Enumerable.Range(0, 1100).Select(i => Make.Record($"h{i}"))], []),
            Make.Gossip(good, null!),
        ];
        foreach (var message in bad)
        {
            Assert.NotNull(_table.Merge(message));
        }

        Assert.Single(_table.Views());
    }

    [Fact]
    public void No_more_hosts_are_remembered_than_there_is_room_for()
    {
        for (var round = 0; round < 3; round++)
        {
            Assert.Null(_table.Merge(Make.Gossip([.. Enumerable.Range(0, 900).Select(i => Make.Record($"h{round}-{i}"))])));
        }

        Assert.Equal(HostTable.MaxHosts + 1, _table.Views().Count);
    }

    [Fact]
    public void Everybody_hears_of_everybody_in_a_few_rounds()
    {
        var chance = new Random(7);
        var tables = Enumerable.Range(0, 40).Select(i => new HostTable(Make.Record($"h{i}"), _time)).ToList();
        for (var round = 0; round < 20; round++)
        {
            _time.Advance(1);
            foreach (var table in tables)
            {
                table.Beat();
                foreach (var target in GossipTargets.Choose(table.Views(), table.Self, ["h0:8091"], _ => true, chance.Next))
                {
                    var other = tables.Single(other => other.SelfRecord.Address == target);
                    Assert.Null(other.Merge(table.ToMessage()));
                    Assert.Null(table.Merge(other.ToMessage()));
                }
            }
        }

        Assert.All(tables, table => Assert.Equal(40, table.Views().Count(host => host.IsUp)));
    }

    [Fact]
    public void An_address_that_fails_is_left_alone_longer_and_longer_but_never_for_long()
    {
        var backoff = new Backoff(_time, _ => 0);
        double waited = 0;
        for (var i = 0; i < 12; i++)
        {
            backoff.Failed("a:1");
            Assert.False(backoff.IsDue("a:1"));
            for (waited = 0; !backoff.IsDue("a:1"); waited += 0.5)
            {
                _time.Advance(0.5);
            }
        }

        Assert.Equal(16, waited);
        backoff.Succeeded("a:1");
        Assert.True(backoff.IsDue("a:1"));
    }
}
