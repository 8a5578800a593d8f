using System.Threading.Channels;

namespace CloudFs.Core.Log;

/// <summary>Wakes one loop: any number of sets before it waits are one. Allocates nothing per use.</summary>
internal sealed class AsyncSignal
{
    private readonly Channel<bool> _channel = Channel.CreateBounded<bool>(new BoundedChannelOptions(1)
    {
        SingleReader = true,
        FullMode = BoundedChannelFullMode.DropWrite,
    });

    public void Set() => _channel.Writer.TryWrite(true);

    public ValueTask<bool> WaitAsync(CancellationToken cancellation = default) => _channel.Reader.ReadAsync(cancellation);
}

/// <summary>
/// Wakes everybody who waits for a change. Take <see cref="Task"/> first, then look, then wait for it. A pulse that nobody
/// waits for allocates nothing.
/// </summary>
internal sealed class AsyncBroadcast
{
    /// <summary>What those who came since the last pulse wait for; null for nobody.</summary>
    private TaskCompletionSource? _source;

    /// <summary>Completes at the next <see cref="Pulse"/>.</summary>
    public Task Task
    {
        get
        {
            if (Volatile.Read(ref _source) is { } source)
            {
                return source.Task;
            }

            var fresh = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return (Interlocked.CompareExchange(ref _source, fresh, null) ?? fresh).Task;
        }
    }

    /// <summary>What has changed is to be seen before this: who takes the task after it looks after it.</summary>
    public void Pulse() => Interlocked.Exchange(ref _source, null)?.TrySetResult();
}
