using System.Numerics;

namespace CloudFs.Core.Metrics;

/// <summary>
/// Counts how long things took, in buckets whose bounds double from 250 ns to 8.4 s. Any thread, without a lock and without
/// garbage: two additions for each thing. So that hot paths don't meet in its memory, they measure one thing in many
/// (<see cref="StageLatencies"/>).
/// </summary>
public sealed class LatencyHistogram
{
    /// <summary>Buckets with a bound; one more is for what took longer than the last.</summary>
    public const int Bounds = 26;

    private const long FirstBound = 250;

    private readonly long[] _counts = new long[Bounds + 1];
    private long _nanos;

    /// <summary>Up to how many nanoseconds a bucket goes, itself included.</summary>
    public static long BoundNanos(int bucket) => FirstBound << bucket;

    /// <summary>Counts something that took so many nanoseconds; less than none, from a clock that is no clock, is none.</summary>
    public void Add(long nanos)
    {
        Interlocked.Increment(ref _counts[BucketOf(nanos)]);
        Interlocked.Add(ref _nanos, Math.Max(0, nanos));
    }

    /// <summary>What was counted so far; what is added meanwhile may be in a bucket and not yet in the sum.</summary>
    public LatencySnapshot Read()
    {
        var counts = new long[_counts.Length];
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] = Volatile.Read(ref _counts[i]);
        }

        return new LatencySnapshot(counts, Volatile.Read(ref _nanos));
    }

    /// <summary>The bucket of a time: the first whose bound it does not exceed.</summary>
    internal static int BucketOf(long nanos) => nanos <= FirstBound
        ? 0
        : Math.Min(Bounds, BitOperations.Log2((ulong)(nanos - 1) / FirstBound) + 1);
}

/// <summary>What a histogram had counted at one moment.</summary>
/// <param name="Counts">Things by bucket; the last is what took longer than all bounds.</param>
/// <param name="Nanos">How long all of them took together.</param>
public sealed record LatencySnapshot(IReadOnlyList<long> Counts, long Nanos)
{
    /// <summary>How many things there were.</summary>
    public long Count => Counts.Sum();
}
