using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Http;

/// <summary>What the hub counts, as of now.</summary>
/// <param name="Links">Links that are open, in either direction.</param>
/// <param name="SentBytes">Bytes that went out over links, since the engine was opened.</param>
/// <param name="ReceivedBytes">Bytes that came in over them.</param>
/// <param name="HealedPages">Damaged pages that another host gave and that were written again.</param>
/// <param name="WaitingRequests">Requests that wait for replicas.</param>
internal readonly record struct ReplicationTotals(
    int Links, long SentBytes, long ReceivedBytes, long HealedPages, int WaitingRequests);

/// <summary>
/// Replication's lines of <c>/metrics</c>: sums and maxima, since a host has a thousand disks; <c>/cluster</c> tells of each.
/// </summary>
internal static class ReplicationMetricsText
{
    public static void Add(MetricsText text, IReadOnlyList<GroupStatus> groups, in ReplicationTotals totals)
    {
        const string Groups = "cloudfs_replication_groups";
        text.Begin(Groups, "gauge", "Disks on several hosts, by what this host is to them and how they stand.");
        foreach (var kind in groups.GroupBy(group => (group.Role, group.State)).OrderBy(kind => kind.Key))
        {
            text.Labelled(
                Groups, "role", Word(kind.Key.Role.ToString()), "state", Word(kind.Key.State.ToString()), kind.Count());
        }

        var others = groups.Where(group => group.Role == GroupRole.Primary)
            .SelectMany(group => group.Replicas).Where(replica => replica.State != ReplicaState.Primary).ToList();
        text.Gauge("cloudfs_replication_links", "Links to other hosts.", totals.Links);
        text.Gauge(
            "cloudfs_replication_replicas_away", "Replicas of this host's primaries that are away or refused.",
            others.Count(ReplicationHealth.IsMissing));
        text.Gauge(
            "cloudfs_replication_lag_entries_max", "Entries that the replica furthest behind lacks.",
            others.Select(replica => replica.LagEntries).DefaultIfEmpty().Max());
        text.Gauge(
            "cloudfs_replication_lag_bytes_max", "Bytes that the replica furthest behind lacks.",
            others.Select(replica => replica.LagBytes).DefaultIfEmpty().Max());
        text.Counter("cloudfs_replication_sent_bytes_total", "Bytes sent over links.", totals.SentBytes);
        text.Counter("cloudfs_replication_received_bytes_total", "Bytes received over links.", totals.ReceivedBytes);
        text.Counter("cloudfs_replication_healed_pages_total", "Damaged pages that another host gave.", totals.HealedPages);
        text.Gauge("cloudfs_replication_waiting_requests", "Requests that wait for replicas.", totals.WaitingRequests);
    }

    private static string Word(string name) => name.ToLowerInvariant();
}
