using CloudFs.Core.Replication;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>
/// One direction of a connection: bytes arrive after a while, in order. So many may be under way or not yet taken; a sender waits for room, as
/// it does for a socket.
/// </summary>
/// <param name="time">The simulation's time.</param>
/// <param name="delay">How long the next piece takes; asked for each.</param>
/// <param name="isStalled">True while nothing passes: what is under way arrives once it does again.</param>
internal sealed class NetworkPipe(TimeProvider time, Func<TimeSpan> delay, Func<bool> isStalled)
{
    private const int BytesMax = 192 << 10;
    private const int PieceMax = 48 << 10;

    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(40);

    private readonly Queue<(byte[] Bytes, long Due)> _underWay = new();
    private readonly Queue<byte[]> _arrived = new();
    private TaskCompletionSource _changed = New();
    private ITimer? _timer;
    private long _lastDue;
    private int _bytes;
    private int _taken;
    private bool _isBroken;
    private bool _isEnded;

    /// <summary>The connection is cut once so many more bytes arrived; null for never.</summary>
    public int? CutAfter { get; set; }

    /// <summary>Told when it was cut at that byte.</summary>
    public Action? OnCut { get; set; }

    public async ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        while (!bytes.IsEmpty)
        {
            while (_bytes >= BytesMax && !_isBroken && !_isEnded)
            {
                await ChangedAsync(cancellation);
            }

            cancellation.ThrowIfCancellationRequested();
            if (_isBroken || _isEnded)
            {
                throw new IOException("the connection broke");
            }

            var piece = bytes[..Math.Min(bytes.Length, PieceMax)];
            bytes = bytes[piece.Length..];
            _bytes += piece.Length;
            _lastDue = Math.Max(_lastDue, time.GetTimestamp() + (long)(delay().TotalSeconds * time.TimestampFrequency));
            _underWay.Enqueue((piece.ToArray(), _lastDue));
            Schedule();
        }
    }

    public async ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation)
    {
        while (_arrived.Count == 0 && !_isBroken && !(_isEnded && _underWay.Count == 0))
        {
            await ChangedAsync(cancellation);
        }

        cancellation.ThrowIfCancellationRequested();
        if (_isBroken)
        {
            throw new IOException("the connection broke");
        }

        if (_arrived.Count == 0)
        {
            return 0;
        }

        var first = _arrived.Peek();
        var length = Math.Min(destination.Length, first.Length - _taken);
        first.AsSpan(_taken, length).CopyTo(destination.Span);
        _taken += length;
        if (_taken == first.Length)
        {
            _arrived.Dequeue();
            _taken = 0;
        }

        _bytes -= length;
        Pulse();
        return length;
    }

    /// <summary>The connection is gone, with what was under way.</summary>
    public void Break()
    {
        _isBroken = true;
        _timer?.Dispose();
        _timer = null;
        Pulse();
    }

    /// <summary>The sender closes it in order: what is under way arrives still.</summary>
    public void End()
    {
        _isEnded = true;
        Pulse();
    }

    private void Schedule()
    {
        if (_timer is null && _underWay.Count > 0 && !_isBroken)
        {
            var wait = isStalled() ? Retry : TimeSpan.FromMicroseconds(Math.Max(1, _underWay.Peek().Due - time.GetTimestamp()));
            _timer = time.CreateTimer(_ => Arrive(), null, wait, Timeout.InfiniteTimeSpan);
        }
    }

    private void Arrive()
    {
        _timer?.Dispose();
        _timer = null;
        while (!isStalled() && _underWay.TryPeek(out var next) && next.Due <= time.GetTimestamp())
        {
            _underWay.Dequeue();
            if (CutAfter is { } left && left <= next.Bytes.Length)
            {
                // Part of it came; then nothing more.
                CutAfter = null;
                if (left > 0)
                {
                    _arrived.Enqueue(next.Bytes[..left]);
                }

                Pulse();
                OnCut?.Invoke();
                return;
            }

            CutAfter -= next.Bytes.Length;
            _arrived.Enqueue(next.Bytes);
        }

        Pulse();
        Schedule();
    }

    private async ValueTask ChangedAsync(CancellationToken cancellation)
    {
        // Not Task.WaitAsync: that goes by way of another thread, and then a seed gives another order each time.
        using var given = cancellation.Register(Pulse);
        cancellation.ThrowIfCancellationRequested();
        await _changed.Task;
        cancellation.ThrowIfCancellationRequested();
    }

    private void Pulse()
    {
        var changed = _changed;
        _changed = New();
        changed.TrySetResult();
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>One end of a connection.</summary>
internal sealed class NetworkChannel(string address, NetworkPipe receives, NetworkPipe sends) : IPeerChannel
{
    public string Address => address;

    public ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation) =>
        receives.ReceiveAsync(destination, cancellation);

    public ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation) => sends.SendAsync(bytes, cancellation);

    public ValueTask DisposeAsync()
    {
        receives.Break();
        sends.End();
        return ValueTask.CompletedTask;
    }
}
