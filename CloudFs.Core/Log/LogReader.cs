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

/// <summary>Bytes of the log that are wanted soon, within one segment.</summary>
public readonly record struct LogRange(LogPosition Start, int Length);

/// <summary>How reading an entry's beginning ended.</summary>
/// <param name="Status">Ok, or why there is no header.</param>
/// <param name="HeaderLength">Bytes of the header, which is proved.</param>
/// <param name="Length">Bytes that were read with it, the header's among them: what is behind it is not proved.</param>
public readonly record struct EntryStart(LogRead Status, int HeaderLength, int Length);

/// <summary>
/// Reads the log: from the write buffer what the device has not taken yet, from the device the rest. Nothing that it gives
/// out is unchecked: headers by their check, pages by their XXH64. A header that is damaged is had from the segment's
/// second copies. Any thread.
/// </summary>
public sealed class LogReader(
    IBlockDevice device, SegmentTable segments, LogWriter writer, Func<WriteBuffer> buffer, Id160 deviceId)
{
    /// <summary>Ranges this near each other are fetched as one: what lies between costs less than another read of the device.</summary>
    private const int NearBytes = 8 << 10;

    private long _headersFromCopy;

    /// <summary>How often a header had to be had from its second copy.</summary>
    public long HeadersFromCopy => Volatile.Read(ref _headersFromCopy);

    /// <summary>Reads raw bytes within one segment, wherever they are now.</summary>
    public async ValueTask<LogRead> ReadRawAsync(LogPosition position, Memory<byte> destination)
    {
        return buffer().TryRead(position, destination.Span) ? LogRead.Ok : await ReadDeviceAsync(position, destination);
    }

    /// <summary>
    /// Says that these ranges are about to be read, so that the device fetches them beside each other. Puts them in order.
    /// </summary>
    public void Prefetch(Span<LogRange> ranges)
    {
        ranges.Sort(static (one, other) => one.Start.CompareTo(other.Start));
        for (var i = 0; i < ranges.Length;)
        {
            var start = ranges[i].Start;
            var end = start.Plus(ranges[i].Length);
            for (i++; i < ranges.Length && ranges[i].Start.Use == start.Use && ranges[i].Start <= end.Plus(NearBytes); i++)
            {
                var other = ranges[i].Start.Plus(ranges[i].Length);
                end = other > end ? other : end;
            }

            if (!buffer().Holds(start) && segments.TryLocate(start, out var offset))
            {
                var length = Math.Min((long)(end.Value - start.Value), DeviceGeometry.SegmentBytes - start.Offset);
                device.Prefetch(offset, (int)length);
            }
        }
    }

    /// <summary>
    /// Reads an entry's beginning, <paramref name="guess"/> bytes at first: its header, which is proved to be the one that the
    /// index means, and what came with it.
    /// </summary>
    public async ValueTask<EntryStart> ReadStartAsync(LogPosition position, Id160 disk, ulong lsn, Memory<byte> into, int guess)
    {
        var (status, had) = await ReadSomeAsync(position, into[..guess]);
        if (status == LogRead.Damaged && guess > EntryLayout.SectorSize)
        {
            // What can't be read may lie behind the header.
            (status, had) = await ReadSomeAsync(position, into[..EntryLayout.SectorSize]);
        }

        if (status == LogRead.Ok && EntryHeaderCodec.TryReadLengths(into.Span[..16], out var length, out _, out _))
        {
            if (length > had)
            {
                status = await ReadRawAsync(position.Plus(had), into[had..length]);
                had = length;
            }

            if (status == LogRead.Ok && IsEntry(into.Span[..length], disk, lsn))
            {
                return new EntryStart(LogRead.Ok, length, had);
            }
        }

        if (status == LogRead.Reclaimed)
        {
            return new EntryStart(status, 0, 0);
        }

        (status, length) = await ReadHeaderCopyAsync(position, disk, lsn, into);
        return new EntryStart(status, length, length);
    }

    /// <summary>Reads as much as is together in one place: from the write buffer, or from the device up to the segment's end.</summary>
    private async ValueTask<(LogRead Status, int Length)> ReadSomeAsync(LogPosition position, Memory<byte> destination)
    {
        if (buffer().TryReadStart(position, destination.Span, EntryLayout.SectorSize, out var had))
        {
            return (LogRead.Ok, had);
        }

        var length = (int)Math.Min(destination.Length, DeviceGeometry.SegmentBytes - position.Offset);
        return (await ReadDeviceAsync(position, destination[..length]), length);
    }

    private async ValueTask<LogRead> ReadDeviceAsync(LogPosition position, Memory<byte> destination)
    {
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
        var start = await ReadStartAsync(position, disk, lsn, header, EntryLayout.SectorSize);
        return (start.Status, start.HeaderLength);
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
