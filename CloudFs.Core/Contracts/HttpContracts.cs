using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace CloudFs.Core.Contracts;

// What the daemon's HTTP face says and hears in JSON; the daemon, the replicator and the command share these records.
// docs/protocol/http.md describes each. Property names on the wire are camelCase.

/// <summary><c>POST /disks</c>: all but <see cref="Replicas"/> go into the disk's first entry.</summary>
public sealed record NewDiskRequest
{
    /// <summary>Bytes; 8 GiB when absent.</summary>
    public ulong? Size { get; init; }

    public string? Name { get; init; }

    /// <summary>"flush" (when absent), "write" or "async".</summary>
    public string? Durability { get; init; }

    /// <summary>How many hosts hold it; 1 when absent, and the only number possible without a replicator.</summary>
    public int? Replicas { get; init; }
}

/// <summary>The answer to <c>POST /disks</c> (201).</summary>
public sealed record NewDiskAnswer(string Id, IReadOnlyList<string> Hosts);

/// <summary><c>PATCH /disks/ID</c>: what is absent stays.</summary>
public sealed record ChangeDiskRequest
{
    public string? Name { get; init; }

    /// <summary>Bytes; a disk only grows.</summary>
    public ulong? Size { get; init; }

    /// <summary>"flush", "write" or "async".</summary>
    public string? Durability { get; init; }

    /// <summary>Seconds that a request waits for too few replicas before it fails with EIO; 0: for ever.</summary>
    public uint? Patience { get; init; }
}

/// <summary>A disk: <c>GET /disks</c> (an array) and <c>GET /disks/ID</c>.</summary>
public sealed record DiskJson
{
    public required string Id { get; init; }

    public string? Name { get; init; }

    public required ulong Size { get; init; }

    public required string Durability { get; init; }

    /// <summary>"primary", "replica", "joining", "removed" or "mirror".</summary>
    public required string Role { get; init; }

    public required bool Writable { get; init; }

    /// <summary>LSN and version of the newest durable entry.</summary>
    public required ulong Lsn { get; init; }

    public required string Head { get; init; }

    /// <summary>The newest entry, durable or not.</summary>
    public required ulong NewestLsn { get; init; }

    public required string Newest { get; init; }

    /// <summary>The oldest LSN that /stream can begin with.</summary>
    public required ulong OldestLsn { get; init; }

    public required ulong LiveBytes { get; init; }

    public required ulong HistoryBytes { get; init; }

    /// <summary>Time of the newest entry, ISO 8601 with microseconds, UTC.</summary>
    public required string Time { get; init; }

    public required ViewJson View { get; init; }

    public required IReadOnlyList<ReplicaJson> Replicas { get; init; }

    /// <summary>Of a disk on several hosts: "serving", "candidate", "waiting" and so on (docs/protocol/cluster.md), and why.</summary>
    public string? State { get; init; }

    public string? StateReason { get; init; }

    /// <summary>The newest LSN that is known to be on a majority; absent for a disk on one host.</summary>
    public ulong? Committed { get; init; }

    public required DiskHealthJson Health { get; init; }
}

/// <summary>The view in force.</summary>
public sealed record ViewJson(string Id, ulong Epoch, string Primary);

/// <summary>A replica of the view.</summary>
public sealed record ReplicaJson(string Host, string Device, bool Witness)
{
    /// <summary>How far it is, where this host is the primary of several.</summary>
    public ClusterReplicaJson? Status { get; init; }
}

/// <summary>"ok" or "degraded", why, and the ranges (bytes) that answer EIO.</summary>
public sealed record DiskHealthJson(
    string Status, string Reason, ulong DamagedBytes, IReadOnlyList<DamageJson> Damage);

/// <summary>A range in bytes that answers EIO until it is overwritten or trimmed.</summary>
public sealed record DamageJson(ulong Offset, ulong Length, string Reason);

/// <summary><c>GET /host</c>: this daemon.</summary>
public sealed record HostJson
{
    public required string Host { get; init; }

    public required string Device { get; init; }

    /// <summary>The path of the device, as the daemon was given it.</summary>
    public required string DevicePath { get; init; }

    public required string Version { get; init; }

    public required int Pid { get; init; }

    public required long UptimeSeconds { get; init; }

    /// <summary>Where NBD is served: "127.0.0.1:10809", "unix:/path".</summary>
    public required IReadOnlyList<string> Nbd { get; init; }

    public required string Http { get; init; }

    public required SpaceJson Space { get; init; }

    public CompactionJson? Compaction { get; init; }

    /// <summary>URL of the replicator beside this daemon, "http://127.0.0.1:8091"; absent where there is none.</summary>
    public string? Replicator { get; init; }
}

/// <summary>
/// Room on the device, bytes. All but reclaimable and reserved, which are parts of the others, add up to the capacity.
/// </summary>
public sealed record SpaceJson(ulong Capacity, ulong Free, ulong Reclaimable, ulong Reserved, ulong Live)
{
    /// <summary>Headers of entries with live data: an estimate.</summary>
    public ulong Headers { get; init; }

