using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>What a commit holds.</summary>
public enum CommitContent : byte
{
    /// <summary>Entries and device records in the order in which they were sealed.</summary>
    New = 1,

    /// <summary>Copies of entries that were moved by compaction.</summary>
    Relocated = 2,

    /// <summary>Nothing: it only says, at rest, up to where the log is durable.</summary>
    Mark = 3,
}

/// <summary>Offsets of the fields that a commit's record and its trailer have in common.</summary>
public static class CommitFrameLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int Content = 6;
    public const int DeviceId = 8;
    public const int NextSegment = 28;
    public const int Use = 32;
    public const int Offset = 40;
    public const int Length = 44;
    public const int ItemsLength = 48;
    public const int ItemCount = 52;
    public const int TrailerLength = 56;
    public const int Durable = 64;
    public const int Sequence = 72;
    public const int Check = 80;

    /// <summary>Bytes of the common fields; the trailer's prefixes follow them.</summary>
    public const int Size = 88;

    /// <summary>Bytes of the record at a commit's start; what follows the fields is zeroes.</summary>
    public const int RecordBytes = 512;
}

/// <summary>
/// The frame of a commit, which is written twice: as the record at its start and as the head of the trailer at its
/// end, each with a check of its own, so that one bad spot can't hide where a commit ends.
/// </summary>
/// <param name="DeviceId">Whose it is: remnants of another device are not ours.</param>
/// <param name="Position">Its own place; a commit read anywhere else is a remnant or was misdirected.</param>
/// <param name="Content">What it holds.</param>
/// <param name="Length">Bytes in all: record, items, trailer, padding to the physical block.</param>
/// <param name="ItemsLength">Bytes of items, which begin right after the record.</param>
/// <param name="ItemCount">How many items.</param>
/// <param name="TrailerLength">Bytes of the trailer, which begins right after the items.</param>
/// <param name="Durable">Up to where the log was durable when this was written: what is bad below is rot, not a tear.</param>
/// <param name="Sequence">Counts commits from 1 over the device's life.</param>
/// <param name="NextSegment">The segment that will follow this one, or -1 while none is chosen.</param>
public readonly record struct CommitFrame(
    Id160 DeviceId,
    LogPosition Position,
    CommitContent Content,
    int Length,
    int ItemsLength,
    int ItemCount,
    int TrailerLength,
    LogPosition Durable,
    ulong Sequence,
    int NextSegment)
{
    private const byte CurrentVersion = 2;

    /// <summary>From so many bytes of items on a trailer has second copies of headers: so few in a segment are quickly read.</summary>
    public const int LongItems = 256 << 10;

    private static ReadOnlySpan<byte> RecordMagic => "CFSC"u8;

    private static ReadOnlySpan<byte> TrailerMagic => "CFST"u8;

    /// <summary>Where the commit ends.</summary>
    public LogPosition End => Position.Plus(Length);

    /// <summary>Where the trailer begins, in bytes from the commit's start.</summary>
    public int TrailerOffset => CommitFrameLayout.RecordBytes + ItemsLength;

    /// <summary>
    /// True for commits whose trailers repeat headers whole: those are the headers' second copies. Others repeat what names an
    /// entry and its extents, and the footer has the copies.
    /// </summary>
    public static bool RepeatsHeaders(CommitContent content, int itemsLength) =>
        content == CommitContent.Relocated || itemsLength >= LongItems;

    /// <summary>Writes the 512-byte record.</summary>
    public void WriteRecord(Span<byte> destination)
    {
        destination = destination[..CommitFrameLayout.RecordBytes];
        destination.Clear();
        RecordMagic.CopyTo(destination);
        WriteFields(destination);
        LayoutCheck.Seal(destination, CommitFrameLayout.Check);
    }

    /// <summary>
    /// Seals the head of a trailer; its prefixes, which prove themselves, are in place from
    /// <see cref="CommitFrameLayout.Size"/> on.
    /// </summary>
    public void SealTrailer(Span<byte> trailer)
    {
        TrailerMagic.CopyTo(trailer);
        WriteFields(trailer);
        LayoutCheck.Seal(trailer[..CommitFrameLayout.Size], CommitFrameLayout.Check);
    }

    /// <summary>Reads the record that should lie at <paramref name="position"/>.</summary>
    public static LayoutFault TryReadRecord(
        ReadOnlySpan<byte> source, Id160 device, LogPosition position, out CommitFrame frame)
    {
        frame = default;
        if (source.Length < CommitFrameLayout.RecordBytes)
        {
            return LayoutFault.Absent;
        }

        source = source[..CommitFrameLayout.RecordBytes];
        var fault = ReadFields(source, RecordMagic, device, out frame);
        if (fault == LayoutFault.None && frame.Position != position)
        {
            fault = LayoutFault.OtherPlace;
        }

        return fault;
    }

    /// <summary>
    /// Looks at a few fields of what may be the trailer at <paramref name="offset"/> in a segment. Where commits are searched
    /// for, every sector that a client wrote is looked at: none of them may make the reader hash megabytes.
    /// </summary>
    /// <param name="source">At least a sector.</param>
    /// <param name="device">The device's id.</param>
    /// <param name="use">The segment's use.</param>
    /// <param name="offset">Where the span begins, bytes from the segment's start.</param>
    public static bool MayBeTrailer(ReadOnlySpan<byte> source, Id160 device, ulong use, uint offset) =>
        source[..4].SequenceEqual(TrailerMagic)
        && BinaryPrimitives.ReadUInt64LittleEndian(source[CommitFrameLayout.Use..]) == use
        && BinaryPrimitives.ReadUInt32LittleEndian(source[CommitFrameLayout.Offset..])
            + (ulong)CommitFrameLayout.RecordBytes
            + BinaryPrimitives.ReadUInt32LittleEndian(source[CommitFrameLayout.ItemsLength..]) == offset
        && new Id160(source.Slice(CommitFrameLayout.DeviceId, Id160.Size)) == device;

    /// <summary>Reads a trailer; the span may be longer than it. The caller judges the position.</summary>
    public static LayoutFault TryReadTrailer(ReadOnlySpan<byte> source, Id160 device, out CommitFrame frame)
    {
        frame = default;
        if (source.Length < CommitFrameLayout.RecordBytes || !source[..4].SequenceEqual(TrailerMagic))
        {
            return LayoutFault.Absent;
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.TrailerLength..]);
        return length < CommitFrameLayout.RecordBytes || length > source.Length || length % 512 != 0
            ? LayoutFault.Damaged
            : ReadFields(source[..CommitFrameLayout.Size], TrailerMagic, device, out frame);
    }

    private static LayoutFault ReadFields(
        ReadOnlySpan<byte> source, ReadOnlySpan<byte> magic, Id160 device, out CommitFrame frame)
    {
        frame = default;
        if (!source[..4].SequenceEqual(magic))
        {
            return LayoutFault.Absent;
        }

        if (!LayoutCheck.Holds(source, CommitFrameLayout.Check))
        {
            return LayoutFault.Damaged;
        }

        if (source[CommitFrameLayout.MinReader] > CurrentVersion)
        {
            return LayoutFault.NewerVersion;
        }

        // Each by itself before they become one number: a large offset would count as a later use.
        var use = BinaryPrimitives.ReadUInt64LittleEndian(source[CommitFrameLayout.Use..]);
        var offset = BinaryPrimitives.ReadUInt32LittleEndian(source[CommitFrameLayout.Offset..]);
        if (use is 0 or >= LogPosition.MaxUse || offset >= DeviceGeometry.SegmentBytes)
        {
            return LayoutFault.Inconsistent;
        }

        frame = new CommitFrame(
            new Id160(source.Slice(CommitFrameLayout.DeviceId, Id160.Size)),
            new LogPosition(use, offset),
            (CommitContent)source[CommitFrameLayout.Content],
            BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.Length..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.ItemsLength..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.ItemCount..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.TrailerLength..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(source[CommitFrameLayout.Durable..])),
            BinaryPrimitives.ReadUInt64LittleEndian(source[CommitFrameLayout.Sequence..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[CommitFrameLayout.NextSegment..]));
        if (frame.DeviceId != device)
        {
            return LayoutFault.OtherDevice;
        }

        return frame.IsConsistent ? LayoutFault.None : LayoutFault.Inconsistent;
    }

    private bool IsConsistent =>
        Content is CommitContent.New or CommitContent.Relocated or CommitContent.Mark
        && ItemsLength >= 0 && ItemsLength % 512 == 0
        && ItemCount >= 0 && ItemCount <= ItemsLength / 512 && (ItemCount > 0) == (ItemsLength > 0)
        && TrailerLength >= 512 && TrailerLength % 512 == 0
        && (long)CommitFrameLayout.RecordBytes + ItemsLength + TrailerLength <= Length
        && Length % 512 == 0 && Durable <= Position
        && Position.Offset + (long)Length <= DeviceGeometry.SegmentBytes;

    private void WriteFields(Span<byte> destination)
    {
        destination[CommitFrameLayout.Version] = CurrentVersion;
        destination[CommitFrameLayout.MinReader] = CurrentVersion;
        destination[CommitFrameLayout.Content] = (byte)Content;
        destination[CommitFrameLayout.Content + 1] = 0;
        DeviceId.WriteTo(destination[CommitFrameLayout.DeviceId..]);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CommitFrameLayout.NextSegment..], NextSegment);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CommitFrameLayout.Use..], Position.Use);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[CommitFrameLayout.Offset..], Position.Offset);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CommitFrameLayout.Length..], Length);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CommitFrameLayout.ItemsLength..], ItemsLength);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CommitFrameLayout.ItemCount..], ItemCount);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CommitFrameLayout.TrailerLength..], TrailerLength);
        destination.Slice(CommitFrameLayout.TrailerLength + 4, 4).Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CommitFrameLayout.Durable..], Durable.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CommitFrameLayout.Sequence..], Sequence);
    }
}
