namespace CloudFs.Core.Engine;

/// <summary>Room on the device, in bytes.</summary>
/// <param name="Capacity">Bytes in segments, in all.</param>
/// <param name="Free">Bytes in segments that can be written at once.</param>
/// <param name="Reclaimable">Bytes in segments that hold nothing live and are used again when room is short.</param>
/// <param name="Reserved">Of free and reclaimable, what is kept back for trims, deletes, views and checkpoints.</param>
/// <param name="Live">Bytes of data that some disk's present version reads.</param>
public sealed record SpaceReport(ulong Capacity, ulong Free, ulong Reclaimable, ulong Reserved, ulong Live);

/// <summary>One thing that is not as it should be: why, and what happens next.</summary>
/// <param name="Code">A short fixed word, such as "damaged-range", "damaged-checkpoint", "poisoned".</param>
/// <param name="Message">One line: where, why, what happens next.</param>
public sealed record HealthIssue(string Code, string Message);

/// <summary>The state of the engine.</summary>
/// <param name="Status">"ok", "degraded" (it serves, with the exceptions named) or "failed" (it can't serve).</param>
/// <param name="Issues">Every reason; empty when ok.</param>
public sealed record HealthReport(string Status, IReadOnlyList<HealthIssue> Issues);

/// <summary>Counters since the engine was opened; monotonic.</summary>
public sealed record EngineCounters
{
    /// <summary>Entries sealed or ingested, and the bytes of them.</summary>
    public ulong Entries { get; init; }

    public ulong EntryBytes { get; init; }

    /// <summary>Commits written to the device, and the bytes of them with all padding and copies.</summary>
    public ulong Commits { get; init; }

    public ulong DeviceBytesWritten { get; init; }

    public ulong DeviceFlushes { get; init; }

    public ulong Checkpoints { get; init; }

    public ulong CheckpointBytes { get; init; }

    /// <summary>Pages whose check failed when they were read.</summary>
    public ulong DamagedPages { get; init; }

    /// <summary>Entry headers that were damaged in place and had from their second copies.</summary>
    public ulong HeadersFromCopy { get; init; }

    public ulong ReadBytes { get; init; }

    public ulong WrittenBytes { get; init; }

    public ulong SegmentsReclaimed { get; init; }
}
