using CloudFs.Core.Disks;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>One disk as a checkpoint keeps it: a copy that the running disk no longer changes.</summary>
public sealed record DiskSnapshot(
    Chain.ChainHead Head,
    Id160 Secret,
    string? Suspect,
    IReadOnlyList<ViewMark> Views,
    IReadOnlyList<LogPosition> Pins,
    ulong OldestLsn,
    IReadOnlyList<LsnRun> Runs,
    ExtentSnapshot Extents)
{
    /// <summary>Copies a disk's state. Under the disk's lock; quick, since the map is shared until it changes.</summary>
    public static DiskSnapshot Of(DiskState state) => new(
        state.Head,
        state.Secret,
        state.Suspect,
        [.. state.Views],
        [.. state.Pins],
        state.Lsns.OldestLsn,
        [.. state.Lsns.Runs],
        state.Map.Snapshot());
}

/// <summary>The log at the moment from which a checkpoint lets recovery read it.</summary>
/// <param name="RollFrom">Recovery reads the log from here on.</param>
/// <param name="NextCommit">The sequence of the next commit.</param>
/// <param name="NextSegment">The segment chosen to follow the open one; -1 for none.</param>
/// <param name="Segments">The segments in use.</param>
public sealed record LogCut(
    LogPosition RollFrom, ulong NextCommit, int NextSegment, IReadOnlyList<SegmentUse> Segments);

/// <summary>What a checkpoint holds, read back.</summary>
/// <param name="RollFrom">Recovery reads the log from here on.</param>
/// <param name="Durable">The log was durable up to here.</param>
/// <param name="NextCommit">A sequence above every commit's before <paramref name="RollFrom"/>.</param>
/// <param name="NextSegment">The segment chosen to follow the open one; -1 for none.</param>
/// <param name="Segments">The segment table, with the references that the disks' maps have.</param>
/// <param name="Disks">The disks, deleted ones included.</param>
public sealed record LoadedCheckpoint(
    LogPosition RollFrom,
    LogPosition Durable,
    ulong NextCommit,
    int NextSegment,
    SegmentTable Segments,
    Dictionary<Id160, DiskState> Disks);
