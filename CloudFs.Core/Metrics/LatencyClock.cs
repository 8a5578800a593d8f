namespace CloudFs.Core.Metrics;

/// <summary>Nanoseconds on a clock that only goes forward, from no particular point on.</summary>
public sealed class LatencyClock(TimeProvider time)
{
    private const long Nanos = 1_000_000_000;

    private readonly long _frequency = time.TimestampFrequency;

    public long Now => _frequency == Nanos
        ? time.GetTimestamp()
        : (long)((Int128)time.GetTimestamp() * Nanos / _frequency);
}
