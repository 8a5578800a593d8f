namespace CloudFs.Core.Primitives;

/// <summary>
/// A place in the log: the use of a segment and the offset within it. A use is a number that is given once, when a
/// segment is taken, and never again; so positions only grow, one that was reclaimed is never mistaken for its
/// successor, and comparing two of them compares ages. <c>default</c> is "none".
/// </summary>
public readonly record struct LogPosition(ulong Value) : IComparable<LogPosition>
{
    /// <summary>Bits of the offset; 2^24 is the size of a segment.</summary>
    public const int OffsetBits = 24;

    /// <summary>Uses end below this: at a thousand segments a second, in 34 years.</summary>
    public const ulong MaxUse = (1UL << (64 - OffsetBits)) - 1;

    /// <summary>Uses from here on are of segments that compaction filled; those below are the log's.</summary>
    public const ulong FirstRelocationUse = 1UL << 39;

    /// <summary>A position from its parts.</summary>
    /// <param name="use">From 1; below 2^40.</param>
    /// <param name="offset">Bytes into the segment. A whole segment's length is allowed: it is the next use's start.</param>
    public LogPosition(ulong use, uint offset)
        : this((use << OffsetBits) + offset)
    {
    }

    /// <summary>No position.</summary>
    public static LogPosition None => default;

    /// <summary>The segment use, from 1.</summary>
    public ulong Use => Value >> OffsetBits;

    /// <summary>Bytes into the segment.</summary>
    public uint Offset => (uint)(Value & ((1u << OffsetBits) - 1));

    public bool IsNone => Value == 0;

    /// <summary>True for the use of a segment that holds copies, and is no part of the log's order.</summary>
    public static bool IsRelocation(ulong use) => use >= FirstRelocationUse;

    /// <summary>The position this many bytes further on.</summary>
    public LogPosition Plus(long bytes) => new(Value + (ulong)bytes);

    public int CompareTo(LogPosition other) => Value.CompareTo(other.Value);

    public static bool operator <(LogPosition left, LogPosition right) => left.Value < right.Value;

    public static bool operator <=(LogPosition left, LogPosition right) => left.Value <= right.Value;

    public static bool operator >(LogPosition left, LogPosition right) => left.Value > right.Value;

    public static bool operator >=(LogPosition left, LogPosition right) => left.Value >= right.Value;

    public override string ToString() => string.Create(
        System.Globalization.CultureInfo.InvariantCulture, $"use {Use} offset {Offset}");
}
