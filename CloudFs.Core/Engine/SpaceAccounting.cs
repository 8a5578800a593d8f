namespace CloudFs.Core.Engine;

/// <summary>What is known of a device's segments, plainly counted: what <see cref="SpaceAccounting"/> makes a report of.</summary>
public sealed record SpaceTally
{
    /// <summary>Bytes of a segment.</summary>
    public required ulong SegmentBytes { get; init; }

    /// <summary>Segments on the device, and of them the free ones.</summary>
    public required ulong Segments { get; init; }

    public required ulong FreeSegments { get; init; }

    /// <summary>Segments that hold pages of the index, pages of a checkpoint, nothing since they failed.</summary>
    public ulong IndexSegments { get; init; }

    public ulong CheckpointSegments { get; init; }

    public ulong BadSegments { get; init; }

    /// <summary>Segments that are kept back.</summary>
    public ulong ReserveSegments { get; init; }

    /// <summary>Bytes still unwritten of open segments.</summary>
    public ulong OpenBytes { get; init; }

    /// <summary>Bytes of data that present versions read.</summary>
    public ulong LiveBytes { get; init; }

    /// <summary>Bytes of the headers of entries that have live data, with second copies and places.</summary>
    public ulong LiveHeaderBytes { get; init; }

    /// <summary>Bytes of data that only snapshots read.</summary>
    public ulong PinnedBytes { get; init; }

    /// <summary>Bytes of entries, headers and bodies, that the histories of all disks hold.</summary>
    public ulong HistoryBytes { get; init; }

    /// <summary>Of the live data, what lies within those histories.</summary>
    public ulong LiveHistoryBytes { get; init; }

    /// <summary>Entries of those histories that have live data.</summary>
    public ulong LiveHistoryEntries { get; init; }
}

/// <summary>What is known of compaction, plainly counted.</summary>
public sealed record CompactionTally
{
    public bool Running { get; init; }

    public bool IsShort { get; init; }

    public bool IsFull { get; init; }

    public ulong DebtBytes { get; init; }

    /// <summary>How long that will take; infinite where it can't be told, or has no end.</summary>
    public double SecondsLeft { get; init; }

    public ulong NewBytes { get; init; }

    public ulong RelocatedBytes { get; init; }

    public ulong VictimsFreed { get; init; }
}

/// <summary>Makes reports of tallies: pure. Whatever is counted, the parts of a report add up to its capacity.</summary>
public static class SpaceAccounting
{
    /// <summary>A short entry's header.</summary>
    private const ulong HeaderBytes = 512;

    /// <summary>
    /// Shares out the bytes of the log's segments: what is counted surely comes first, and a part never takes more than the
    /// parts before it left. What remains is dead.
    /// </summary>
    public static SpaceReport Space(SpaceTally tally)
    {
        var taken = tally.FreeSegments + tally.IndexSegments + tally.CheckpointSegments + tally.BadSegments;
        var left = (tally.Segments > taken ? tally.Segments - taken : 0) * tally.SegmentBytes;
        var open = Take(ref left, tally.OpenBytes);
        var live = Take(ref left, tally.LiveBytes);
        var pinned = Take(ref left, tally.PinnedBytes);
        var headers = Take(ref left, tally.LiveHeaderBytes);
        var alive = tally.LiveHistoryBytes + (tally.LiveHistoryEntries * HeaderBytes);
        var history = Take(ref left, tally.HistoryBytes > alive ? tally.HistoryBytes - alive : 0);
        return new SpaceReport
        {
            Capacity = tally.Segments * tally.SegmentBytes,
            Live = live,
            Headers = headers,
            Pinned = pinned,
            History = history,
            Dead = left,
            Index = tally.IndexSegments * tally.SegmentBytes,
            Checkpoint = tally.CheckpointSegments * tally.SegmentBytes,
            Bad = tally.BadSegments * tally.SegmentBytes,
            Open = open,
            Free = tally.FreeSegments * tally.SegmentBytes,
            Reclaimable = history + left,
            Reserved = tally.ReserveSegments * tally.SegmentBytes,
        };
    }

    /// <summary>What people want to know of compaction: what is owed, and when it will be paid.</summary>
    public static CompactionReport Compaction(CompactionTally tally) => new()
    {
        Running = tally.Running,
        DebtBytes = tally.DebtBytes,
        EstimatedSeconds = double.IsFinite(tally.SecondsLeft) ? (ulong)Math.Ceiling(tally.SecondsLeft) : null,
        WriteAmplification = tally.NewBytes == 0 ? 1 : 1 + (tally.RelocatedBytes / (double)tally.NewBytes),
        RelocatedBytes = tally.RelocatedBytes,
        VictimsFreed = tally.VictimsFreed,
        Pressure = tally.IsFull ? "full" : tally.IsShort ? "compacting" : "none",
    };

    private static ulong Take(ref ulong left, ulong wanted)
    {
        var taken = Math.Min(left, wanted);
        left -= taken;
        return taken;
    }
}
