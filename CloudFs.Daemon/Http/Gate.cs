namespace CloudFs.Daemon.Http;

/// <summary>Lets a fixed number in at a time and turns the others away at once. Thread-safe.</summary>
internal sealed class Gate(int capacity)
{
    private int _inside;

    public int Capacity { get; } = capacity;

    public int Inside => Volatile.Read(ref _inside);

    /// <summary>A pass to dispose of, or null when it is full.</summary>
    public IDisposable? TryEnter()
    {
        if (Interlocked.Increment(ref _inside) <= Capacity)
        {
            return new Pass(this);
        }

        Interlocked.Decrement(ref _inside);
        return null;
    }

    private sealed class Pass(Gate gate) : IDisposable
    {
        private int _left;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _left, 1) == 0)
            {
                Interlocked.Decrement(ref gate._inside);
            }
        }
    }
}
