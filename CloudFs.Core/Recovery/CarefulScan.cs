using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Scans a segment in which the log may end: what is cut there is gone for ever, so it must not be for a bad read.</summary>
internal sealed class CarefulScan(SegmentWalker walker, Id160 deviceId)
{
    /// <summary>
    /// Scans a segment. Where that does not end as a log at rest does, it is read a second time, for the first may have been
    /// other bytes, this once: what is cut is gone for ever.
    /// </summary>
    public async Task<(SegmentScan Scan, SegmentBytes Bytes)> ScanAsync(
        int segment, ulong use, LogPosition durable, LogPosition written, int commitsEnd)
    {
        var first = await ScanOnceAsync(segment, use, durable, written, commitsEnd);
        if (!first.Scan.IsTorn && first.Scan.StaleEnd == first.Scan.End && first.Scan.Holes.Count == 0 && first.Scan.Frames.Count > 0)
        {
            return first;
        }

        var second = await ScanOnceAsync(segment, use, durable, written, commitsEnd);
        var (kept, other) = second.Scan.Items.Count >= first.Scan.Items.Count && second.Scan.End >= first.Scan.End
            ? (second, first)
            : (first, second);
        other.Bytes.Dispose();
        return kept;
    }

    /// <summary>
    /// Scans a segment as it is read now. What can't be read where the log seems to end is not torn: something durable may have been
    /// there, so that it counts as written, and as a hole.
    /// </summary>
    private async Task<(SegmentScan Scan, SegmentBytes Bytes)> ScanOnceAsync(
        int segment, ulong use, LogPosition durable, LogPosition written, int commitsEnd)
    {
        var unreadable = new List<Range>();
        var bytes = await walker.ReadSegmentAsync(segment, unreadable);
        var scan = SegmentScan.Scan(bytes.Memory, deviceId, use, durable, written, commitsEnd);
        foreach (var piece in unreadable)
        {
            var end = scan.CutFrameEnd is > 0 and var cut ? cut : scan.End + 512;
            if (commitsEnd < 0 && piece.Start.Value < end && piece.End.Value > scan.End)
            {
                durable = new LogPosition(use, Math.Max((uint)piece.End.Value, scan.CutFrameEnd));
                scan = SegmentScan.Scan(bytes.Memory, deviceId, use, durable, written, commitsEnd);
            }
        }

        return (scan, bytes);
    }
}
