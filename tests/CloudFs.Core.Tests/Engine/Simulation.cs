using System.Runtime.ExceptionServices;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// Runs asynchronous code on one thread, and picks by chance, from a seed, which of those that could go on does so next:
/// so an engine's loops and its clients meet in every order, and a seed gives the same order again. When nobody can go on,
/// time moves to the next timer; when there is none either, that is a hang, and is told.
/// </summary>
internal sealed class Simulation : SynchronizationContext
{
    private readonly Lock _lock = new();
    private readonly List<(SendOrPostCallback Run, object? State)> _ready = [];
    private readonly Random _random;
    private readonly bool _shuffle;
    private readonly int _thread = Environment.CurrentManagedThreadId;

    private Simulation(int seed, bool shuffle)
    {
        _random = new Random(seed);
        _shuffle = shuffle;
    }

    /// <summary>The clock of the simulated machine.</summary>
    public SimulatedTime Time { get; } = new();

    /// <summary>How often something came from another thread: then the same seed may give another order.</summary>
    public int FromElsewhere { get; private set; }

    /// <summary>Runs to the end of <paramref name="body"/>.</summary>
    /// <param name="seed">Gives the order.</param>
    /// <param name="body">What to run.</param>
    /// <param name="shuffle">False: first come, first served, for when the order must not depend on chance.</param>
    public static void Run(int seed, Func<Simulation, Task> body, bool shuffle = true)
    {
        var before = Current;
        var simulation = new Simulation(seed, shuffle);
        SetSynchronizationContext(simulation);
        try
        {
            simulation.Pump(body(simulation));
        }
        finally
        {
            SetSynchronizationContext(before);
        }
    }

    /// <summary>Starts a loop of the engine.</summary>
    public Task Spawn(Func<Task> work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(_ => _ = RunAsync(), null);
        return done.Task;

        async Task RunAsync()
        {
            try
            {
                await work();
                done.SetResult();
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }
    }

    /// <summary>Lets others go first, by chance.</summary>
    public async ValueTask PauseAsync()
    {
        for (var turns = _shuffle ? _random.Next(3) : 0; turns > 0; turns--)
        {
            await Task.Yield();
        }
    }

    public override void Post(SendOrPostCallback d, object? state)
    {
        lock (_lock)
        {
            FromElsewhere += Environment.CurrentManagedThreadId == _thread ? 0 : 1;
            _ready.Add((d, state));
        }
    }

    public override void Send(SendOrPostCallback d, object? state) => d(state);

    public override SynchronizationContext CreateCopy() => this;

    private void Pump(Task main)
    {
        var idleSince = 0L;
        while (!main.IsCompleted)
        {
            if (TryTake(out var next))
            {
                next.Run(next.State);
                Time.Advance(_random.Next(1, 30));
                idleSince = 0;
            }
            else if (!Time.FireNext())
            {
                // Somebody on another thread may still come; but not for long.
                idleSince = idleSince == 0 ? Environment.TickCount64 : idleSince;
                if (Environment.TickCount64 - idleSince > 3000)
                {
                    throw new TimeoutException("nothing can go on any more: something hangs");
                }

                Thread.Sleep(1);
            }
        }

        if (main.Exception?.InnerException is { } failure)
        {
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    private bool TryTake(out (SendOrPostCallback Run, object? State) next)
    {
        lock (_lock)
        {
            if (_ready.Count == 0)
            {
                next = default;
                return false;
            }

            var index = _shuffle ? _random.Next(_ready.Count) : 0;
            next = _ready[index];
            _ready.RemoveAt(index);
            return true;
        }
    }
}

/// <summary>A clock that moves when it is told to.</summary>
internal sealed class SimulatedTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<SimulatedTimer> _timers = [];
    private long _micros;
    private long _skew;
    private long _nextDue = long.MaxValue;

    public override long TimestampFrequency => 1_000_000;

    /// <summary>What the wall clock is off by; timers don't care.</summary>
    public TimeSpan Skew
    {
        set => _skew = value.Ticks / TimeSpan.TicksPerMicrosecond;
    }

    public override DateTimeOffset GetUtcNow() => new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddMicroseconds(_micros + _skew);

    public override long GetTimestamp() => _micros;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new SimulatedTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Moves on, and fires what is due.</summary>
    public void Advance(long micros)
    {
        _micros += micros;
        while (Volatile.Read(ref _nextDue) <= _micros && TakeDue(_micros) is { } due)
        {
            due.Fire();
        }
    }

    /// <summary>Moves to the next timer and fires it; false when there is none.</summary>
    public bool FireNext()
    {
        if (TakeDue(long.MaxValue) is not { } next)
        {
            return false;
        }

        _micros = Math.Max(_micros, next.Due);
        next.Fire();
        return true;
    }

    private SimulatedTimer? TakeDue(long until)
    {
        lock (_lock)
        {
            var next = _timers.MinBy(timer => timer.Due);
            if (next is null || next.Due > until)
            {
                return null;
            }

            _timers.Remove(next);
            _nextDue = _timers.Count == 0 ? long.MaxValue : _timers.Min(timer => timer.Due);
            return next;
        }
    }

    private sealed class SimulatedTimer(SimulatedTime time, TimerCallback callback, object? state) : ITimer
    {
        public long Due { get; private set; }

        public void Fire() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._lock)
            {
                time._timers.Remove(this);
                if (dueTime >= TimeSpan.Zero)
                {
                    Due = time._micros + (dueTime.Ticks / TimeSpan.TicksPerMicrosecond);
                    time._timers.Add(this);
                    time._nextDue = Math.Min(time._nextDue, Due);
                }
            }

            return true;
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
