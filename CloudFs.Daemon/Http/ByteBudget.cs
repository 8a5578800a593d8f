namespace CloudFs.Daemon.Http;

/// <summary>
/// Memory that all requests of a kind share, in bytes: who wants some waits in line until it is free. First come, first
/// served, so that a large request isn't starved by small ones. Thread-safe.
/// </summary>
internal sealed class ByteBudget(long capacity)
{
    private readonly Lock _gate = new();
    private readonly LinkedList<Waiter> _line = new();
    private long _free = capacity;

    public long Capacity { get; } = capacity;

    public long InUse
    {
        get
        {
            lock (_gate)
            {
                return Capacity - _free;
            }
        }
    }

    /// <summary>
    /// Takes <paramref name="bytes"/> (at most the capacity) and gives a lease to dispose of, or null when
    /// <paramref name="patience"/> ran out first.
    /// </summary>
    public async ValueTask<IDisposable?> TryTakeAsync(long bytes, TimeSpan patience, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes, Capacity);
        Waiter waiter;
        lock (_gate)
        {
            if (_line.Count == 0 && bytes <= _free)
            {
                _free -= bytes;
                return new Lease(this, bytes);
            }

            waiter = new Waiter(bytes);
            _line.AddLast(waiter);
        }

        try
        {
            await waiter.Granted.Task.WaitAsync(patience, cancellation);
            return new Lease(this, bytes);
        }
        catch (Exception ended) when (ended is TimeoutException or OperationCanceledException)
        {
            if (!Leave(waiter))
            {
                // Granted at the very moment at which the patience ended: hand it back or nobody ever will.
                Return(bytes);
            }

            if (ended is TimeoutException)
            {
                return null;
            }

            throw;
        }
    }

    private bool Leave(Waiter waiter)
    {
        lock (_gate)
        {
            var left = _line.Remove(waiter);

            // It may have stood at the head and held up smaller ones behind it.
            Serve();
            return left;
        }
    }

    private void Return(long bytes)
    {
        lock (_gate)
        {
            _free += bytes;
            Serve();
        }
    }

    private void Serve()
    {
        while (_line.First is { } first && first.Value.Bytes <= _free)
        {
            _free -= first.Value.Bytes;
            _line.RemoveFirst();
            first.Value.Granted.SetResult();
        }
    }

    private sealed class Waiter(long bytes)
    {
        public long Bytes { get; } = bytes;

        public TaskCompletionSource Granted { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class Lease(ByteBudget budget, long bytes) : IDisposable
    {
        private long _bytes = bytes;

        public void Dispose()
        {
            var held = Interlocked.Exchange(ref _bytes, 0);
            if (held > 0)
            {
                budget.Return(held);
            }
        }
    }
}
