namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// The memory that all connections share for requests under way. Each connection has a small reserve of its own
/// besides (see <see cref="InFlightWindow"/>), so that whoever uses this up slows others down but stops nobody.
/// Those who wait are served in the order in which they came, so that a large request is not passed by for ever.
/// </summary>
internal sealed class SharedBudget
{
    private readonly long _capacity;
    private readonly Lock _gate = new();
    private readonly LinkedList<InFlightWindow> _waiting = new();
    private long _free;

    public SharedBudget(long capacity)
    {
        _capacity = capacity;
        _free = capacity;
    }

    /// <summary>Bytes that are taken.</summary>
    public long Used
    {
        get
        {
            lock (_gate)
            {
                return _capacity - _free;
            }
        }
    }

    /// <summary>True while somebody waits for bytes that others hold.</summary>
    public bool IsShort
    {
        get
        {
            lock (_gate)
            {
                return _waiting.Count > 0;
            }
        }
    }

    /// <summary>
    /// Takes bytes if there are enough and nobody was waiting before; otherwise <paramref name="window"/> is in the
    /// queue from now on, and is woken when it should try again.
    /// </summary>
    public bool TryTake(long bytes, InFlightWindow window)
    {
        InFlightWindow? next;
        lock (_gate)
        {
            var first = _waiting.First?.Value;
            var isTurn = first is null || first == window;

            // A request larger than all there is passes when it is alone, rather than never.
            if (!isTurn || (_free < bytes && _free < _capacity))
            {
                if (window.Place is null)
                {
                    window.Place = _waiting.AddLast(window);
                }

                return false;
            }

            _free -= bytes;
            next = Dequeue(window);
        }

        next?.Wake();
        return true;
    }

    public void Give(long bytes)
    {
        InFlightWindow? next;
        lock (_gate)
        {
            _free += bytes;
            next = _waiting.First?.Value;
        }

        next?.Wake();
    }

    /// <summary>The window waits no longer: it found room in its reserve, or its connection ended.</summary>
    public void Forget(InFlightWindow window)
    {
        InFlightWindow? next;
        lock (_gate)
        {
            next = Dequeue(window);
        }

        next?.Wake();
    }

    private InFlightWindow? Dequeue(InFlightWindow window)
    {
        if (window.Place is null)
        {
            return null;
        }

        _waiting.Remove(window.Place);
        window.Place = null;
        return _waiting.First?.Value;
    }
}
