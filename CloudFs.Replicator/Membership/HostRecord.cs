using System.Text.Json.Serialization;

namespace CloudFs.Replicator.Membership;

/// <summary>What a host says of itself, and others pass on. Newer is what has the higher (incarnation, beat).</summary>
internal sealed record HostRecord
{
    /// <summary>Host id, 40 hex digits.</summary>
    public required string Id { get; init; }

    /// <summary>Where its replicator and its daemon listen: "10.0.0.1:8091".</summary>
    public required string Address { get; init; }

    public required string Daemon { get; init; }

    /// <summary>Device id; empty while its daemon was not reached.</summary>
    public string Device { get; init; } = string.Empty;

    public string Zone { get; init; } = string.Empty;

    public double Weight { get; init; } = 1;

    /// <summary>True for a host that is to hold no data.</summary>
    public bool Witness { get; init; }

    public ulong CapacityBytes { get; init; }

    public ulong FreeBytes { get; init; }

    /// <summary>Disks that it holds, those that it is primary of, and those of them that lack a replica.</summary>
    public int Disks { get; init; }

    public int Primaries { get; init; }

    public int Degraded { get; init; }

    /// <summary>False while its daemon does not answer, or its device takes nothing more.</summary>
    public bool Ready { get; init; }

    /// <summary>True once it knows that it is to be drained, and has held nothing since for longer than a disk is in the making.</summary>
    public bool Drained { get; init; }

    /// <summary>Microseconds since 1970 at its start: each start has a higher one.</summary>
    public required ulong Incarnation { get; init; }

    /// <summary>Chance from its start: tells two processes apart that claim one id.</summary>
    public required string Instance { get; init; }

    /// <summary>Rises by one each second.</summary>
    public required ulong Beat { get; init; }

    /// <summary>Seconds since the sender heard of this beat, directly or not.</summary>
    public double SilentSeconds { get; init; }
}

/// <summary>What was decided about a host by command: last writer wins, by <see cref="Version"/>.</summary>
internal sealed record HostMark
{
    public required string Id { get; init; }

    public bool Draining { get; init; }

    /// <summary>Incarnations up to this one are forgotten; 0: none is. A later start of the host is let in again.</summary>
    public ulong Forgotten { get; init; }

    public required ulong Version { get; init; }
}

/// <summary><c>POST /gossip</c>, and its answer: all that the sender knows.</summary>
/// <param name="From">The sender's own record is the one with this id.</param>
/// <param name="Hosts">At most <see cref="HostTable.MaxHosts"/>.</param>
/// <param name="Marks">At most as many.</param>
internal sealed record GossipMessage(string From, IReadOnlyList<HostRecord> Hosts, IReadOnlyList<HostMark> Marks)
{
    /// <summary>Fights over ids that the sender saw with its own eyes: so both of them hear of it.</summary>
    public IReadOnlyList<IdConflict> Conflicts { get; init; } = [];
}

/// <summary>Source-generated JSON of what replicators say to each other.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectRequiredConstructorParameters = true,
    RespectNullableAnnotations = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip)]
[JsonSerializable(typeof(GossipMessage))]
internal sealed partial class GossipJson : JsonSerializerContext;
