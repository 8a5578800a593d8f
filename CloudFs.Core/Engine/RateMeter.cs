namespace CloudFs.Core.Engine;

/// <summary>How fast a position grows, smoothed over some seconds. One user.</summary>
internal sealed class RateMeter(TimeProvider time)
{
    /// <summary>Samples closer together say nothing.</summary>
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(50);

    /// <summary>What was longer ago than this hardly counts.</summary>
    private static readonly TimeSpan Memory = TimeSpan.FromSeconds(3);

    private DateTimeOffset _at = time.GetUtcNow();
    private ulong _position;
    private bool _hasPosition;

    /// <summary>Bytes per second.</summary>
    public double BytesPerSecond { get; private set; }

    /// <summary>The position now.</summary>
    public void Note(ulong position)
    {
        var now = time.GetUtcNow();
        var passed = now - _at;
        if (_hasPosition && passed < Shortest)
        {
            return;
        }

        if (_hasPosition)
        {
            var weight = 1 - Math.Exp(-passed / Memory);
            BytesPerSecond += weight * (((position - _position) / passed.TotalSeconds) - BytesPerSecond);
        }

        (_at, _position, _hasPosition) = (now, position, true);
    }
}
