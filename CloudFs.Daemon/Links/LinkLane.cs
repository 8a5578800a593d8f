using System.Threading.Tasks.Sources;

namespace CloudFs.Daemon.Links;

/// <summary>
/// One direction of a link: a thread that waits in the kernel so that nobody else has to. One call at a time. Who awaits it goes on
/// on that thread, and asks again from there: a link at work is served without one thread that wakes another.
/// </summary>
/// <param name="name">The thread's.</param>
/// <param name="wait">What may take long, on the thread: gives the count to tell.</param>
internal sealed class LinkLane(string name, Func<ReadOnlyMemory<byte>, Memory<byte>, int> wait) : IValueTaskSource<int>, IDisposable
{
    // The engine's synchronous paths run on this stack.
    private const int StackBytes = 1 << 20;

    private readonly SemaphoreSlim _asked = new(0);
    private readonly Lock _lock = new();
    private ManualResetValueTaskSourceCore<int> _answer;
    private ReadOnlyMemory<byte> _bytes;
    private Memory<byte> _room;
    private bool _isEnded;

    /// <summary>Starts the thread. Throws <see cref="OutOfMemoryException"/> where there is none to be had.</summary>
    public void Start() => new Thread(Run, StackBytes) { IsBackground = true, Name = name }.Start();

    /// <summary>Has it done on the thread; -1 where the thread has ended. The next call only after this one has ended.</summary>
    public ValueTask<int> AskAsync(ReadOnlyMemory<byte> bytes, Memory<byte> room)
    {
        lock (_lock)
        {
            if (_isEnded)
            {
                return new(-1);
            }

            _answer.Reset();
            (_bytes, _room) = (bytes, room);
        }

        var answer = new ValueTask<int>(this, _answer.Version);
        _asked.Release();
        return answer;
    }

    /// <summary>Ends the thread once nothing is asked of it. A call that waits must be woken by the caller.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isEnded = true;
        }

        _asked.Release();
    }

    int IValueTaskSource<int>.GetResult(short token) => _answer.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _answer.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _answer.OnCompleted(continuation, state, token, flags);

    private void Run()
    {
        while (true)
        {
            _asked.Wait();
            ReadOnlyMemory<byte> bytes;
            Memory<byte> room;
            lock (_lock)
            {
                (bytes, room) = (_bytes, _room);
                (_bytes, _room) = (default, default);
            }

            if (room.IsEmpty && bytes.IsEmpty)
            {
                // Woken to end: whatever was asked before has been answered, and nothing is asked any more.
                return;
            }

            // What goes on behind this sees to its own errors: a task keeps them.
            _answer.SetResult(wait(bytes, room));
        }
    }
}
