using CloudFs.Daemon.Nbd.Transmission;

namespace CloudFs.Daemon.Nbd;

/// <summary>
/// Every connection there is, and the limits on their number. Handshakes stand in two queues, oldest first: those that
/// have said nothing yet, and those that are talking. Each may fill half of the places, so that a flood of one kind
/// pushes out its own oldest and not a client of the other kind that is about to get in.
/// </summary>
internal sealed class ConnectionTable : IDisposable
{
    // How late a handshake whose time is over may be closed.
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(250);

    private readonly NbdServerOptions _options;
    private readonly Timer _timer;
    private readonly Lock _gate = new();
    private readonly LinkedList<NbdConnection> _silent = new();
    private readonly LinkedList<NbdConnection> _talking = new();
    private readonly HashSet<NbdConnection> _established = [];

    // All whose thread has not ended, wherever else they stand.
    private readonly HashSet<NbdConnection> _all = [];
    private readonly NbdCounters _past = new();
    private readonly TaskCompletionSource _emptied = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isTicking;
    private bool _isStopping;
    private long _accepted;

    public ConnectionTable(NbdServerOptions options)
    {
        _options = options;
        _timer = new Timer(_ => CloseOverdue());
    }

    /// <summary>Connections in transmission, handshakes, and connections accepted in all.</summary>
    public (int Established, int Handshakes, long Accepted) Counts
    {
        get
        {
            lock (_gate)
            {
                return (_established.Count, _silent.Count + _talking.Count, _accepted);
            }
        }
    }

    /// <summary>Takes in a new connection; false when the server stops.</summary>
    public bool TryAdd(NbdConnection connection)
    {
        NbdConnection? victim = null;
        lock (_gate)
        {
            if (_isStopping)
            {
                return false;
            }

            _accepted++;
            _all.Add(connection);
            connection.Place = _silent.AddLast(connection);
            if (_silent.Count + _talking.Count > _options.MaxHandshakes)
            {
                victim = TakeOldest();
            }

            if (!_isTicking)
            {
                _isTicking = true;
                _timer.Change(Tick, Tick);
            }
        }

        victim?.Abort($"more than {_options.MaxHandshakes} handshakes at once, and it was the oldest");
        return true;
    }

    /// <summary>Makes room when descriptors have run out; false when there is no handshake to close.</summary>
    public bool TryCloseOldest(string? reason)
    {
        NbdConnection? victim;
        lock (_gate)
        {
            victim = TakeOldest();
        }

        victim?.Abort(reason);
        return victim is not null;
    }

    public void NoteSpoken(NbdConnection connection)
    {
        lock (_gate)
        {
            if (connection.Place is { } place && place.List == _silent)
            {
                _silent.Remove(place);
                _talking.AddLast(place);
            }
        }
    }

    /// <summary>Moves a handshake to transmission; false when that is full, or its time was over.</summary>
    public bool TryPromote(NbdConnection connection)
    {
        lock (_gate)
        {
            if (_isStopping || connection.Place is null || _established.Count >= _options.MaxConnections)
            {
                return false;
            }

            Unlink(connection);
            _established.Add(connection);
            return true;
        }
    }

    public void Remove(NbdConnection connection)
    {
        lock (_gate)
        {
            Unlink(connection);
            _established.Remove(connection);
            if (_all.Remove(connection))
            {
                _past.Add(connection.Counters);
            }

            CompleteIfEmpty();
        }
    }

    /// <summary>What all connections did, past and present, in one.</summary>
    public NbdCounters Sum()
    {
        var sum = new NbdCounters();
        lock (_gate)
        {
            sum.Add(_past);
            foreach (var connection in _all)
            {
                sum.Add(connection.Counters);
            }
        }

        return sum;
    }

    /// <summary>Requests of all connections that were taken and whose reply has not left yet.</summary>
    public int InFlight()
    {
        lock (_gate)
        {
            return _established.Sum(connection => connection.InFlight);
        }
    }

    /// <summary>
    /// Takes in nothing more, ends the handshakes, and has the others end what is under way; the task ends with the
    /// last of them.
    /// </summary>
    public Task Stop()
    {
        List<NbdConnection> established;
        lock (_gate)
        {
            _isStopping = true;
            established = [.. _established];
            CompleteIfEmpty();
        }

        foreach (var connection in established)
        {
            connection.Stop();
        }

        while (TryCloseOldest(null))
        {
        }

        return _emptied.Task;
    }

    /// <summary>Breaks off whatever is left; how many that were.</summary>
    public int AbortAll()
    {
        List<NbdConnection> left;
        lock (_gate)
        {
            left = [.. _all];
        }

        foreach (var connection in left)
        {
            connection.Abort(null);
        }

        return left.Count;
    }

    public void Dispose() => _timer.Dispose();

    private void CloseOverdue()
    {
        List<NbdConnection> overdue = [];
        var limit = Environment.TickCount64 - (long)_options.HandshakeTimeout.TotalMilliseconds;
        lock (_gate)
        {
            AddOverdue(_silent, limit, overdue);
            AddOverdue(_talking, limit, overdue);
            overdue.ForEach(Unlink);
            if (_silent.Count + _talking.Count == 0)
            {
                // Quiet at rest: the next connection starts it again.
                _isTicking = false;
                _timer.Change(Timeout.Infinite, Timeout.Infinite);
            }
        }

        foreach (var connection in overdue)
        {
            connection.Abort($"the handshake took longer than {_options.HandshakeTimeout.TotalSeconds:0.#} s");
        }
    }

    private static void AddOverdue(LinkedList<NbdConnection> queue, long limit, List<NbdConnection> into)
    {
        foreach (var connection in queue)
        {
            if (connection.AcceptedAt <= limit)
            {
                into.Add(connection);
            }
        }
    }

    private NbdConnection? TakeOldest()
    {
        var longer = _talking.Count > Math.Max(_silent.Count, _options.MaxHandshakes / 2) ? _talking : _silent;
        var oldest = (longer.First ?? _talking.First)?.Value;
        if (oldest is not null)
        {
            Unlink(oldest);
        }

        return oldest;
    }

    private static void Unlink(NbdConnection connection)
    {
        connection.Place?.List?.Remove(connection.Place);
        connection.Place = null;
    }

    private void CompleteIfEmpty()
    {
        if (_isStopping && _all.Count == 0)
        {
            _emptied.TrySetResult();
        }
    }
}
