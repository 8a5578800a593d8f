namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// A signal for one waiting thread, remembered until it is taken. Its lock is a leaf: it may be set while any other
/// lock is held. It needs no disposal, so a late signal for a connection that is gone does no harm.
/// </summary>
internal sealed class WakeUp
{
    private readonly object _gate = new();
    private bool _set;

    public void Set()
    {
        lock (_gate)
        {
            _set = true;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Waits for the signal and takes it; false when the time is over.</summary>
    public bool Wait(TimeSpan limit)
    {
        lock (_gate)
        {
            if (!_set)
            {
                Monitor.Wait(_gate, limit);
            }

            var was = _set;
            _set = false;
            return was;
        }
    }
}
