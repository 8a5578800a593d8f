using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>What this host is to a disk that lies, or is to lie, on several.</summary>
public enum GroupRole
{
    Primary,
    Replica,
    Witness,

    /// <summary>It copies the disk, and the view does not name it yet.</summary>
    Joining,

    /// <summary>The view names it no more.</summary>
    Removed,
}

/// <summary>How it stands; <see cref="GroupStatus.Reason"/> says why it is anything but Serving and Following.</summary>
public enum GroupState
{
    /// <summary>Primary: clients are answered.</summary>
    Serving,

    /// <summary>Primary: it restarted, and gathers promises for a new view (PROTOCOL.md, 8).</summary>
    Candidate,

    /// <summary>Primary: too few replicas within reach, so requests wait.</summary>
    Waiting,

    /// <summary>Primary: it hands over.</summary>
    Moving,

    /// <summary>Others: in step with the primary.</summary>
    Following,

    /// <summary>Others: what was missed is on its way.</summary>
    Copying,

    /// <summary>Others: no connection to the primary.</summary>
    Disconnected,

    /// <summary>Others: what the primary has does not extend what is here, or it does not want this host.</summary>
    Refused,
}

/// <summary>A replica as the primary sees it.</summary>
public enum ReplicaState
{
    Unknown,
    Primary,

    /// <summary>In step.</summary>
    Live,
    CatchingUp,

    /// <summary>It receives what is left of a long history.</summary>
    Copying,
    Away,
    Refused,
}

/// <summary>One replica of a group.</summary>
public sealed record GroupReplica(Replica Replica, bool IsJoining, ReplicaState State)
{
    public string? Reason { get; init; }

    /// <summary>Newest entry that is durable there.</summary>
    public ulong Lsn { get; init; }

    public ulong LagEntries { get; init; }

    public ulong LagBytes { get; init; }

    public TimeSpan Lag { get; init; }

    /// <summary>Since it was last connected; zero while it is.</summary>
    public TimeSpan Away { get; init; }

    /// <summary>0 to 1, while it catches up.</summary>
    public double? Progress { get; init; }

    public TimeSpan? Left { get; init; }

    public ulong SentBytes { get; init; }
}

/// <summary>A disk on several hosts, as this one sees it; a copy, taken at one moment.</summary>
public sealed record GroupStatus
{
    public required Id160 Disk { get; init; }

    public required string? Name { get; init; }

    public required ulong SizeBytes { get; init; }

    public required Durability Durability { get; init; }

    public required GroupRole Role { get; init; }

    public required GroupState State { get; init; }

    public required string? Reason { get; init; }

    public required Ballot Ballot { get; init; }

    public required DiskVersion Durable { get; init; }

    public required ulong Committed { get; init; }

    public required ulong LiveBytes { get; init; }

    public required IReadOnlyList<GroupReplica> Replicas { get; init; }
}
