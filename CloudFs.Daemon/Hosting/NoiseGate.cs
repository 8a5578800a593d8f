namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Lets the same event of the framework through once in ten seconds: what a thousand clients can cause must not fill
/// the log with a thousand lines. Thread-safe.
/// </summary>
internal sealed class NoiseGate(TimeProvider time)
{
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();

    // As many as the framework has kinds of warnings: a few dozen.
    private readonly Dictionary<(string Category, int Event), long> _last = [];

    public bool Lets(string category, int eventId)
    {
        var now = time.GetTimestamp();
        lock (_gate)
        {
            if (_last.TryGetValue((category, eventId), out var last) && time.GetElapsedTime(last, now) < Quiet)
            {
                return false;
            }

            _last[(category, eventId)] = now;
            return true;
        }
    }
}
