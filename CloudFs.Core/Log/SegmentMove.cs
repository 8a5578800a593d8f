using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>What of a segment goes with its use when that moves.</summary>
/// <param name="Use">The use.</param>
/// <param name="CommitsEnd">Where the commits end that are written, bytes from the segment's start.</param>
/// <param name="TailStart">From where on the segment's end goes with it, for copies of headers; its length where nothing does.</param>
/// <param name="Durable">Up to here it is known to have been durable; what lies behind it must be whole.</param>
public readonly record struct MovedPart(ulong Use, uint CommitsEnd, uint TailStart, LogPosition Durable);

/// <summary>
/// Copies a segment whose use goes on elsewhere, byte for byte: positions stay what they are. Zeroes take the place of what does
/// not go with it, so that nothing that an earlier attempt or use left there can be taken for it. 16 MiB of memory while it lasts.
/// </summary>
internal sealed class SegmentMove(IBlockDevice device, Id160 deviceId)
{
    /// <summary>What the largest commit has.</summary>
    private const int PieceBytes = 4 << 20;

    /// <summary>Reads what is to go into memory of the caller's, of a segment's size.</summary>
    /// <exception cref="DeviceException">Some of it can't be read, or what was written last is not what was written.</exception>
    public async Task ReadAsync(int segment, MovedPart part, Memory<byte> bytes)
    {
        bytes.Span.Clear();
        await ReadAsync(segment, bytes, 0, part.CommitsEnd);

        // What was durable and rotted since goes as it is. The rest is still to be promised: it must be all there.
        var end = new LogPosition(part.Use, part.CommitsEnd);
        var scan = SegmentScan.Scan(
            bytes, deviceId, part.Use, part.Durable < end ? part.Durable : end, LogPosition.None, -1);
        if (scan.End != part.CommitsEnd)
        {
            throw new DeviceException(
                $"segment {segment} (use {part.Use}) has to move, and what was written to it last is not there: it ends at "
                + $"{scan.End}, not at {part.CommitsEnd}");
        }

        await ReadAsync(segment, bytes, part.TailStart, DeviceGeometry.SegmentBytes);
    }

    /// <summary>Writes all of the segment and flushes it.</summary>
    public async Task WriteAsync(int segment, ReadOnlyMemory<byte> bytes)
    {
        for (var at = 0; at < bytes.Length; at += PieceBytes)
        {
            await device.WriteAsync(DeviceGeometry.SegmentOffset(segment) + (ulong)at, bytes.Slice(at, PieceBytes));
        }

        await device.FlushAsync();
    }

    private async Task ReadAsync(int segment, Memory<byte> bytes, uint from, uint end)
    {
        for (var at = from; at < end; at += PieceBytes)
        {
            var piece = bytes.Slice((int)at, (int)Math.Min(PieceBytes, end - at));
            try
            {
                await ReadTwiceAsync(DeviceGeometry.SegmentOffset(segment) + at, piece);
            }
            catch (DeviceException e)
            {
                throw new DeviceException($"segment {segment} has to move, and can't be read: {e.Message}", e);
            }
        }
    }

    private async Task ReadTwiceAsync(ulong offset, Memory<byte> piece)
    {
        try
        {
            await device.ReadAsync(offset, piece);
        }
        catch (DeviceException)
        {
            // It may have been for this once.
            await device.ReadAsync(offset, piece);
        }
    }
}
