using CloudFs.Core.Tests.Engine;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>
/// All that one process of a simulated cluster does: its continuations run in the simulation's order, but not while the process is stopped
/// (SIGSTOP), and never once it was killed. Its clock goes on meanwhile.
/// </summary>
internal sealed class HostContext(Simulation simulation) : SynchronizationContext
{
    private readonly Queue<(SendOrPostCallback Run, object? State)> _held = new();
    private readonly TaskCompletionSource _dead = new();
    private bool _isPaused;

    /// <summary>Ends when the process is killed.</summary>
    public Task Dead => _dead.Task;

    public bool IsPaused => _isPaused;

    public override void Post(SendOrPostCallback d, object? state)
    {
        if (!_dead.Task.IsCompleted)
        {
            simulation.Post(_ => Run(d, state), null);
        }
    }

    public override void Send(SendOrPostCallback d, object? state) => throw new NotSupportedException("nobody may wait for a process that may be stopped");

    public override SynchronizationContext CreateCopy() => this;

    /// <summary>Nothing of it runs until <see cref="Resume"/>.</summary>
    public void Pause() => _isPaused = true;

    /// <summary>It goes on with what was held back, by and by.</summary>
    public void Resume()
    {
        _isPaused = false;
        while (_held.TryDequeue(out var held))
        {
            Post(held.Run, held.State);
        }
    }

    /// <summary>Nothing of it runs any more.</summary>
    public void Kill()
    {
        _held.Clear();
        _dead.TrySetResult();
    }

    /// <summary>Starts a loop of the process.</summary>
    public Task Spawn(Func<Task> work) => CallAsync(async () =>
    {
        await work();
        return true;
    });

    /// <summary>Runs something in the process; what comes of it is given outside. Never ends when the process is killed before.</summary>
    public Task<T> CallAsync<T>(Func<Task<T>> work)
    {
        // Not one that runs continuations elsewhere: Task.WhenAny would go by way of another thread, and a seed give another order each time.
        var done = new TaskCompletionSource<T>();
        Post(_ => _ = RunAsync(), null);
        return done.Task;

        async Task RunAsync()
        {
            try
            {
                done.SetResult(await work());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }
    }

    private void Run(SendOrPostCallback d, object? state)
    {
        if (_dead.Task.IsCompleted)
        {
            return;
        }

        if (_isPaused)
        {
            _held.Enqueue((d, state));
            return;
        }

        var before = Current;
        SetSynchronizationContext(this);
        try
        {
            d(state);
        }
        finally
        {
            SetSynchronizationContext(before);
        }
    }
}
