using CloudFs.Core.Primitives;

namespace CloudFs.Core.Scrub;

/// <summary>What a finding costs.</summary>
public enum ScrubVerdict
{
    /// <summary>Some disk's present contents: it answers EIO until it is overwritten or trimmed.</summary>
    Lost,

    /// <summary>It can't be told whether something that is needed was there.</summary>
    Unknown,

    /// <summary>Another copy serves in its place; the damaged one stays as it is.</summary>
    Readable,

    /// <summary>No present contents: only the history can't be proved at this place.</summary>
    History,

    /// <summary>It was written again from a copy that proves itself.</summary>
    Healed,
}

/// <summary>A range of a disk, in bytes.</summary>
public readonly record struct ScrubRange(ulong Offset, ulong Length);

/// <summary>Something that is not as it was written.</summary>
/// <param name="Verdict">What it costs.</param>
/// <param name="Place">Where: "label", "checkpoint", "index", "segment 3 (use 7)".</param>
/// <param name="Message">One line: what was found, and what was done.</param>
/// <param name="Disk">The disk, where it is known; else null.</param>
/// <param name="Lsn">The entry's LSN, where it is known; else 0.</param>
/// <param name="Ranges">The bytes of that disk which the entry had written there.</param>
public sealed record ScrubFinding(
    ScrubVerdict Verdict, string Place, string Message, Id160? Disk, ulong Lsn, IReadOnlyList<ScrubRange> Ranges);

/// <summary>How scrubbing stands. While a pass runs, findings and bytes are its own; else those of the last.</summary>
public sealed record ScrubStatus
{
    /// <summary>True from the moment in which a pass was asked for until it has ended.</summary>
    public required bool Running { get; init; }

    /// <summary>Passes begun since the device was opened: tells one from the next.</summary>
    public required ulong Pass { get; init; }

    /// <summary>When the pass began, microseconds since 1970; 0 for never.</summary>
    public required ulong StartedMicros { get; init; }

    /// <summary>Bytes to go through, and gone through. What needs no reading counts as done.</summary>
    public required ulong BytesTotal { get; init; }

    public required ulong BytesDone { get; init; }

    /// <summary>Bytes a second at most; 0 while scrubbing is off.</summary>
    public required ulong Rate { get; init; }

    /// <summary>Time from the beginning of one pass to the next; zero: only when asked.</summary>
    public required TimeSpan Interval { get; init; }

    /// <summary>How many findings; the list holds the first thousand.</summary>
    public required ulong FindingCount { get; init; }

    public required IReadOnlyList<ScrubFinding> Findings { get; init; }

    /// <summary>When the last pass that reached its end did so, microseconds since 1970; 0 for none since the device was opened.</summary>
    public required ulong LastCompletedMicros { get; init; }

    /// <summary>How many findings that one had.</summary>
    public required ulong LastFindings { get; init; }

    /// <summary>Bytes read by all passes since the device was opened.</summary>
    public required ulong BytesReadInAll { get; init; }
}
