using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>Finds the segment that a use lies in, by the segments' own bytes and by what moved; bad segments have no say.</summary>
internal sealed class UseFinder(
    IBlockDevice device, DeviceLabel label, SegmentTable segments, SegmentWalker walker, BadPlaces bad)
{
    private readonly UseSearch _search = new(device, walker, label.DeviceId);

    /// <summary>A segment began in a part that can't be read, and nothing else told what was in it.</summary>
    public bool HasUnknown => _search.HasUnknown;

    /// <summary>
    /// True when the log goes on in a later segment, by that segment's own bytes: a checkpoint also knows of segments in
    /// which nothing was written before the crash.
    /// </summary>
    public async Task<bool> HasFollowerAsync(ulong use, SortedDictionary<ulong, int> known, int hint)
    {
        foreach (var (later, segment) in known.Where(pair => pair.Key > use))
        {
            if (await HoldsAsync(segment, later, isNext: false))
            {
                return true;
            }
        }

        return await TryDiscoverAsync(known, use + 1, hint, isNext: false);
    }

    /// <summary>Looks for the segment that holds a use: where it was said to be, then everywhere.</summary>
    /// <param name="known">Uses that were found, and their segments: this one is added.</param>
    /// <param name="use">Which.</param>
    /// <param name="hint">Where it was said to be; -1 for nowhere.</param>
    /// <param name="isNext">
    /// True where the log went on there if it went on at all: then its first commit may have been lost, or lie in what can't be
    /// read, and what is behind it counts.
    /// </param>
    public async Task<bool> TryDiscoverAsync(SortedDictionary<ulong, int> known, ulong use, int hint, bool isNext)
    {
        hint = bad.Resolve(hint, use);
        if (hint >= 0 && hint < label.SegmentCount && await HoldsAsync(hint, use, isNext))
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

    private async Task<bool> HoldsAsync(int segment, ulong use, bool isNext)
    {
        if (await walker.ReadFooterAsync(segment, use) is not null)
        {
            return true;
        }

        // Mostly the beginning tells: this use's commit, another use's, or nothing. Else all of it must be looked through.
        var record = await _search.TryReadRecordAsync(segment);
        var fault = CommitFrame.TryReadRecord(record, label.DeviceId, new LogPosition(use, 0), out _);
        if (record.Length > 0 && (fault == LayoutFault.None || (!isNext
            && (fault == LayoutFault.OtherPlace || record.AsSpan().IndexOfAnyExcept((byte)0) < 0))))
        {
            return fault == LayoutFault.None;
        }

        using var bytes = await walker.ReadSegmentAsync(segment);
        return SegmentScan.Scan(bytes.Memory, label.DeviceId, use, LogPosition.None, LogPosition.None, -1)
            is { Frames.Count: > 0 } or { IsTorn: true } || (isNext && record.Length == 0);
    }

    /// <summary>Every segment whose first commit or footer, or else any commit, tells a use from <paramref name="fromUse"/> on.</summary>
    public async Task<SortedDictionary<ulong, int>> FindAllAsync(ulong fromUse)
    {
        var uses = new SortedDictionary<ulong, int>();
        for (var segment = 0; segment < label.SegmentCount; segment++)
        {
            if (segments.StateOf(segment) == SegmentState.Checkpoint || bad.Contains(segment)
                || await UseOfAsync(segment) is not { } use || use < fromUse || use == 0)
            {
                continue;
            }

            uses[use] = uses.TryGetValue(use, out var other)
                ? await SegmentUses.FullerAsync(walker, label.DeviceId, use, other, segment)
                : segment;
        }

        return uses;
    }

    private async ValueTask<ulong?> UseOfAsync(int segment) =>
        await SegmentUses.ReadAsync(device, label.DeviceId, segment) ?? await _search.FindUseAsync(segment);
}
