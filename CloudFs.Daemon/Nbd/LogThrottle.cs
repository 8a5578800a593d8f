namespace CloudFs.Daemon.Nbd;

/// <summary>
/// Lets a few lines through and then one each second, so that ten thousand bad connections don't make ten thousand
/// lines. The next line that passes says how many did not.
/// </summary>
internal sealed class LogThrottle
{
    private const int Burst = 10;
    private const long RefillMilliseconds = 1000;

    private readonly Lock _gate = new();
    private long _tokens = Burst;
    private long _refilled = Environment.TickCount64;
    private long _untold;

    /// <summary>What to add to a line for those that were held back before it; nothing if there were none.</summary>
    public static string Tell(long untold) => untold == 0 ? "" : $"; {untold} more like this were not logged";

    /// <summary>
    /// True when a line may be written; <paramref name="untold"/> is how many were held back before it.
    /// </summary>
    public bool TryPass(out long untold)
    {
        lock (_gate)
        {
            var due = (Environment.TickCount64 - _refilled) / RefillMilliseconds;
            _tokens = Math.Min(Burst, _tokens + due);
            _refilled += due * RefillMilliseconds;
            untold = _untold;
            if (_tokens == 0)
            {
                _untold++;
                return false;
            }

            _tokens--;
            _untold = 0;
            return true;
        }
    }
}
