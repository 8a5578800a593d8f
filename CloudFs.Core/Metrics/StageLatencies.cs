namespace CloudFs.Core.Metrics;

/// <summary>
/// Where an engine's time goes, by stage. Commits and flushes are few, and each is measured; of entries and of lookups one
/// in <see cref="Every"/>, counted by thread: no two processors share anything on the way of those that are not measured.
/// </summary>
public sealed class StageLatencies(TimeProvider time)
{
    /// <summary>One thing in so many is measured. A prime, so that no rhythm of a client meets it always at the same beat.</summary>
    public const int Every = 17;

    [ThreadStatic]
    private static int _entriesLeft;

    [ThreadStatic]
    private static int _lookupsLeft;

    private readonly LatencyClock _clock = new(time);

    /// <summary>An entry made: its pages hashed, its header sealed, both put into the log's buffer. Waiting is not in it.</summary>
    public LatencyHistogram Seal { get; } = new();

    /// <summary>A closed commit, until the device begins to write it.</summary>
    public LatencyHistogram Queue { get; } = new();

    /// <summary>A commit's write to the device.</summary>
    public LatencyHistogram DeviceWrite { get; } = new();

    /// <summary>A flush of the device.</summary>
    public LatencyHistogram Flush { get; } = new();

    /// <summary>A lookup of a range's extents, pages of the index that had to be read included; or an entry applied to the map.</summary>
    public LatencyHistogram Index { get; } = new();

    /// <summary>Now, in nanoseconds; for differences alone.</summary>
    internal long Now => _clock.Now;

    /// <summary>When an entry begins that is to be measured; 0 for all others.</summary>
    internal long BeginEntry() => IsNext(ref _entriesLeft) ? Now : 0;

    /// <summary>When a lookup begins that is to be measured; 0 for all others.</summary>
    internal long BeginLookup() => IsNext(ref _lookupsLeft) ? Now : 0;

    /// <summary>A lookup has ended well.</summary>
    internal void EndLookup(long began)
    {
        if (began != 0)
        {
            Index.Add(Now - began);
        }
    }

    private static bool IsNext(ref int left)
    {
        if (--left > 0)
        {
            return false;
        }

        left = Every;
        return true;
    }
}
