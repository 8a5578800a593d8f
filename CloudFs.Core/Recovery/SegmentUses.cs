using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Tells which use a segment holds, from its own bytes: for a log without checkpoint, and for verifying.</summary>
public static class SegmentUses
{
    /// <summary>The use by the first commit's record or, where that is damaged, by the footer; null for neither.</summary>
    public static async ValueTask<ulong?> ReadAsync(IBlockDevice device, Id160 deviceId, int segment)
    {
        var first = await ReadAsync(device, DeviceGeometry.SegmentOffset(segment));
        if (CommitFrame.TryReadRecord(first, deviceId, LogPosition.None, out var frame) is LayoutFault.None
            or LayoutFault.OtherPlace && frame.Position is { Offset: 0, Use: > 0 })
        {
            return frame.Position.Use;
        }

        // Pages of a checkpoint or of the index begin at the segment's start: what is behind them are remnants without bodies.
        if (AreOfPages(first))
        {
            return null;
        }

        var last = await ReadAsync(device, DeviceGeometry.SegmentOffset(segment) + SegmentFooter.RecordOffset);
        return SegmentFooter.TryRead(last, deviceId, out var footer) == LayoutFault.None ? footer.Use : null;
    }

    /// <summary>
    /// Which of two segments that state the same use is the one: what a move that was cut off left is a copy of a beginning.
    /// </summary>
    public static async ValueTask<int> FullerAsync(SegmentWalker walker, Id160 deviceId, ulong use, int one, int other)
    {
        var (first, second) = (await MeasureAsync(one), await MeasureAsync(other));
        return second.CompareTo(first) > 0 ? other : one;

        async ValueTask<(bool, ulong)> MeasureAsync(int segment)
        {
            var hasFooter = await walker.ReadFooterAsync(segment, use) is not null;
            using var bytes = await walker.ReadSegmentAsync(segment);
            return (hasFooter, SegmentScan.Scan(bytes.Memory, deviceId, use, LogPosition.None, LogPosition.None, -1).LastSequence);
        }
    }

    /// <summary>True when a page of a checkpoint or of the index begins here.</summary>
    internal static bool AreOfPages(ReadOnlySpan<byte> bytes) => bytes.StartsWith("CFSI"u8) || bytes.StartsWith("CFSP"u8);

    private static async ValueTask<byte[]> ReadAsync(IBlockDevice device, ulong offset)
    {
        var bytes = new byte[512];
        try
        {
            await device.ReadAsync(offset, bytes);
        }
        catch (DeviceException)
        {
            // Unreadable: as good as nothing here, and the other place may tell.
            Array.Clear(bytes);
        }

        return bytes;
    }
}
