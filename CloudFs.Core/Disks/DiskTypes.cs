using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What this host is to a disk.</summary>
public enum DiskRole
{
    /// <summary>This host extends the disk.</summary>
    Primary,

    /// <summary>A copy fed by <c>PUT /log</c>: readable, never written here.</summary>
    Mirror,
}

/// <summary>A version: an LSN and the public id of the entry that made it.</summary>
public readonly record struct DiskVersion(ulong Lsn, Id160 Id);

/// <summary>What a new disk is to be.</summary>
/// <param name="SizeBytes">Bytes, a positive multiple of 512, at most 2^55 sectors.</param>
/// <param name="Name">A name by FORMAT.md's rule, or null.</param>
/// <param name="Durability">When its writes are acknowledged.</param>
public sealed record DiskSpec(ulong SizeBytes, string? Name = null, Durability Durability = Durability.Flush)
{
    /// <summary>8 GiB, the size of a disk unless asked otherwise.</summary>
    public const ulong DefaultSizeBytes = 8UL << 30;
}

/// <summary>What a range of a disk holds, for block status and sparse copies.</summary>
public enum RangeContent
{
    /// <summary>Data lies in the log.</summary>
    Data,

    /// <summary>Nothing is stored and it reads as zeroes.</summary>
    Hole,

    /// <summary>Damaged: reading it answers EIO.</summary>
    Damaged,
}

/// <summary>A run of sectors with the same kind of content; offset and length in bytes.</summary>
public readonly record struct DiskRange(ulong Offset, ulong Length, RangeContent Content);

/// <summary>Where a stream begins: after this point. <see cref="Start"/> is before the first entry.</summary>
public readonly record struct StreamPoint(ulong? Lsn, Id160? Version)
{
    /// <summary>From the first entry on.</summary>
    public static StreamPoint Start => default;

    /// <summary>The entries after the one with this LSN (0 = from the first).</summary>
    public static StreamPoint After(ulong lsn) => new(lsn, null);

    /// <summary>The entries after the one that made this version.</summary>
    public static StreamPoint After(Id160 version) => new(null, version);
}

/// <summary>A disk as an operator sees it; a copy, taken at one moment.</summary>
public sealed record DiskStatus
{
    public required Id160 Id { get; init; }

    public string? Name { get; init; }

    public required ulong SizeBytes { get; init; }

    public required Durability Durability { get; init; }

    public required DiskRole Role { get; init; }

    /// <summary>False for a mirror and for a disk whose head or secret can't be had; <see cref="Reason"/> says why.</summary>
    public required bool Writable { get; init; }

    /// <summary>The newest version, durable or not.</summary>
    public required DiskVersion Newest { get; init; }

    /// <summary>The newest version that is durable here: what /heads, /lsn and /stream show.</summary>
    public required DiskVersion Durable { get; init; }

    /// <summary>The oldest LSN that /stream can still begin with.</summary>
    public required ulong OldestLsn { get; init; }

    /// <summary>Bytes of data that reads of the present version can reach.</summary>
    public required ulong LiveBytes { get; init; }

    /// <summary>Bytes of entries in the log (headers and bodies), live or not, that the history still holds.</summary>
    public required ulong HistoryBytes { get; init; }

    /// <summary>The view in force: H(secret), epoch, primary.</summary>
    public required Id160 View { get; init; }

    public required ulong Epoch { get; init; }

    public required Id160 Primary { get; init; }

    /// <summary>Host and device ids of the view's replicas.</summary>
    public required IReadOnlyList<ReplicaStatus> Replicas { get; init; }

    /// <summary>Time of the newest entry, microseconds since 1970.</summary>
    public required ulong TimeMicros { get; init; }

    /// <summary>Ranges known to answer EIO, at most a thousand of them, in bytes.</summary>
    public required IReadOnlyList<DamageRange> Damage { get; init; }

    /// <summary>How many bytes answer EIO in all.</summary>
    public required ulong DamagedBytes { get; init; }

    /// <summary>"ok" or "degraded".</summary>
    public required string Health { get; init; }

    /// <summary>Why it is not ok, what happens next; empty when it is ok.</summary>
    public required string Reason { get; init; }
}

/// <summary>A replica named in the view.</summary>
public sealed record ReplicaStatus(Id160 Host, Id160 Device, bool Witness);

/// <summary>A damaged range of a disk, in bytes, and why it is thought to be so.</summary>
public sealed record DamageRange(ulong Offset, ulong Length, string Reason);
