using CloudFs.Core.Disks;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>
/// One disk as a checkpoint keeps it: a copy that the running disk no longer changes. Its tree maps it up to the head once the
/// layers that were frozen with this copy are merged.
/// </summary>
public sealed record DiskSnapshot(
    Chain.ChainHead Head,
    Id160 Secret,
    string? Suspect,
    IReadOnlyList<ViewMark> Views,
    IReadOnlyList<PinnedEntry> Pins,
    ulong OldestLsn,
    IReadOnlyList<LsnRun> Runs,
    IReadOnlyList<(ulong Lba, ulong End)> Lost,
    TreeRoot Tree)
{
    /// <summary>True for a copy that was given up: its tree goes, and it is not kept.</summary>
    public bool IsDropped { get; init; }

    /// <summary>Copies a disk's state. Under the disk's lock; quick, since the map's layers are not copied.</summary>
    public static DiskSnapshot Of(DiskState state) => new(
        state.Head,
        state.Secret,
        state.Suspect,
        [.. state.Views],
        [.. state.Pins],
        state.Lsns.OldestLsn,
        [.. state.Lsns.Runs],
        [.. state.Damage.LostRanges],
        state.Map.Tree) { IsDropped = state.IsDropped };
}

/// <summary>The log at the moment from which a checkpoint lets recovery read it.</summary>
/// <param name="RollFrom">Recovery reads the log from here on.</param>
/// <param name="NextCommit">The sequence of the next commit.</param>
/// <param name="NextSegment">The segment chosen to follow the open one; -1 for none.</param>
public sealed record LogCut(LogPosition RollFrom, ulong NextCommit, int NextSegment);

/// <summary>Everything that a checkpoint says.</summary>
/// <param name="Cut">Where the log was cut.</param>
/// <param name="NextRelocation">The use that the next relocation segment would have got.</param>
/// <param name="Segments">The segments in use, with what the trees refer to.</param>
/// <param name="IndexPages">Which index pages are in use: a bit each, by segment (-1: the fixed area).</param>
/// <param name="Disks">The disks, deleted ones included.</param>
/// <param name="Remembered">Promises, and what is known of disks that are not here.</param>
public sealed record CheckpointContents(
    LogCut Cut,
    ulong NextRelocation,
    IReadOnlyList<SegmentUse> Segments,
    IReadOnlyList<(int Segment, byte[] Used)> IndexPages,
    IReadOnlyList<DiskSnapshot> Disks,
    IReadOnlyList<RememberedDisk> Remembered);

/// <summary>What a checkpoint holds, read back.</summary>
/// <param name="Cut">Where the log was cut.</param>
/// <param name="Durable">The log was durable up to here.</param>
/// <param name="Segments">The segment table.</param>
/// <param name="IndexPages">Which index pages are in use.</param>
/// <param name="Disks">The disks, deleted ones included.</param>
/// <param name="Remembered">Promises, and what is known of disks that are not here.</param>
public sealed record LoadedCheckpoint(
    LogCut Cut,
    LogPosition Durable,
    SegmentTable Segments,
    IReadOnlyList<(int Segment, byte[] Used)> IndexPages,
    Dictionary<Id160, DiskState> Disks,
    IReadOnlyList<RememberedDisk> Remembered);
