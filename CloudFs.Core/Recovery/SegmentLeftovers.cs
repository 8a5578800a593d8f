using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Segments that a checkpoint calls open, and that nobody goes on with after a start.</summary>
internal sealed class SegmentLeftovers(
    IBlockDevice device, DeviceLabel label, SegmentTable segments, SegmentWalker walker, FooterMender mender, BadPlaces bad,
    RecoveryReport report)
{
    /// <summary>Segments that compaction was filling get their footers.</summary>
    /// <param name="logUse">The log's use, about: what their age is measured with.</param>
    public async Task CompleteCopiesAsync(ulong logUse)
    {
        var open = segments.Snapshot().Where(kept => kept.State == SegmentState.Open && LogPosition.IsRelocation(kept.Use));
        foreach (var (segment, use) in open.Select(kept => (kept.Segment, kept.Use)).ToList())
        {
            using var bytes = await walker.ReadSegmentAsync(segment);
            var scan = SegmentScan.Scan(bytes.Memory, label.DeviceId, use, LogPosition.None, LogPosition.None, -1);
            if (!await TryCompleteAsync(scan, segment, use))
            {
                report.AddDamage("damaged-copies", $"not all of segment {segment} (use {use}), which compaction was filling, can be read");
            }

            segments.Seal(use, 0, logUse);
        }
    }

    /// <summary>Writes the footer: where its place is bad, the segment moves, since without one nobody could ever compact it.</summary>
    private async Task<bool> TryCompleteAsync(SegmentScan scan, int segment, ulong use)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                return await mender.TryMendAsync(scan, segment, use, (int)scan.End, -1);
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                var end = new LogPosition(use, scan.End);
                segment = await bad.MoveAsync(tries, new MovedPart(use, scan.End, DeviceGeometry.SegmentBytes, end), e);
            }
        }
    }

    /// <summary>
    /// The log had taken a segment when the checkpoint was written, and nothing in it became durable: it is free, and its use
    /// is given again. What a write that was cut off left there, and in the segment that was to follow, is taken away: it lies
    /// over what an earlier use left.
    /// </summary>
    /// <exception cref="DeviceException">The device failed.</exception>
    public async Task ReleaseUnwrittenAsync(LogEnd end)
    {
        var last = end.Segment >= 0 ? end.Position.Use : end.Position.Use - 1;
        foreach (var kept in segments.Snapshot().Where(kept => kept.Use > last && !LogPosition.IsRelocation(kept.Use)))
        {
            segments.Evict(kept.Segment);
            await BlankAsync(kept.Segment);
        }

        if (end.NextSegment >= 0 && segments.StateOf(end.NextSegment) == SegmentState.Free)
        {
            await BlankAsync(end.NextSegment);
        }
    }

    /// <summary>
    /// Takes footer and beginning away from a free segment, in this order: with a beginning of zeroes alone, the footer would say
    /// that all is still its.
    /// </summary>
    private async Task BlankAsync(int segment)
    {
        var zeroes = new byte[label.PhysicalBlock];
        var offset = DeviceGeometry.SegmentOffset(segment);
        try
        {
            await device.WriteAsync(offset + (ulong)(DeviceGeometry.SegmentBytes - zeroes.Length), zeroes);
            await device.FlushAsync();
            await device.WriteAsync(offset, zeroes);
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            await bad.CondemnAsync(segment, e);
        }
    }
}
