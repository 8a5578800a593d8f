using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>Told when a disk's entries have become durable, in LSN order, before any flush that waited for them ends.</summary>
public interface IDurableSink
{
    /// <summary>The entry with this LSN and id, and all before it, are durable.</summary>
    void OnDurable(ulong lsn, Id160 id);
}

/// <summary>What an append takes in the log beside its own bytes.</summary>
/// <param name="Bytes">Bytes of the items.</param>
/// <param name="TrailerBytes">Bytes that the trailer of a short commit repeats of them.</param>
/// <param name="CopyBytes">Bytes of second copies of their headers.</param>
/// <param name="Items">How many.</param>
public readonly record struct AppendSize(int Bytes, int TrailerBytes, int CopyBytes, int Items)
{
    /// <summary>Bytes before each prefix in a trailer: the item's place in the commit, the prefix's length, a check of all three.</summary>
    public const int PrefixHeaderBytes = 16;

    /// <summary>The size of one entry, by its counts; <paramref name="bodyLength"/> is of the pages that are there.</summary>
    public static AppendSize OfEntry(int extents, int pages, int bodyLength) => new(
        EntryLayout.HeaderLength(extents, pages) + bodyLength,
        PrefixHeaderBytes + EntryLayout.UnpaddedLength(extents, 0),
        EntryLayout.UnpaddedLength(extents, pages),
        1);

    /// <summary>The size of one device record.</summary>
    public static AppendSize OfRecord => new(
        DeviceRecordLayout.Size, PrefixHeaderBytes + DeviceRecordLayout.Size, DeviceRecordLayout.Size, 1);

    /// <summary>Bytes that the trailer repeats of it where it has the second copies of headers.</summary>
    public int TrailerCopyBytes => (PrefixHeaderBytes * Items) + CopyBytes;

    public static AppendSize operator +(AppendSize left, AppendSize right) => new(
        left.Bytes + right.Bytes,
        left.TrailerBytes + right.TrailerBytes,
        left.CopyBytes + right.CopyBytes,
        left.Items + right.Items);
}

/// <summary>Where recovery found the log's end, and what it knows of the open segment.</summary>
/// <param name="Segment">The open segment, or -1 when the log ends with a sealed one (or is empty).</param>
/// <param name="Position">Where the next commit goes; with no open segment, the start of the next use.</param>
/// <param name="Catalog">The open segment's headers so far; null when there is none.</param>
/// <param name="NextSequence">The sequence of the next commit.</param>
/// <param name="NextSegment">The segment that the log's end names as its successor; -1 for none.</param>
public sealed record LogEnd(
    int Segment, LogPosition Position, SegmentCatalog? Catalog, ulong NextSequence, int NextSegment)
{
    /// <summary>The end of a log in which nothing was ever written.</summary>
    public static LogEnd Empty => new(-1, new LogPosition(1, 0), null, 1, -1);
}

/// <summary>What the log has taken and the device has not yet.</summary>
/// <param name="Commits">Closed commits, the one that is being written among them.</param>
/// <param name="Bytes">Bytes in the log's buffer, those of the open commit too.</param>
public readonly record struct LogDepth(int Commits, long Bytes);
