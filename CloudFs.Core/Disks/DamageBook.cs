namespace CloudFs.Core.Disks;

/// <summary>
/// Sectors of one disk that failed when they were read, until something overwrites them. Guarded by the disk's lock.
/// Bounded: beyond the limit only the count goes on.
/// </summary>
public sealed class DamageBook
{
    /// <summary>More ranges than an operator reads; the device needs replacing long before.</summary>
    private const int RangesMax = 4096;

    /// <summary>Why sectors are lost whose entry is: checkpoints keep these, since no read would find them again.</summary>
    public const string LostEntry = "its entry in the log could not be read";

    private readonly List<(ulong Lba, ulong End, string Reason)> _ranges = [];

    /// <summary>The ranges, in the order in which they were found.</summary>
    public IReadOnlyList<(ulong Lba, ulong End, string Reason)> Ranges => _ranges;

    /// <summary>Those of lost entries.</summary>
    public IEnumerable<(ulong Lba, ulong End)> LostRanges =>
        _ranges.Where(range => range.Reason == LostEntry).Select(range => (range.Lba, range.End));

    /// <summary>
    /// Notes a bad range; false when it is known already. That an entry is lost holds on where a page of it was bad before:
    /// it outlives the process.
    /// </summary>
    public bool Add(ulong lba, ulong sectors, string reason)
    {
        var end = lba + sectors;
        if (_ranges.Exists(range => range.Lba <= lba && range.End >= end && (reason != LostEntry || range.Reason == reason))
            || _ranges.Count >= RangesMax)
        {
            return false;
        }

        var lost = reason == LostEntry ? [] : LostRanges.Where(range => range.Lba < end && range.End > lba).ToList();
        Clear(lba, end);
        _ranges.Add((lba, end, reason));
        foreach (var (from, to) in lost)
        {
            var start = Math.Max(from, lba);
            Add(start, Math.Min(to, end) - start, LostEntry);
        }

        return true;
    }

    /// <summary>The sectors were overwritten: what was there does not matter any more.</summary>
    public void Clear(ulong lba, ulong end) => Clear(lba, end, null);

    /// <summary>The same for what was noted for one reason alone (for any, without one): that has been put right.</summary>
    public void Clear(ulong lba, ulong end, string? noted)
    {
        for (var i = _ranges.Count - 1; i >= 0; i--)
        {
            var (from, to, reason) = _ranges[i];
            if (to <= lba || from >= end || (noted is not null && noted != reason))
            {
                continue;
            }

            _ranges.RemoveAt(i);
            if (from < lba)
            {
                _ranges.Add((from, lba, reason));
            }

            if (to > end)
            {
                _ranges.Add((end, to, reason));
            }
        }
    }
}
