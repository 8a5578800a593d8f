using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>Offsets of the footer record's fields; it is the last 512 bytes of a sealed segment.</summary>
public static class SegmentFooterLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int DeviceId = 8;
    public const int NextSegment = 28;
    public const int Use = 32;
    public const int CommitsEnd = 40;
    public const int CopiesStart = 44;
    public const int CopiesLength = 48;
    public const int CopyCount = 52;
    public const int LastSequence = 56;
    public const int PlacesCheck = 64;
    public const int Check = 504;
    public const int Size = 512;
}

/// <summary>
/// The end of a sealed segment: second copies of the headers (and device records) in it, without the zeroes that pad them, then
/// for each header its place and the place of its copy (a u32 each, bytes from the segment's start), then this record in the
/// segment's last 512 bytes. A copy proves itself by the header's own check, the places by one in the record.
/// </summary>
/// <param name="DeviceId">Whose it is.</param>
/// <param name="Use">The segment's use; its place is the end of that segment.</param>
/// <param name="CommitsEnd">Where the commits end, bytes from the segment's start.</param>
/// <param name="CopiesStart">Where the copies begin.</param>
/// <param name="CopiesLength">Bytes of the copies.</param>
/// <param name="CopyCount">How many places: one for each header in the segment.</param>
/// <param name="NextSegment">The segment with the next use, chosen before this one was sealed; -1 for none yet.</param>
/// <param name="LastSequence">The sequence of the last commit.</param>
/// <param name="PlacesCheck">XXH64 of the places.</param>
/// <param name="IsFirstVersion">
/// True for a footer of version 1: its copies are whole headers, one behind the other, and a place is that of the original and
/// the copy's length.
/// </param>
public readonly record struct SegmentFooter(
    Id160 DeviceId,
    ulong Use,
    int CommitsEnd,
    int CopiesStart,
    int CopiesLength,
    int CopyCount,
    int NextSegment,
    ulong LastSequence,
    ulong PlacesCheck,
    bool IsFirstVersion = false)
{
    private const byte FirstVersion = 1;
    private const byte CurrentVersion = 2;

    /// <summary>Bytes for each copy in the table of places.</summary>
    public const int PlaceBytes = 8;

    private static ReadOnlySpan<byte> MagicBytes => "CFSF"u8;

    /// <summary>Where the places begin, bytes from the segment's start.</summary>
    public int PlacesStart => CopiesStart + CopiesLength;

    /// <summary>Where the record lies in its segment.</summary>
    public const int RecordOffset = DeviceGeometry.SegmentBytes - SegmentFooterLayout.Size;

    /// <summary>Bytes that a footer takes, from its first copy to the segment's end, in whole physical blocks.</summary>
    public static int BytesNeeded(long copiesLength, int copyCount, int physicalBlock) => DeviceGeometry.AlignUp(
        checked((int)(copiesLength + ((long)PlaceBytes * copyCount) + SegmentFooterLayout.Size)), physicalBlock);

    /// <summary>Writes the 512-byte record.</summary>
    public void Write(Span<byte> destination)
    {
        destination = destination[..SegmentFooterLayout.Size];
        destination.Clear();
        MagicBytes.CopyTo(destination);
        destination[SegmentFooterLayout.Version] = CurrentVersion;
        destination[SegmentFooterLayout.MinReader] = CurrentVersion;
        DeviceId.WriteTo(destination[SegmentFooterLayout.DeviceId..]);
        BinaryPrimitives.WriteInt32LittleEndian(destination[SegmentFooterLayout.NextSegment..], NextSegment);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[SegmentFooterLayout.Use..], Use);
        BinaryPrimitives.WriteInt32LittleEndian(destination[SegmentFooterLayout.CommitsEnd..], CommitsEnd);
        BinaryPrimitives.WriteInt32LittleEndian(destination[SegmentFooterLayout.CopiesStart..], CopiesStart);
        BinaryPrimitives.WriteInt32LittleEndian(destination[SegmentFooterLayout.CopiesLength..], CopiesLength);
        BinaryPrimitives.WriteInt32LittleEndian(destination[SegmentFooterLayout.CopyCount..], CopyCount);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[SegmentFooterLayout.LastSequence..], LastSequence);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[SegmentFooterLayout.PlacesCheck..], PlacesCheck);
        LayoutCheck.Seal(destination, SegmentFooterLayout.Check);
    }

    /// <summary>Reads the record of a segment; never throws. The caller judges the use.</summary>
    public static LayoutFault TryRead(ReadOnlySpan<byte> source, Id160 device, out SegmentFooter footer)
    {
        footer = default;
        if (source.Length < SegmentFooterLayout.Size)
        {
            return LayoutFault.Absent;
        }

        source = source[..SegmentFooterLayout.Size];
        if (!source[..4].SequenceEqual(MagicBytes))
        {
            return LayoutFault.Absent;
        }

        if (!LayoutCheck.Holds(source, SegmentFooterLayout.Check))
        {
            return LayoutFault.Damaged;
        }

        if (source[SegmentFooterLayout.MinReader] > CurrentVersion)
        {
            return LayoutFault.NewerVersion;
        }

        footer = new SegmentFooter(
            new Id160(source.Slice(SegmentFooterLayout.DeviceId, Id160.Size)),
            BinaryPrimitives.ReadUInt64LittleEndian(source[SegmentFooterLayout.Use..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[SegmentFooterLayout.CommitsEnd..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[SegmentFooterLayout.CopiesStart..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[SegmentFooterLayout.CopiesLength..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[SegmentFooterLayout.CopyCount..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[SegmentFooterLayout.NextSegment..]),
            BinaryPrimitives.ReadUInt64LittleEndian(source[SegmentFooterLayout.LastSequence..]),
            BinaryPrimitives.ReadUInt64LittleEndian(source[SegmentFooterLayout.PlacesCheck..]),
            source[SegmentFooterLayout.Version] == FirstVersion);
        if (footer.DeviceId != device)
        {
            return LayoutFault.OtherDevice;
        }

        return footer.IsConsistent ? LayoutFault.None : LayoutFault.Inconsistent;
    }

    /// <summary>
    /// True when a record that does not prove itself can only be what is left of this use's: of magic, use, and where and what the
    /// last commit was, three are right.
    /// </summary>
    /// <param name="source">512 bytes.</param>
    /// <param name="use">The segment's use.</param>
    /// <param name="end">Where the last commit ends that was found.</param>
    /// <param name="sequence">Its sequence.</param>
    public static bool IsTraceOf(ReadOnlySpan<byte> source, ulong use, LogPosition end, ulong sequence)
    {
        var names = (source[..4].SequenceEqual(MagicBytes) ? 1 : 0)
            + (BinaryPrimitives.ReadUInt64LittleEndian(source[SegmentFooterLayout.Use..]) == use ? 1 : 0)
            + (BinaryPrimitives.ReadUInt32LittleEndian(source[SegmentFooterLayout.CommitsEnd..]) == end.Offset ? 1 : 0)
            + (BinaryPrimitives.ReadUInt64LittleEndian(source[SegmentFooterLayout.LastSequence..]) == sequence ? 1 : 0);
        return names >= 3;
    }

    /// <summary>True when these bytes (8 × <see cref="CopyCount"/>) are the places that the record speaks of.</summary>
    public bool ProvesPlaces(ReadOnlySpan<byte> places) =>
        places.Length == CopyCount * PlaceBytes && XXH64.DigestOf(places) == PlacesCheck;

    private bool IsConsistent =>
        Use is > 0 and < LogPosition.MaxUse
        && CommitsEnd >= 0 && CommitsEnd % 512 == 0 && CopiesStart >= CommitsEnd && CopiesLength >= 0 && CopyCount >= 0
        && CopiesStart + (long)CopiesLength + ((long)PlaceBytes * CopyCount) <= RecordOffset;
}
