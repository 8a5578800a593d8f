using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Finds the segment that a use lies in, by the segments' own bytes and by what moved; bad segments have no say.</summary>
internal sealed class UseFinder(
    IBlockDevice device, DeviceLabel label, SegmentTable segments, SegmentWalker walker, BadPlaces bad)
{
    /// <summary>
    /// True when the log goes on in a later segment, by that segment's own bytes: a checkpoint also knows of segments in
    /// which nothing was written before the crash.
    /// </summary>
    public async Task<bool> HasFollowerAsync(ulong use, SortedDictionary<ulong, int> known, int hint)
    {
        foreach (var (later, segment) in known.Where(pair => pair.Key > use))
        {
            if (await HoldsAsync(segment, later))
            {
                return true;
            }
        }

        return await TryDiscoverAsync(known, use + 1, hint);
    }

    /// <summary>Looks for the segment that holds a use: where it was said to be, then everywhere.</summary>
    public async Task<bool> TryDiscoverAsync(SortedDictionary<ulong, int> known, ulong use, int hint)
    {
        hint = bad.Resolve(hint, use);
        if (hint >= 0 && hint < label.SegmentCount && await HoldsAsync(hint, use))
        {
            known[use] = hint;
            return true;
        }

        if (hint >= 0)
        {
            return false;
        }

        // What was relocated stands beside the log: no use of it follows another.
        foreach (var (found, segment) in (await FindAllAsync(use)).Where(pair => !LogPosition.IsRelocation(pair.Key)))
        {
            known.TryAdd(found, segment);
        }

        return known.ContainsKey(use);
    }

    private async Task<bool> HoldsAsync(int segment, ulong use)
    {
        if (await walker.ReadFooterAsync(segment, use) is not null)
        {
            return true;
        }

        // Mostly the beginning tells: this use's commit, another use's, or nothing. Else all of it must be looked through.
        var record = await ReadOrZeroesAsync(DeviceGeometry.SegmentOffset(segment), CommitFrameLayout.RecordBytes);
        var fault = CommitFrame.TryReadRecord(record, label.DeviceId, new LogPosition(use, 0), out _);
        if (fault is LayoutFault.None or LayoutFault.OtherPlace || record.AsSpan().IndexOfAnyExcept((byte)0) < 0)
        {
            return fault == LayoutFault.None;
        }

        using var bytes = await walker.ReadSegmentAsync(segment);
        return SegmentScan.Scan(bytes.Memory, label.DeviceId, use, LogPosition.None, LogPosition.None, -1)
            is { Frames.Count: > 0 } or { IsTorn: true };
    }

    private async Task<byte[]> ReadOrZeroesAsync(ulong offset, int length)
    {
        var bytes = new byte[length];
        try
        {
            await device.ReadAsync(offset, bytes);
        }
        catch (DeviceException)
        {
            Array.Clear(bytes);
        }

        return bytes;
    }

    /// <summary>Every segment whose first commit or footer tells a use from <paramref name="fromUse"/> on.</summary>
    public async Task<SortedDictionary<ulong, int>> FindAllAsync(ulong fromUse)
    {
        var uses = new SortedDictionary<ulong, int>();
        for (var segment = 0; segment < label.SegmentCount; segment++)
        {
            if (segments.StateOf(segment) == SegmentState.Checkpoint || bad.Contains(segment)
                || await SegmentUses.ReadAsync(device, label.DeviceId, segment) is not { } use || use < fromUse || use == 0)
            {
                continue;
            }

            uses[use] = uses.TryGetValue(use, out var other)
                ? await SegmentUses.FullerAsync(walker, label.DeviceId, use, other, segment)
                : segment;
        }

        return uses;
    }
}
