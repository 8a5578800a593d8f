namespace CloudFs.Core.Engine;

/// <summary>
/// Room on the device, in bytes. Every byte of its segments is one of these, so they add up to <see cref="Capacity"/>: live,
/// headers, pinned, history, dead, index, checkpoint, bad, open and free. Reclaimable and reserved are parts of those.
/// </summary>
public sealed record SpaceReport
{
    /// <summary>Bytes in segments, in all.</summary>
    public required ulong Capacity { get; init; }

    /// <summary>Data that some disk's present version reads.</summary>
    public required ulong Live { get; init; }

    /// <summary>Headers of entries with live data, and the second copies of them: an estimate.</summary>
    public required ulong Headers { get; init; }

    /// <summary>Data that only a snapshot reads.</summary>
    public required ulong Pinned { get; init; }

    /// <summary>Superseded data that /stream still sends.</summary>
    public required ulong History { get; init; }

    /// <summary>What nothing reads any more, and what padding and records take: it waits for compaction.</summary>
    public required ulong Dead { get; init; }

    /// <summary>Segments that hold pages of the index.</summary>
    public required ulong Index { get; init; }

    /// <summary>Segments that hold pages of a checkpoint.</summary>
    public required ulong Checkpoint { get; init; }

    /// <summary>Segments that failed a write and are not used any more.</summary>
    public required ulong Bad { get; init; }

    /// <summary>What is still unwritten of open segments.</summary>
    public required ulong Open { get; init; }

    /// <summary>Segments that can be written at once.</summary>
    public required ulong Free { get; init; }

    /// <summary>History and what is dead: what compaction can bring back when room is short.</summary>
    public required ulong Reclaimable { get; init; }

    /// <summary>Of free and reclaimable, what is kept back for trims, deletes, views, checkpoints and compaction.</summary>
    public required ulong Reserved { get; init; }
}

/// <summary>How compaction stands.</summary>
public sealed record CompactionReport
{
    /// <summary>True while victims are being relocated.</summary>
    public required bool Running { get; init; }

    /// <summary>Bytes to relocate until as much is free as is wanted.</summary>
    public required ulong DebtBytes { get; init; }

    /// <summary>How long that will take at the present rate; null while that can't be told.</summary>
    public required ulong? EstimatedSeconds { get; init; }

    /// <summary>New and relocated bytes for each new one, since the engine was opened; 1 while nothing was relocated.</summary>
    public required double WriteAmplification { get; init; }

    /// <summary>Bytes relocated since the engine was opened.</summary>
    public required ulong RelocatedBytes { get; init; }

    /// <summary>Segments that became free since the engine was opened.</summary>
    public required ulong VictimsFreed { get; init; }

    /// <summary>"none"; "compacting": room is short, and is being made; "full": writes are refused.</summary>
    public required string Pressure { get; init; }
}

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

    /// <summary>Of these, commits with new entries.</summary>
    public ulong NewBytes { get; init; }

    /// <summary>Of these, commits with relocated entries.</summary>
    public ulong RelocatedBytes { get; init; }

    /// <summary>Of these, pages of the index.</summary>
    public ulong IndexBytes { get; init; }

    /// <summary>Of these, what segments end with: second copies of their headers.</summary>
    public ulong FooterBytes { get; init; }

    /// <summary>Bytes of zeroes written ahead of the log, once for each place of a file that was never written.</summary>
    public ulong AheadBytes { get; init; }

    public ulong DeviceFlushes { get; init; }

    /// <summary>Lookups of pages of the index that the cache answered, and those that the device had to.</summary>
    public ulong IndexCacheHits { get; init; }

    public ulong IndexCacheMisses { get; init; }

    /// <summary>Pages of entries that reads had from memory, and those that they had from the log.</summary>
    public ulong ReadCacheHits { get; init; }

    public ulong ReadCacheMisses { get; init; }

    /// <summary>Memory that the pages of entries take which are kept for reads.</summary>
    public ulong ReadCacheBytes { get; init; }

    /// <summary>Pages that the trees of all disks take now.</summary>
    public ulong IndexPages { get; init; }

    public ulong Checkpoints { get; init; }

    /// <summary>Of the bytes written to the device, checkpoints.</summary>
    public ulong CheckpointBytes { get; init; }

    /// <summary>Pages whose check failed when they were read.</summary>
    public ulong DamagedPages { get; init; }

    /// <summary>Entry headers that were damaged in place and had from their second copies.</summary>
    public ulong HeadersFromCopy { get; init; }

    public ulong ReadBytes { get; init; }

    public ulong WrittenBytes { get; init; }

    public ulong SegmentsReclaimed { get; init; }
}
