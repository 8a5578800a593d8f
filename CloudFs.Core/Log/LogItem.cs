using CloudFs.Core.Format;
using CloudFs.Core.Layout;

namespace CloudFs.Core.Log;

/// <summary>The two things that a commit holds, entries and device records, told apart by their magic.</summary>
public static class LogItem
{
    /// <summary>Enough bytes of an item to measure it.</summary>
    public const int MeasureBytes = 16;

    /// <summary>The lengths of the item that begins here: its header (or whole record), and all of it. False for neither.</summary>
    public static bool TryMeasure(ReadOnlySpan<byte> start, out int headerLength, out int totalLength)
    {
        totalLength = 0;
        headerLength = 0;
        if (start.Length < MeasureBytes)
        {
            return false;
        }

        if (DeviceRecord.IsAt(start))
        {
            headerLength = totalLength = DeviceRecordLayout.Size;
            return true;
        }

        if (!EntryHeaderCodec.TryReadLengths(start[..MeasureBytes], out headerLength, out var body, out _))
        {
            return false;
        }

        totalLength = headerLength + body;
        return true;
    }

    /// <summary>
    /// True when a header or record, exactly, proves itself by its check, and its counts and lengths fit each other: so what
    /// they lead to lies within it.
    /// </summary>
    public static bool Proves(ReadOnlySpan<byte> header) =>
        TryMeasure(header, out var length, out _) && length == header.Length
        && (DeviceRecord.IsAt(header)
            ? DeviceRecord.TryRead(header, out _) == LayoutFault.None
            : EntryHeaderCodec.CheckStructure(header) == FormatError.None);

    /// <summary>
    /// True when this can be the prefix of an entry, with or without its page records, or is a device record: its counts and
    /// lengths fit each other, and its extents lie on a disk. A prefix has no check of its own; that of its trailer was computed over it.
    /// </summary>
    public static bool IsSoundPrefix(ReadOnlySpan<byte> prefix)
    {
        if (!TryMeasure(prefix, out var headerLength, out _))
        {
            return false;
        }

        if (DeviceRecord.IsAt(prefix))
        {
            return prefix.Length == DeviceRecordLayout.Size;
        }

        if (prefix.Length < EntryLayout.FixedSize
            || (prefix.Length != PrefixLength(prefix) && prefix.Length != CopyLength(prefix)))
        {
            return false;
        }

        var fields = EntryHeaderCodec.ReadFields(prefix, default);
        var pages = fields.HasJsonBody ? PageCutter.Count(0, (uint)(fields.BodyLength / EntryLayout.SectorSize)) : 0;
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(prefix, i);
            if (extent.Sectors == 0 || extent.Lba > EntryLayout.MaxSector - extent.Sectors
                || extent.Pages > fields.PageCount - pages)
            {
                return false;
            }

            pages += extent.Pages;
        }

        return pages == fields.PageCount && fields.HasJsonBody == (fields.ExtentCount == 0)
            && headerLength == EntryLayout.HeaderLength(fields.ExtentCount, fields.PageCount);
    }

    /// <summary>
    /// Bytes of a header that are not its padding: a second copy needs no more, since zeroes behind it make the header again.
    /// </summary>
    public static int CopyLength(ReadOnlySpan<byte> header)
    {
        if (DeviceRecord.IsAt(header))
        {
            return DeviceRecordLayout.Size;
        }

        var (extents, pages) = EntryHeaderCodec.ReadCounts(header);
        return EntryLayout.UnpaddedLength(extents, pages);
    }

    /// <summary>
    /// The lengths of the second copy that begins here, and of the header that it stands for. False where there can be none:
    /// the copy then is damaged, or goes beyond <paramref name="start"/>. It is the header's check that proves a copy.
    /// </summary>
    public static bool TryMeasureCopy(ReadOnlySpan<byte> start, out int copyLength, out int headerLength)
    {
        copyLength = 0;
        if (!TryMeasure(start, out headerLength, out _) || start.Length < EntryLayout.FixedSize)
        {
            return false;
        }

        copyLength = CopyLength(start);
        return copyLength <= headerLength && copyLength <= start.Length;
    }

    /// <summary>
    /// Bytes of an item that the trailer of a commit of new entries repeats: what names the entry and its extents, without its pages.
    /// </summary>
    public static int PrefixLength(ReadOnlySpan<byte> header) => DeviceRecord.IsAt(header)
        ? DeviceRecordLayout.Size
        : EntryLayout.FixedSize + (EntryHeaderCodec.ReadCounts(header).Extents * EntryLayout.ExtentSize);
}
