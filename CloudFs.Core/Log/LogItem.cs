using System.Buffers.Binary;
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

    /// <summary>True when a header or record, exactly, proves itself by its check.</summary>
    public static bool Proves(ReadOnlySpan<byte> header) =>
        TryMeasure(header, out var length, out _) && length == header.Length
        && (DeviceRecord.IsAt(header)
            ? DeviceRecord.TryRead(header, out _) == LayoutFault.None
            : EntryHeaderCodec.ComputeCheck(header)
                == BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.CheckOffset..]));

    /// <summary>Bytes of an item that a commit's trailer repeats: what names the entry and its extents, without its pages.</summary>
    public static int PrefixLength(ReadOnlySpan<byte> header) => DeviceRecord.IsAt(header)
        ? DeviceRecordLayout.Size
        : EntryLayout.FixedSize + (EntryHeaderCodec.ReadCounts(header).Extents * EntryLayout.ExtentSize);
}
