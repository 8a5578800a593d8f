using System.Globalization;
using CloudFs.Core.Contracts;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Http;

/// <summary>What the hub says of disks on several hosts, in the words of docs/protocol/cluster.md.</summary>
internal static class ClusterDescriptions
{
    public static string Word(GroupRole role) => role.ToString().ToLowerInvariant();

    public static string Word(GroupState state) => state.ToString().ToLowerInvariant();

    public static string Word(ReplicaState state) =>
        state == ReplicaState.CatchingUp ? "catching-up" : state.ToString().ToLowerInvariant();

    public static ClusterReplicaJson Of(GroupReplica replica) => new()
    {
        Host = replica.Replica.Host.ToString(),
        Device = replica.Replica.Device.ToString(),
        Witness = replica.Replica.Witness,
        State = Word(replica.State),
        Reason = replica.Reason,
        Joining = replica.IsJoining,
        Lsn = replica.Lsn,
        LagEntries = replica.LagEntries,
        LagBytes = replica.LagBytes,
        LagSeconds = Math.Round(replica.Lag.TotalSeconds, 3),
        AwaySeconds = Math.Round(replica.Away.TotalSeconds, 3),
        Progress = replica.Progress is { } part ? Math.Round(part * 100, 1) : null,
        SecondsLeft = replica.Left is { } left ? Math.Round(left.TotalSeconds, 1) : null,
        SentBytes = replica.SentBytes,
    };

    public static ClusterDiskJson Of(GroupStatus group) => new()
    {
        Id = group.Disk.ToString(),
        Name = group.Name,
        Size = group.SizeBytes,
        Durability = group.Durability.Text(),
        Role = Word(group.Role),
        State = Word(group.State),
        Reason = group.Reason,
        Epoch = group.Ballot.Epoch,
        Primary = group.Ballot.Primary.ToString(),
        Lsn = group.Durable.Lsn,
        Committed = group.Committed,
        LiveBytes = group.LiveBytes,
        Replicas = [.. group.Replicas.Select(Of)],
    };

    /// <summary>A disk that lies on this host alone.</summary>
    public static ClusterDiskJson OfAlone(DiskStatus disk) => new()
    {
        Id = disk.Id.ToString(),
        Name = disk.Name,
        Size = disk.SizeBytes,
        Durability = disk.Durability.Text(),
        Role = Word(GroupRole.Primary),
        State = Word(GroupState.Serving),
        Epoch = disk.Epoch,
        Primary = disk.Primary.ToString(),
        Lsn = disk.Durable.Lsn,
        Committed = disk.Durable.Lsn,
        LiveBytes = disk.LiveBytes,
        Replicas = [.. disk.Replicas.Select(replica => new ClusterReplicaJson
        {
            Host = replica.Host.ToString(),
            Device = replica.Device.ToString(),
            Witness = replica.Witness,
            State = Word(ReplicaState.Primary),
            Lsn = disk.Durable.Lsn,
        })],
    };

    /// <summary>
    /// The process's start and what changes with views, roles and states; room counts by 64 MiB. While a replica is
    /// away or behind, for how long matters too: then it is another one each second.
    /// </summary>
    public static string Tag(StorageEngine engine, TimeSpan uptime, DateTimeOffset started, ulong free)
    {
        var second = engine.Replication.IsUnsettled ? (long)uptime.TotalSeconds : 0;
        return string.Create(
            CultureInfo.InvariantCulture, $"\"{started.UtcTicks:x}-{engine.Replication.Revision}.{free >> 26}.{second}\"");
    }
}
