using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Http;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>What /healthz and /metrics make of disks on several hosts.</summary>
public sealed class ReplicationReportTests
{
    private static readonly HealthReport Ok = new("ok", []);

    [Fact]
    public void What_stands_as_it_should_is_no_reason()
    {
        GroupStatus[] groups =
        [
            Primary(1, GroupState.Serving, ReplicaState.Primary, ReplicaState.Live, ReplicaState.CatchingUp),
            Other(2, GroupRole.Replica, GroupState.Following),
            Other(3, GroupRole.Witness, GroupState.Following),
            Other(4, GroupRole.Joining, GroupState.Copying),
            Other(5, GroupRole.Removed, GroupState.Disconnected),
        ];
        Assert.Same(Ok, ReplicationHealth.Over(Ok, groups));
        Assert.Same(Ok, ReplicationHealth.Over(Ok, []));
    }

    [Fact]
    public void A_host_that_is_away_is_told_once_and_its_first_disks_are_named()
    {
        var groups = Enumerable.Range(1, 1000)
            .Select(i => Primary(i, GroupState.Serving, ReplicaState.Primary, ReplicaState.Away, ReplicaState.Live)).ToArray();
        var health = ReplicationHealth.Over(Ok, groups);
        Assert.Equal("degraded", health.Status);
        var issue = Assert.Single(health.Issues);
        Assert.Equal("replica-away", issue.Code);
        Assert.Contains($"host {Id(101)}, with a replica of 1000 disks", issue.Message, StringComparison.Ordinal);
        Assert.Contains("away for 90 s", issue.Message, StringComparison.Ordinal);
        Assert.Contains($"{Id(3)} and 997 more", issue.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Disks_that_stand_still_are_counted_by_state_with_reasons()
    {
        GroupStatus[] groups =
        [
            Primary(1, GroupState.Waiting, ReplicaState.Primary) with { Name = "web1", Reason = "1 of 3 within reach" },
            Primary(2, GroupState.Waiting, ReplicaState.Primary),
            Primary(3, GroupState.Candidate, ReplicaState.Primary),
            Other(4, GroupRole.Replica, GroupState.Disconnected),
            Other(5, GroupRole.Joining, GroupState.Refused),
        ];
        var full = new HealthReport("failed", [new HealthIssue("poisoned", "x")]);
        var health = ReplicationHealth.Over(full, groups);
        Assert.Equal("failed", health.Status);
        Assert.Equal(
            ["poisoned", "disk-not-serving", "disk-not-serving", "replica-not-following", "replica-not-following"],
            health.Issues.Select(issue => issue.Code));
        Assert.Contains("1 disk whose primary this host is do not answer (candidate)", health.Issues[1].Message, StringComparison.Ordinal);
        Assert.Contains("2 disks", health.Issues[2].Message, StringComparison.Ordinal);
        Assert.Contains($"{Id(1)} (web1), 1 of 3 within reach", health.Issues[2].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Metrics_are_sums_and_maxima()
    {
        var lagging = Primary(1, GroupState.Serving, ReplicaState.Primary, ReplicaState.CatchingUp, ReplicaState.Away);
        lagging = lagging with
        {
            Replicas =
            [
                .. lagging.Replicas.Select((replica, i) => replica with { LagEntries = (ulong)i * 10, LagBytes = (ulong)i * 4096 }),
            ],
        };
        var text = new MetricsText();
        ReplicationMetricsText.Add(
            text,
            [lagging, Other(2, GroupRole.Replica, GroupState.Following), Other(3, GroupRole.Replica, GroupState.Following)],
            new ReplicationTotals(4, 100, 200, 3, 7));
        var lines = text.ToString().Split('\n');
        Assert.Contains("cloudfs_replication_groups{role=\"primary\",state=\"serving\"} 1", lines);
        Assert.Contains("cloudfs_replication_groups{role=\"replica\",state=\"following\"} 2", lines);
        Assert.Contains("cloudfs_replication_links 4", lines);
        Assert.Contains("cloudfs_replication_replicas_away 1", lines);
        Assert.Contains("cloudfs_replication_lag_entries_max 20", lines);
        Assert.Contains("cloudfs_replication_lag_bytes_max 8192", lines);
        Assert.Contains("cloudfs_replication_sent_bytes_total 100", lines);
        Assert.Contains("cloudfs_replication_received_bytes_total 200", lines);
        Assert.Contains("cloudfs_replication_healed_pages_total 3", lines);
        Assert.Contains("cloudfs_replication_waiting_requests 7", lines);
    }

    [Fact]
    public void Without_groups_the_metrics_are_there_and_zero()
    {
        var text = new MetricsText();
        ReplicationMetricsText.Add(text, [], default);
        Assert.Contains("cloudfs_replication_lag_bytes_max 0", text.ToString().Split('\n'));
    }

    private static Id160 Id(int number) => Id160.Parse(number.ToString("x40", System.Globalization.CultureInfo.InvariantCulture));

    private static GroupStatus Primary(int disk, GroupState state, params ReplicaState[] replicas) =>
        Other(disk, GroupRole.Primary, state) with
        {
            Replicas =
            [
                .. replicas.Select((replica, i) => new GroupReplica(new Replica(Id(100 + i), Id(200 + i)), false, replica)
                {
                    Away = replica == ReplicaState.Away ? TimeSpan.FromSeconds(90) : TimeSpan.Zero,
                }),
            ],
        };

    private static GroupStatus Other(int disk, GroupRole role, GroupState state) => new()
    {
        Disk = Id(disk),
        Name = null,
        SizeBytes = 1 << 20,
        Durability = Durability.Flush,
        Role = role,
        State = state,
        Reason = null,
        Ballot = default,
        Durable = new DiskVersion(1, Id(disk)),
        Committed = 1,
        LiveBytes = 0,
        Replicas = [],
    };
}