    /// <summary>Data that only snapshots read.</summary>
    public ulong Pinned { get; init; }

    /// <summary>Superseded data that /stream still sends.</summary>
    public ulong History { get; init; }

    /// <summary>What nothing reads any more.</summary>
    public ulong Dead { get; init; }

    public ulong Index { get; init; }

    public ulong Checkpoint { get; init; }

    public ulong Bad { get; init; }

    /// <summary>What is unwritten of open segments.</summary>
    public ulong Open { get; init; }
}

/// <summary>How compaction stands.</summary>
public sealed record CompactionJson
{
    public required bool Running { get; init; }

    /// <summary>"none", "compacting" or "full".</summary>
    public required string Pressure { get; init; }

    /// <summary>Bytes to relocate until as much is free as is wanted.</summary>
    public required ulong DebtBytes { get; init; }

    /// <summary>How long that takes; absent while it can't be told.</summary>
    public ulong? EstimatedSeconds { get; init; }

    /// <summary>New and relocated bytes for each new one, since the daemon started.</summary>
    public required double WriteAmplification { get; init; }

    public required ulong RelocatedBytes { get; init; }

    public required ulong SegmentsFreed { get; init; }
}

/// <summary><c>GET /healthz</c>.</summary>
public sealed record HealthJson(string Status, IReadOnlyList<HealthIssueJson> Reasons);

/// <summary>One reason why the status is not ok.</summary>
public sealed record HealthIssueJson(string Code, string Message);

/// <summary><c>GET /scrub</c>, and the answer to <c>POST /scrub</c> (202).</summary>
public sealed record ScrubJson
{
    public required bool Running { get; init; }

    /// <summary>Passes begun since the daemon started; what follows is of the newest.</summary>
    public required ulong Pass { get; init; }

    /// <summary>When it began, ISO 8601, UTC; absent where there was none.</summary>
    public string? Started { get; init; }

    public required ulong BytesTotal { get; init; }

    public required ulong BytesDone { get; init; }

    /// <summary>Bytes a second at most; 0 while scrubbing is off.</summary>
    public required ulong Rate { get; init; }

    /// <summary>From the beginning of one pass to the next; 0 where passes begin only when asked.</summary>
    public required ulong IntervalSeconds { get; init; }

    public required ulong FindingCount { get; init; }

    /// <summary>The first thousand.</summary>
    public required IReadOnlyList<ScrubFindingJson> Findings { get; init; }

    /// <summary>When the last pass that reached its end did so; absent where none did since the daemon started.</summary>
    public string? LastCompleted { get; init; }

    public required ulong LastFindings { get; init; }
}

/// <summary>Something that a scrub found: "lost", "unknown", "readable", "history" or "healed", and where.</summary>
public sealed record ScrubFindingJson
{
    public required string Verdict { get; init; }

    public required string Place { get; init; }

    public required string Message { get; init; }

    /// <summary>The disk's id, where it is known.</summary>
    public string? Disk { get; init; }

    /// <summary>The entry's LSN, where it is known.</summary>
    public ulong? Lsn { get; init; }

    /// <summary>What the entry had written there, in bytes of the disk.</summary>
    public required IReadOnlyList<ScrubRangeJson> Ranges { get; init; }
}

/// <summary>A range of a disk, in bytes.</summary>
public sealed record ScrubRangeJson(ulong Offset, ulong Length);

/// <summary><c>cloudfs status --json</c>: what <c>/host</c> and <c>/healthz</c> say.</summary>
public sealed record LocalStatusJson(HostJson Host, HealthJson Health);

/// <summary>The body of every answer of 400 and above: one line that says what to do.</summary>
public sealed record ErrorJson(string Error);

/// <summary>Source-generated JSON for the contracts: no reflection at run time.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip)]
[JsonSerializable(typeof(NewDiskRequest))]
[JsonSerializable(typeof(NewDiskAnswer))]
[JsonSerializable(typeof(ChangeDiskRequest))]
[JsonSerializable(typeof(DiskJson))]
[JsonSerializable(typeof(IReadOnlyList<DiskJson>))]
[JsonSerializable(typeof(HostJson))]
[JsonSerializable(typeof(HealthJson))]
[JsonSerializable(typeof(LocalStatusJson))]
[JsonSerializable(typeof(ScrubJson))]
[JsonSerializable(typeof(ErrorJson))]
public sealed partial class HttpContractsJson : JsonSerializerContext
{
    /// <summary>
    /// The same for answers, which nobody pastes into HTML: a quotation mark in a line for people stays one.
    /// </summary>
    public static HttpContractsJson Plain => field ??= new HttpContractsJson(
        new JsonSerializerOptions(Default.GeneratedSerializerOptions!)
        {
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        });
}
