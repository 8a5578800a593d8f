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

    public async ValueTask WaitAsync(CancellationToken cancellation = default) =>
        await _channel.Reader.ReadAsync(cancellation);
}

/// <summary>Wakes everybody who waits for a change. Take <see cref="Task"/> first, then look, then wait for it.</summary>
internal sealed class AsyncBroadcast
{
    private TaskCompletionSource _source = New();

    /// <summary>Completes at the next <see cref="Pulse"/>.</summary>
    public Task Task => Volatile.Read(ref _source).Task;

    public void Pulse()
    {
        if (!Volatile.Read(ref _source).Task.IsCompleted)
        {
            Interlocked.Exchange(ref _source, New()).TrySetResult();
        }
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
