using System.Buffers;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>How reading something from the log ended.</summary>
public enum LogRead
{
    Ok,

    /// <summary>The segment was reclaimed meanwhile: look the place up again.</summary>
    Reclaimed,

    /// <summary>The bytes are not what they should be, or the device could not read them.</summary>
    Damaged,

    /// <summary>The page was dropped by compaction: it is nowhere on this device.</summary>
    Dropped,
}

/// <summary>
/// Reads the log: from the write buffer what the device has not taken yet, from the device the rest. Nothing that it gives
/// out is unchecked: headers by their check, pages by their XXH64. A header that is damaged is had from the segment's
/// second copies. Any thread.
/// </summary>
public sealed class LogReader(
    IBlockDevice device, SegmentTable segments, LogWriter writer, Func<WriteBuffer> buffer, Id160 deviceId)
{
    private long _headersFromCopy;

    /// <summary>How often a header had to be had from its second copy.</summary>
    public long HeadersFromCopy => Volatile.Read(ref _headersFromCopy);

    /// <summary>Reads raw bytes within one segment, wherever they are now.</summary>
    public async ValueTask<LogRead> ReadRawAsync(LogPosition position, Memory<byte> destination)
    {
        if (buffer().TryRead(position, destination.Span))
        {
            return LogRead.Ok;
        }

        if (!segments.TryLocate(position, out var offset))
        {
            return LogRead.Reclaimed;
        }

        try
        {
            await device.ReadAsync(offset, destination);
        }
        catch (DeviceException)
        {
            return LogRead.Damaged;
        }

        return segments.TryLocate(position, out var after) && after == offset ? LogRead.Ok : LogRead.Reclaimed;
    }

    /// <summary>
    /// Reads the header of the entry that an index means into <paramref name="header"/> (64 KiB are always enough): its
    /// check must hold, and disk and LSN be those. Gives its length.
    /// </summary>
    public async ValueTask<(LogRead Status, int Length)> ReadHeaderAsync(
        LogPosition position, Id160 disk, ulong lsn, Memory<byte> header)
    {
        var first = Math.Min(EntryLayout.SectorSize, header.Length);
        var status = await ReadRawAsync(position, header[..first]);
        if (status == LogRead.Ok && EntryHeaderCodec.TryReadLengths(header.Span[..16], out var length, out _, out _))
        {
            status = length > first ? await ReadRawAsync(position.Plus(first), header[first..length]) : status;
            if (status == LogRead.Ok && IsEntry(header.Span[..length], disk, lsn))
            {
                return (LogRead.Ok, length);
            }
        }

        return status == LogRead.Reclaimed
            ? (status, 0)
            : await ReadHeaderCopyAsync(position, disk, lsn, header);
    }

    /// <summary>Loads the headers of a sealed segment from its footer; null when that can't be.</summary>
    public async ValueTask<SegmentCatalog?> LoadCatalogAsync(ulong use)
    {
        var record = ArrayPool<byte>.Shared.Rent(SegmentFooterLayout.Size);
        try
        {
            var memory = record.AsMemory(0, SegmentFooterLayout.Size);
            var status = await ReadRawAsync(new LogPosition(use, SegmentFooter.RecordOffset), memory);
            if (status != LogRead.Ok
                || SegmentFooter.TryRead(memory.Span, deviceId, out var footer) != LayoutFault.None || footer.Use != use)
            {
                return null;
            }

            return await new CatalogLoader(
                footer, async (place, bytes) => await ReadRawAsync(new LogPosition(use, place), bytes) == LogRead.Ok).LoadAsync();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(record);
        }
    }

    private async ValueTask<(LogRead Status, int Length)> ReadHeaderCopyAsync(
        LogPosition position, Id160 disk, ulong lsn, Memory<byte> header)
    {
        lock (writer.Gate)
        {
            if (writer.OpenCatalog(position.Use) is { } open)
            {
                return CopyFrom(open, position, disk, lsn, header.Span);
            }
        }

        return await LoadCatalogAsync(position.Use) is { } catalog
            ? CopyFrom(catalog, position, disk, lsn, header.Span)
            : (LogRead.Damaged, 0);
    }

    private (LogRead Status, int Length) CopyFrom(
        SegmentCatalog catalog, LogPosition position, Id160 disk, ulong lsn, Span<byte> header)
    {
        var index = catalog.IndexOf(position.Offset);
        if (index < 0 || !IsEntry(catalog.Copy(index), disk, lsn))
        {
            return (LogRead.Damaged, 0);
        }

        Interlocked.Increment(ref _headersFromCopy);
        catalog.Copy(index).CopyTo(header);
        return (LogRead.Ok, catalog.Copy(index).Length);
    }

    private static bool IsEntry(ReadOnlySpan<byte> header, Id160 disk, ulong lsn) =>
        EntryAddress.Matches(header, disk, lsn) && LogItem.Proves(header);
}
