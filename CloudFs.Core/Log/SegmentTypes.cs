using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>What a segment of the device is used for.</summary>
public enum SegmentState : byte
{
    /// <summary>Holds nothing that is needed.</summary>
    Free = 0,

    /// <summary>Holds entries, and may still take more.</summary>
    Open = 1,

    /// <summary>Holds entries and a footer.</summary>
    Sealed = 2,

    /// <summary>Holds pages of a checkpoint.</summary>
    Checkpoint = 3,

    /// <summary>Holds pages of the index.</summary>
    Index = 4,

    /// <summary>A write to it failed, and nothing in it is needed: never used again.</summary>
    Bad = 5,
}

/// <summary>A segment in use, as checkpoints keep it.</summary>
/// <param name="Segment">Which one.</param>
/// <param name="State">Open, sealed, index or bad; those of checkpoints are known by their roots.</param>
/// <param name="Use">The use of the log; 0 for those that hold no entries.</param>
/// <param name="References">Extents of the disks' trees that point into it.</param>
/// <param name="LiveSectors">Sectors of data that those extents map.</param>
/// <param name="Pins">Entries in it that stay for ever: views and attributes.</param>
/// <param name="SealedAt">The log's use when it was sealed: what ages are measured with.</param>
/// <param name="SealedMicros">When it was sealed, microseconds since 1970; 0 where that is not known.</param>
/// <param name="Headers">What its headers take, once it is sealed.</param>
public readonly record struct SegmentUse(
    int Segment, SegmentState State, ulong Use, int References, int LiveSectors, int Pins, ulong SealedAt, ulong SealedMicros,
    HeaderTally Headers);

/// <summary>A segment as the table knows it.</summary>
internal struct HeldSegment
{
    public SegmentState State;
    public bool IsBacked;
    public bool IsCondemned;
    public int FreedAt;
    public ulong Use;
    public int TreeReferences;
    public int TreeSectors;
    public int MemoryReferences;
    public int MemorySectors;
    public int Pins;
    public ulong SealedAt;
    public ulong SealedMicros;
    public HeaderTally Headers;

    /// <summary>True when nothing refers to it, and nothing in it stays.</summary>
    public readonly bool IsDead => State == SegmentState.Sealed && TreeReferences == 0 && MemoryReferences == 0 && Pins == 0;

    /// <summary>Counts a segment with entries.</summary>
    public readonly SegmentTally AddTo(in SegmentTally tally)
    {
        long sectors = TreeSectors + MemorySectors;
        var references = TreeReferences + MemoryReferences + Pins;
        var isHistory = !LogPosition.IsRelocation(Use);
        return tally with
        {
            Log = tally.Log + 1,
            Dead = tally.Dead + (IsDead ? 1 : 0),
            LiveSectors = tally.LiveSectors + sectors,
            References = tally.References + references,
            HeaderBytes = tally.HeaderBytes + Headers.BytesLeft(references),
            HistorySectors = tally.HistorySectors + (isHistory ? sectors : 0),
            HistoryEntries = tally.HistoryEntries + (isHistory ? Headers.EntriesLeft(references) : 0),
        };
    }
}

/// <summary>How the device's segments are used, in segments, and what is live in those of the log.</summary>
/// <param name="Segments">On the device.</param>
/// <param name="Free">Free, and the file system below is not known to be out of room for them.</param>
/// <param name="Log">With entries: open or sealed.</param>
/// <param name="Dead">Of those, sealed ones that nothing refers to.</param>
/// <param name="Index">With index pages.</param>
/// <param name="Checkpoint">With checkpoint pages.</param>
/// <param name="Bad">Never used again.</param>
/// <param name="LiveSectors">Sectors of live data.</param>
/// <param name="References">Mapped extents and entries that stay.</param>
/// <param name="HeaderBytes">What the headers of what is live take, with their copies.</param>
/// <param name="HistorySectors">Of the live sectors, those in segments of the log proper: what histories count too.</param>
/// <param name="HistoryEntries">Entries with live data in segments of the log proper.</param>
public readonly record struct SegmentTally(
    int Segments, int Free, int Log, int Dead, int Index, int Checkpoint, int Bad, long LiveSectors, long References,
    long HeaderBytes, long HistorySectors, long HistoryEntries);

/// <summary>Whether an append can go on.</summary>
public enum AppendRoom
{
    /// <summary>There is room.</summary>
    Ok,

    /// <summary>Not yet: wait until the log says that room has changed, and try again.</summary>
    Wait,

    /// <summary>The device is full for this kind of append.</summary>
    NoSpace,

    /// <summary>The log takes nothing more: poisoned or closed.</summary>
    Failed,
}
