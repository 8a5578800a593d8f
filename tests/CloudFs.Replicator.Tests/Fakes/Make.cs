using System.Security.Cryptography;
using System.Text;
using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Membership;

namespace CloudFs.Replicator.Tests.Fakes;

/// <summary>Hosts and disks for tests.</summary>
internal static class Make
{
    public const ulong Capacity = 1UL << 40;

    public static string Id(string text) => Convert.ToHexStringLower(SHA1.HashData(Encoding.UTF8.GetBytes(text)));

    public static HostRecord Record(string name, ulong incarnation = 1, ulong beat = 1) => new()
    {
        Id = Id(name), Address = $"{name}:8091", Daemon = $"{name}:8090", Device = Id(name + " device"), CapacityBytes = Capacity,
        FreeBytes = Capacity / 2, Ready = true, Incarnation = incarnation, Instance = $"{name} {incarnation}", Beat = beat,
    };

    public static HostView Host(
        string name, HostState state = HostState.Up, bool draining = false, Func<HostRecord, HostRecord>? change = null)
    {
        var record = change is null ? Record(name) : change(Record(name));
        return new HostView(record, Id160.Parse(record.Id), state, draining, state == HostState.Up ? TimeSpan.Zero : TimeSpan.FromSeconds(20));
    }

    public static ClusterReplicaJson Replica(string host, string state = "live", double away = 0, bool joining = false, bool witness = false) => new()
    {
        Host = Id(host), Device = Id(host + " device"), State = state, AwaySeconds = away, Joining = joining, Witness = witness,
    };

    /// <summary>A disk whose primary is the first replica.</summary>
    public static ClusterDiskJson Disk(params ClusterReplicaJson[] replicas) => new()
    {
        Id = Id("a disk"), Size = 1 << 20, Durability = "flush", Role = "primary", State = "serving", Epoch = 1,
        Primary = replicas[0].Host, Lsn = 7, Committed = 7, LiveBytes = 0, Replicas = replicas,
    };

    public static GossipMessage Gossip(params HostRecord[] records) => new(records[0].Id, records, []);
}
