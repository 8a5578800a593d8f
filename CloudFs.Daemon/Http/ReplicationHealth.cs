using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Hosting;

namespace CloudFs.Daemon.Http;

/// <summary>
/// What is wrong with disks on several hosts, for <c>/healthz</c>: counted, and the first ones named, since a host that goes away takes
/// a thousand disks with it. Pure.
/// </summary>
internal static class ReplicationHealth
{
    // Enough to look further; /cluster has them all.
    private const int Named = 3;

    /// <summary>The engine's report with what the groups say laid over it.</summary>
    public static HealthReport Over(HealthReport engine, IReadOnlyList<GroupStatus> groups)
    {
        List<HealthIssue> issues = [];
        AddStanding(
            issues, groups.Where(group => group.Role == GroupRole.Primary && group.State != GroupState.Serving),
            "disk-not-serving", "whose primary this host is do not answer", "GET /cluster names them all");
        AddStanding(
            issues, groups.Where(IsBehind), "replica-not-following", "that this host holds for another are not in step",
            "they catch up by themselves once the reason is gone");
        AddMissing(issues, groups);
        return issues.Count == 0 ? engine
            : new HealthReport(engine.Status == HealthBoard.Failed ? engine.Status : "degraded", [.. engine.Issues, .. issues]);
    }

    /// <summary>True for a replica that takes nothing: one that catches up is on its way.</summary>
    public static bool IsMissing(GroupReplica replica) =>
        !replica.IsJoining && replica.State is ReplicaState.Away or ReplicaState.Refused;

    /// <summary>A host that joins and copies does what it should; one that left has nothing to follow.</summary>
    private static bool IsBehind(GroupStatus group) => group.Role switch
    {
        GroupRole.Replica or GroupRole.Witness => group.State != GroupState.Following,
        GroupRole.Joining => group.State is GroupState.Disconnected or GroupState.Refused,
        _ => false,
    };

    private static void AddStanding(
        List<HealthIssue> issues, IEnumerable<GroupStatus> groups, string code, string what, string next)
    {
        foreach (var kind in groups.GroupBy(group => group.State).OrderBy(kind => kind.Key))
        {
            var all = kind.ToList();
            issues.Add(new HealthIssue(
                code,
                $"{Count(all.Count, "disk")} {what} ({kind.Key.ToString().ToLowerInvariant()}): "
                + $"{Names(all, group => $"{Name(group.Disk, group.Name)}{Why(group.Reason)}")}; {next}"));
        }
    }

    /// <summary>By host: what is told once is that a host is away, not each of its disks.</summary>
    private static void AddMissing(List<HealthIssue> issues, IReadOnlyList<GroupStatus> groups)
    {
        var missing =
            from disk in groups
            where disk.Role == GroupRole.Primary
            from replica in disk.Replicas
            where IsMissing(replica)
            group (Disk: disk, Replica: replica) by (replica.State, replica.Replica.Host) into host
            orderby host.Key
            select host;
        foreach (var host in missing)
        {
            var all = host.ToList();
            var longest = all.MaxBy(one => one.Replica.Away).Replica;
            issues.Add(new HealthIssue(
                host.Key.State == ReplicaState.Away ? "replica-away" : "replica-refused",
                $"host {host.Key.Host}, with a replica of {Count(all.Count, "disk")} of this host, is "
                + (host.Key.State == ReplicaState.Away ? $"away for {longest.Away.TotalSeconds:0} s" : "refused") + Why(longest.Reason)
                + $": {Names(all, one => Name(one.Disk.Disk, one.Disk.Name))}; a majority suffices meanwhile"));
        }
    }

    private static string Names<T>(List<T> all, Func<T, string> name) =>
        string.Join(", ", all.Take(Named).Select(name)) + (all.Count > Named ? $" and {all.Count - Named} more" : "");

    private static string Name(Id160 disk, string? name) => name is null ? $"{disk}" : $"{disk} ({name})";

    private static string Why(string? reason) => string.IsNullOrEmpty(reason) ? "" : $", {reason}";

    private static string Count(int count, string noun) => count == 1 ? $"1 {noun}" : $"{count} {noun}s";
}
