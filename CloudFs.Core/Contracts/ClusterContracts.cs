using System.Text.Json.Serialization;

namespace CloudFs.Core.Contracts;

// What a daemon says and hears under /cluster: for the replicator beside it, and nobody else (docs/protocol/cluster.md).

/// <summary><c>PUT /cluster/peers</c>: whom this daemon may talk to, all of them, and who told it.</summary>
/// <param name="Replicator">URL of the replicator that says so, such as "http://127.0.0.1:8091".</param>
/// <param name="Peers">Every other host of the cluster whose daemon's address is known.</param>
public sealed record PeersRequest(string Replicator, IReadOnlyList<PeerJson> Peers);

/// <summary>A host and its daemon's HTTP address, "127.0.0.1:8090".</summary>
public sealed record PeerJson(string Host, string Address);

/// <summary><c>GET /cluster</c>: what this host holds. Its <see cref="Revision"/> is the ETag; If-None-Match gives 304.</summary>
public sealed record ClusterJson
{
    public required string Host { get; init; }

    public required string Device { get; init; }

    /// <summary>Changes with views, roles and states of replicas; not with each entry. Begins anew with the process.</summary>
    public required ulong Revision { get; init; }

    public required ulong CapacityBytes { get; init; }

    public required ulong FreeBytes { get; init; }

    /// <summary>True when the device takes nothing more.</summary>
    public required bool Poisoned { get; init; }

    public required IReadOnlyList<ClusterDiskJson> Disks { get; init; }
}

/// <summary>One disk as this host holds it. Mirrors fed by <c>PUT /log</c> are not among them.</summary>
public sealed record ClusterDiskJson
{
    public required string Id { get; init; }

    public string? Name { get; init; }

    public required ulong Size { get; init; }

    public required string Durability { get; init; }

    /// <summary>
    /// "primary", "replica", "witness", "joining" (copying, not yet named in the view) or "removed" (named no more: its copy can be
    /// dropped).
    /// </summary>
    public required string Role { get; init; }

    /// <summary>
    /// Of a primary: "serving", "candidate" (it opens a new view), "waiting" (too few replicas within reach), "moving". Of others:
    /// "following", "copying",
    /// "disconnected", "refused". Always with <see cref="Reason"/> where it is neither "serving" nor "following".
    /// </summary>
    public required string State { get; init; }

    public string? Reason { get; init; }

    public required ulong Epoch { get; init; }

    /// <summary>Host id of the view's primary.</summary>
    public required string Primary { get; init; }

    /// <summary>Newest durable LSN here, and the newest that is known to be committed.</summary>
    public required ulong Lsn { get; init; }

    public required ulong Committed { get; init; }

    public required ulong LiveBytes { get; init; }

    /// <summary>The view's replicas, and those that are joining; on the primary with how far each is.</summary>
    public required IReadOnlyList<ClusterReplicaJson> Replicas { get; init; }
}

/// <summary>A replica, as the primary sees it; elsewhere only who it is.</summary>
public sealed record ClusterReplicaJson
{
    public required string Host { get; init; }

    public required string Device { get; init; }

    public bool Witness { get; init; }

    /// <summary>
    /// "primary", "live" (in step), "catching-up", "copying" (what is left of a long history), "away", "refused". "unknown" where this
    /// host is not the
    /// primary.
    /// </summary>
    public string State { get; init; } = "unknown";

    public string? Reason { get; init; }

    /// <summary>True when it is not (yet) named in the view.</summary>
    public bool Joining { get; init; }

    public ulong Lsn { get; init; }

    /// <summary>How far behind the primary's newest entry; seconds since it was last in step.</summary>
    public ulong LagEntries { get; init; }

    public ulong LagBytes { get; init; }

    public double LagSeconds { get; init; }

    /// <summary>Seconds since it was last heard of; 0 while it is connected.</summary>
    public double AwaySeconds { get; init; }

    /// <summary>While it catches up: percent done and seconds left, where they can be told.</summary>
    public double? Progress { get; init; }

    public double? SecondsLeft { get; init; }

    /// <summary>Bytes that it was sent since it connected last.</summary>
    public ulong SentBytes { get; init; }
}

/// <summary><c>POST /cluster/follow</c>: this host is to hold a disk: as a replica, or as a witness (views only).</summary>
public sealed record FollowRequest(string Disk, string Primary, bool Witness = false);

/// <summary>
/// <c>POST /cluster/members</c>, to the primary's daemon: one host joins (once it has caught up) or leaves. One of the two.
/// </summary>
public sealed record MembersRequest
{
    public required string Disk { get; init; }

    public MemberJson? Add { get; init; }

    /// <summary>Host id. A host that is joining and not yet named is given up.</summary>
    public string? Remove { get; init; }
}

/// <summary>A host that joins, with the device that it will hold the disk on.</summary>
public sealed record MemberJson(string Host, string Device, bool Witness = false);

/// <summary><c>POST /cluster/move</c>, to the primary's daemon: the right to write goes to another replica.</summary>
public sealed record MoveRequest(string Disk, string To);

/// <summary>
/// <c>POST /cluster/drop</c>: this host's copy goes away. 409 while the view names the host, or it is the disk's only one.
/// </summary>
public sealed record DropRequest(string Disk);

/// <summary>Source-generated JSON for the contracts of the cluster.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip)]
[JsonSerializable(typeof(PeersRequest))]
[JsonSerializable(typeof(ClusterJson))]
[JsonSerializable(typeof(FollowRequest))]
[JsonSerializable(typeof(MembersRequest))]
[JsonSerializable(typeof(MoveRequest))]
[JsonSerializable(typeof(DropRequest))]
public sealed partial class ClusterContractsJson : JsonSerializerContext;
