using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>What part of a segment a fault is in, which decides what it costs.</summary>
public enum SegmentFaultKind
{
    /// <summary>The device answers an error. What that cost is told by itself.</summary>
    Unreadable,

    /// <summary>The footer, its table, or copies in it: nothing is lost while the originals are whole.</summary>
    Footer,

    /// <summary>A header and its second copy both prove themselves, and are not the same.</summary>
    Difference,

    /// <summary>The record or trailer of a commit. What it frames is judged by itself.</summary>
    Frame,

    /// <summary>Bytes that can't be read as commits, and nothing else tells what they were.</summary>
    Hole,

    /// <summary>Such bytes, of which the footer tells what they were: each entry in them is judged by itself.</summary>
    KnownHole,

    /// <summary>A header or device record that can be had again from a second copy.</summary>
    Header,

    /// <summary>An entry of which no header is left, or whose header is no valid one.</summary>
    Entry,

    /// <summary>A page of an entry.</summary>
    Page,
}

/// <summary>Something that is wrong in a segment.</summary>
/// <param name="Kind">In what.</param>
/// <param name="Message">One line with its place.</param>
/// <param name="Position">The entry's or commit's place in the log; the segment's start where no other is known.</param>
/// <param name="Disk">The disk, where it is known; else zeroes.</param>
/// <param name="Lsn">The entry's LSN, where it is known; else 0.</param>
/// <param name="Extents">The sectors of that disk which can't be had by it.</param>
public sealed record SegmentFault(
    SegmentFaultKind Kind, string Message, LogPosition Position, Id160 Disk, ulong Lsn, IReadOnlyList<ExtentRecord> Extents);

/// <summary>Told what verifying a segment finds.</summary>
public interface ISegmentFindings
{
    /// <summary>Something is wrong.</summary>
    void Fault(SegmentFault fault);

    /// <summary>An entry whose header is valid, once its pages were checked. The bytes are the verifier's: they don't stay.</summary>
    /// <param name="header">The header, in place or by its second copy.</param>
    /// <param name="fields">What was read from it.</param>
    /// <param name="body">The body.</param>
    /// <param name="place">Where it lies on the device, in bytes.</param>
    /// <param name="pagesHold">True when every page is what the header says.</param>
    void Entry(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ulong place, bool pagesHold);
}
