namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Bounds what one connection has under way: requests that were taken and whose reply has not left yet, and the bytes
/// of the buffers that they hold. The connection's own thread enters and waits here; that it waits is the
/// back-pressure on a client that sends faster than it reads. Anybody leaves.
/// Bytes come first from a reserve that is the connection's own, then from what all share.
/// </summary>
internal sealed class InFlightWindow(SharedBudget shared, long reserve, long maxBytes, int maxRequests)
{
    private readonly Lock _gate = new();
    private readonly WakeUp _wakeUp = new();
    private long _bytes;
    private long _sharedBytes;
    private int _requests;
    private bool _closed;
    private bool _queued;
    private bool _isWaiting;

    /// <summary>The place in the shared budget's queue; belongs to the budget.</summary>
    internal LinkedListNode<InFlightWindow>? Place { get; set; }

    /// <summary>True while bytes are held that others may be waiting for.</summary>
    public bool HoldsShared => Volatile.Read(ref _sharedBytes) > 0;

    public int Requests => Volatile.Read(ref _requests);

    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Takes room if there is some now; after a refusal <see cref="Enter"/> must follow.</summary>
    public bool TryEnter(int requests, long bytes)
    {
        lock (_gate)
        {
            return !_closed && TryEnterLocked(requests, bytes);
        }
    }

    /// <summary>Takes room, waiting for it; false when the connection is at its end.</summary>
    public bool Enter(int requests, long bytes)
    {
        while (true)
        {
            lock (_gate)
            {
                if (_closed)
                {
                    LeaveQueue();
                    return false;
                }

                if (TryEnterLocked(requests, bytes))
                {
                    return true;
                }

                _isWaiting = true;
            }

            _wakeUp.Wait(Timeout.InfiniteTimeSpan);
        }
    }

    public void Leave(int requests, long bytes)
    {
        long surplus;
        bool wake;
        lock (_gate)
        {
            _requests -= requests;
            _bytes -= bytes;
            surplus = Math.Max(0, _sharedBytes - Math.Max(0, _bytes - reserve));
            _sharedBytes -= surplus;
            wake = _isWaiting;
            _isWaiting = false;
        }

        if (surplus > 0)
        {
            shared.Give(surplus);
        }

        if (wake)
        {
            _wakeUp.Set();
        }
    }

    /// <summary>Waits until no request is under way and no buffer held; false when the time is over.</summary>
    public bool WaitIdle(TimeSpan limit)
    {
        var end = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (true)
        {
            lock (_gate)
            {
                if (_requests == 0 && _bytes == 0)
                {
                    return true;
                }

                _isWaiting = true;
            }

            var left = end - Environment.TickCount64;
            if (left <= 0)
            {
                return false;
            }

            _wakeUp.Wait(TimeSpan.FromMilliseconds(Math.Min(left, int.MaxValue)));
        }
    }

    /// <summary>Nothing enters any more; who waits gives up.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
        }

        _wakeUp.Set();
    }

    internal void Wake() => _wakeUp.Set();

    private bool TryEnterLocked(int requests, long bytes)
    {
        // What is too large for the cap passes when it is alone, so that no setting can stop a connection for good.
        if (_requests + requests > maxRequests || (_bytes > 0 && bytes > 0 && _bytes + bytes > maxBytes))
        {
            return false;
        }

        var wanted = Math.Max(0, _bytes + bytes - reserve) - _sharedBytes;
        if (wanted > 0)
        {
            _queued = true;
            if (!shared.TryTake(wanted, this))
            {
                return false;
            }

            _queued = false;
            _sharedBytes += wanted;
        }

        LeaveQueue();
        _requests += requests;
        _bytes += bytes;
        return true;
    }

    private void LeaveQueue()
    {
        if (_queued)
        {
            _queued = false;
            shared.Forget(this);
        }
    }
}
