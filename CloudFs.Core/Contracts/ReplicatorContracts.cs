using System.Text.Json.Serialization;

namespace CloudFs.Core.Contracts;

// What the replicator says and hears in JSON (docs/protocol/replicator.md): to the command, to daemons that look for a disk,
// and to other replicators. POST /disks and DELETE take and give what the daemon's do (HttpContracts.cs).

/// <summary><c>GET /hosts</c>: the cluster as this host knows it.</summary>
public sealed record HostsJson
{
    /// <summary>This host's id.</summary>
    public required string Host { get; init; }

    public required IReadOnlyList<ClusterHostJson> Hosts { get; init; }

    /// <summary>Disks whose primary is known, and those of them that lack a replica.</summary>
    public required int Disks { get; init; }

    public required int Degraded { get; init; }

    /// <summary>The fullest host's share of what it holds to the share that its weight calls for; 1 is even.</summary>
    public required double Evenness { get; init; }
}

/// <summary>One host.</summary>
public sealed record ClusterHostJson
{
    public required string Host { get; init; }

    /// <summary>The replicator's and the daemon's HTTP addresses.</summary>
    public required string Address { get; init; }

    public required string Daemon { get; init; }

    public string? Device { get; init; }

    /// <summary>"up", "suspect", "down", "draining", "drained".</summary>
    public required string State { get; init; }

    /// <summary>Why it is not "up", what happens next and when.</summary>
    public string? Reason { get; init; }

    public required string Zone { get; init; }

    public required double Weight { get; init; }

    /// <summary>True for a host without data.</summary>
    public required bool Witness { get; init; }

    public required ulong CapacityBytes { get; init; }

    public required ulong FreeBytes { get; init; }

    /// <summary>How many disks it holds, and of how many it is the primary.</summary>
    public required int Disks { get; init; }

    public required int Primaries { get; init; }

    /// <summary>Seconds since it was heard of.</summary>
    public required double SilentSeconds { get; init; }
}

/// <summary>
/// <c>GET /disks/ID</c> of the replicator: where a disk is, by id, unique prefix or name. 404 where no host that is up has it.
/// </summary>
public sealed record DiskPlaceJson
{
    public required string Id { get; init; }

    public string? Name { get; init; }

    public required ulong Size { get; init; }

    /// <summary>Host id of the primary, and its daemon's address; the address is empty where it is not known.</summary>
    public required string Primary { get; init; }

    public required string PrimaryAddress { get; init; }

    public required ulong Epoch { get; init; }

    public required IReadOnlyList<string> Hosts { get; init; }
}

/// <summary><c>POST /move</c>: the right to write goes to another replica, or to a host that becomes one first.</summary>
public sealed record MoveDiskRequest(string Disk, string To);

/// <summary><c>POST /replicas</c>: how many data replicas a disk is to have from now on.</summary>
public sealed record ReplicasRequest(string Disk, int Replicas);

/// <summary>
/// <c>POST /drain</c>: everything that a host holds goes elsewhere; <c>Undo</c> takes it back. <c>POST /forget</c>: a host that is down
/// is known no more.
/// </summary>
public sealed record HostRequest(string Host, bool Undo = false);

/// <summary>Source-generated JSON for the contracts of the replicator.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip)]
[JsonSerializable(typeof(HostsJson))]
[JsonSerializable(typeof(DiskPlaceJson))]
[JsonSerializable(typeof(MoveDiskRequest))]
[JsonSerializable(typeof(ReplicasRequest))]
[JsonSerializable(typeof(HostRequest))]
public sealed partial class ReplicatorContractsJson : JsonSerializerContext;
