using System.Buffers;
using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>All bytes of a segment, in memory that goes back to where it came from: nothing may refer to them afterwards.</summary>
public sealed class SegmentBytes : IDisposable
{
    // Sixteen mebibytes for each segment that is looked through would else have to be had from the system, page by page.
    private byte[]? _bytes = ArrayPool<byte>.Shared.Rent(DeviceGeometry.SegmentBytes);

    /// <summary>The bytes.</summary>
    public Memory<byte> Memory => _bytes.AsMemory(0, DeviceGeometry.SegmentBytes);

    public void Dispose()
    {
        if (_bytes is { } bytes)
        {
            _bytes = null;
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }
}

/// <summary>Reads whole segments, for recovery, for verifying, and where a footer can't be had.</summary>
public sealed class SegmentWalker(IBlockDevice device, SegmentTable segments, Id160 deviceId)
{
    /// <summary>All bytes of a segment. A part that the device can't read comes as zeroes: the scan will say what is missing.</summary>
    /// <param name="segment">Which.</param>
    /// <param name="unreadable">Gets the pieces that can't be read, in order; null where nobody asks.</param>
    public async ValueTask<SegmentBytes> ReadSegmentAsync(int segment, List<Range>? unreadable = null)
    {
        var bytes = new SegmentBytes();
        var start = DeviceGeometry.SegmentOffset(segment);
        try
        {
            await device.ReadAsync(start, bytes.Memory);
        }
        catch (DeviceException)
        {
            await ReadPiecesAsync(start, bytes.Memory, unreadable ?? []);
        }

        return bytes;
    }

    /// <summary>The footer record of a segment when it is of that use.</summary>
    public async ValueTask<SegmentFooter?> ReadFooterAsync(int segment, ulong use)
    {
        var record = new byte[SegmentFooterLayout.Size];
        try
        {
            await device.ReadAsync(DeviceGeometry.SegmentOffset(segment) + SegmentFooter.RecordOffset, record);
        }
        catch (DeviceException)
        {
            return null;
        }

        return SegmentFooter.TryRead(record, deviceId, out var footer) == LayoutFault.None && footer.Use == use
            ? footer
            : null;
    }

    /// <summary>The catalog of a sealed segment by its footer; null when its table of places is damaged.</summary>
    public ValueTask<SegmentCatalog?> ReadCatalogAsync(int segment, SegmentFooter footer) =>
        CatalogLoader(segment, footer).LoadAsync();

    /// <summary>What reads the catalog of a sealed segment.</summary>
    public CatalogLoader CatalogLoader(int segment, SegmentFooter footer) =>
        new(footer, async (place, bytes) =>
        {
            try
            {
                await device.ReadAsync(DeviceGeometry.SegmentOffset(segment) + place, bytes);
                return true;
            }
            catch (DeviceException)
            {
                return false;
            }
        });

    /// <summary>The catalog of a segment from its commits, for when its footer is damaged; null when it was reclaimed.</summary>
    public async ValueTask<SegmentCatalog?> RebuildCatalogAsync(ulong use)
    {
        if (!segments.TryLocate(use, out var segment))
        {
            return null;
        }

        using var bytes = await ReadSegmentAsync(segment);
        var everything = new LogPosition(use + 1, 0);
        var scan = SegmentScan.Scan(bytes.Memory, deviceId, use, everything, everything, commitsEnd: -1);
        var catalog = new SegmentCatalog(use) { IsIncomplete = scan.Holes.Count > 0 };
        foreach (var item in scan.Items)
        {
            if (item.Kind == ScannedKind.Whole)
            {
                catalog.Add(item.Header.Span, item.Place, item.Copy);
            }
        }

        return segments.TryLocate(use, out var after) && after == segment ? catalog : null;
    }

    private async ValueTask ReadPiecesAsync(ulong start, Memory<byte> bytes, List<Range> unreadable)
    {
        const int piece = 4096;
        for (var offset = 0; offset < bytes.Length; offset += piece)
        {
            if (!await TryReadAsync(start + (ulong)offset, bytes.Slice(offset, piece)))
            {
                bytes.Span.Slice(offset, piece).Clear();
                unreadable.Add(offset..(offset + piece));
            }
        }
    }

    /// <summary>Reads; once more where that fails, since it may have been for this once.</summary>
    private async ValueTask<bool> TryReadAsync(ulong offset, Memory<byte> bytes)
    {
        for (var attempt = 0; attempt < 2; attempt++)
        {
            try
            {
                await device.ReadAsync(offset, bytes);
                return true;
            }
            catch (DeviceException)
            {
                // Perhaps the next attempt can.
            }
        }

        return false;
    }
}
