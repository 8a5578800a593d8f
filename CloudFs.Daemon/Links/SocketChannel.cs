using System.Net.Sockets;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Links;

/// <summary>
/// A link over a socket of its own, which no event loop knows of. Both calls do at once what can be done at once, and else hand it to a
/// thread that waits in the kernel; the receiving one looks out for bytes for up to 50 µs before it sleeps, if the last came as
/// quickly. What awaits
/// <see cref="ReceiveAsync"/> goes on on that thread: it should not block there for long. Cancelling either call breaks the channel.
/// </summary>
internal sealed class SocketChannel : IPeerChannel
{
    private readonly PeerSocket _socket;
    private readonly LinkLane _receiving;
    private readonly Lock _lock = new();
    private LinkLane? _sending;
    private ReadOnlyMemory<byte> _early;
    private Watch _receiveWatch;
    private Watch _sendWatch;
    private volatile bool _isDisposed;

    /// <param name="socket">Connected, and never used asynchronously; the channel's from now on.</param>
    /// <param name="early">Bytes of the link that came with the answer's head.</param>
    public SocketChannel(Socket socket, ReadOnlyMemory<byte> early)
    {
        _socket = new PeerSocket(socket);
        _early = early;
        Address = _socket.Peer;
        _receiving = new LinkLane("link-in", (_, room) => _socket.Receive(room.Span));
        _receiving.Start();
    }

    public string Address { get; }

    public ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation)
    {
        if (destination.IsEmpty)
        {
            throw new ArgumentException("there must be room for a byte", nameof(destination));
        }

        if (!_early.IsEmpty)
        {
            var count = Math.Min(_early.Length, destination.Length);
            _early[..count].CopyTo(destination);
            _early = _early[count..];
            return new(count);
        }

        Enter(ref _receiveWatch, cancellation);
        var here = _socket.TryReceive(destination.Span);
        return here > 0 ? new(here)
            : here < 0 ? Checked(_receiving.AskAsync(default, destination), cancellation)
            : new(Ended(cancellation));
    }

    public async ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        Enter(ref _sendWatch, cancellation);
        while (!bytes.IsEmpty)
        {
            var sent = (int)_socket.TrySend(bytes.Span);
            if (sent == -SocketCalls.WouldBlock)
            {
                // The other end is slower: this waits on a thread of its own, and then sends all.
                sent = await Sending().AskAsync(bytes, default) == 0 ? bytes.Length : -1;
            }

            if (sent <= 0)
            {
                cancellation.ThrowIfCancellationRequested();
                throw new IOException($"the connection to {Address} broke");
            }

            bytes = bytes[sent..];
        }
    }

    public ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_isDisposed)
            {
                return ValueTask.CompletedTask;
            }

            _isDisposed = true;
            _sending?.Dispose();
        }

        // Whoever waits in a call is woken; the descriptor stays until the last of them has left.
        _socket.Abort();
        _receiving.Dispose();
        _receiveWatch.Dispose();
        _sendWatch.Dispose();
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    private static async ValueTask<int> AwaitAsync(ValueTask<int> receiving, CancellationToken cancellation)
    {
        var received = await receiving;
        return received > 0 ? received : Ended(cancellation);
    }

    private static int Ended(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return 0;
    }

    private static ValueTask<int> Checked(ValueTask<int> receiving, CancellationToken cancellation) =>
        cancellation.CanBeCanceled ? AwaitAsync(receiving, cancellation) : receiving;

    private void Enter(ref Watch watch, CancellationToken cancellation)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        cancellation.ThrowIfCancellationRequested();
        if (watch.Token != cancellation)
        {
            watch.Dispose();
            var registration = cancellation.UnsafeRegister(static socket => ((PeerSocket)socket!).Abort(), _socket);
            watch = new Watch(registration, cancellation);
        }
    }

    private LinkLane Sending()
    {
        lock (_lock)
        {
            if (_isDisposed)
            {
                throw new IOException($"the connection to {Address} was closed");
            }

            if (_sending is null)
            {
                _sending = new LinkLane("link-out", (bytes, _) => _socket.SendAll(bytes.Span) ? 0 : -1);
                _sending.Start();
            }

            return _sending;
        }
    }

    /// <summary>Callers use one token again and again: it is watched once.</summary>
    private readonly struct Watch(CancellationTokenRegistration registration, CancellationToken token)
    {
        public CancellationToken Token { get; } = token;

        public void Dispose() => registration.Unregister();
    }
}
