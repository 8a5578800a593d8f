using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using CloudFs.Daemon.Nbd.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace CloudFs.Daemon.Links;

/// <summary>
/// Listens in place of the HTTP server's own transport, and looks at the first bytes of each connection: one that asks for a link is
/// served on its bare socket, by a thread that waits in the kernel; every other goes to the HTTP server, untouched. A link's latency is
/// each replicated
/// write's, and through the server's event loop, pipes and pool a round trip takes several times as long.
/// </summary>
internal sealed class LinkDoor(LinkRoom links, ILoggerFactory log) : IConnectionListenerFactory
{
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(endpoint);
            socket.Listen(DoorListener.Backlog);
        }
        catch (SocketException taken)
        {
            socket.Dispose();
            throw new IOException(taken.Message, taken);
        }

        var door = new DoorListener(socket, links, log);
        door.Start();
        return new(door);
    }

    private sealed class DoorListener : IConnectionListener
    {
        // As the server's own transport has it.
        public const int Backlog = 512;

        // So many are looked at beside each other; what comes beyond goes to the server at once.
        private const int MaxLooking = 256;

        private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(10);
        private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

        // One that dials sends its request right behind the connect. Whoever says nothing for so long is not worth the wait.
        private static readonly TimeSpan[] Looks =
        [TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(4), TimeSpan.FromMilliseconds(20)];

        private readonly Socket _socket;
        private readonly LinkRoom _links;
        private readonly ILogger _logger;
        private readonly SocketConnectionContextFactory _factory;
        private readonly CancellationTokenSource _stop = new();

        // The server takes them at once, and turns away what it has no room for.
        private readonly Channel<ConnectionContext> _ready = Channel.CreateBounded<ConnectionContext>(MaxLooking);
        private Task _accepting = Task.CompletedTask;
        private int _looking;

        public DoorListener(Socket socket, LinkRoom links, ILoggerFactory log)
        {
            _socket = socket;
            _links = links;
            _logger = log.CreateLogger<LinkDoor>();
            _factory = new SocketConnectionContextFactory(new SocketConnectionFactoryOptions(), _logger);
            EndPoint = socket.LocalEndPoint!;
        }

        public EndPoint EndPoint { get; }

        public void Start() => _accepting = AcceptAllAsync();

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            while (await _ready.Reader.WaitToReadAsync(cancellationToken))
            {
                if (_ready.Reader.TryRead(out var connection))
                {
                    return connection;
                }
            }

            return null;
        }

        public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            await _stop.CancelAsync();
            _socket.Dispose();
            await _accepting;
            _ready.Writer.TryComplete();
        }

        public async ValueTask DisposeAsync()
        {
            await UnbindAsync();
            while (_ready.Reader.TryRead(out var connection))
            {
                await connection.DisposeAsync();
            }

            _factory.Dispose();
        }

        private async Task AcceptAllAsync()
        {
            var pause = ShortestPause;
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    var accepted = await _socket.AcceptAsync(_stop.Token);
                    pause = ShortestPause;
                    Sort(accepted);
                }
                catch (Exception ended) when (_stop.IsCancellationRequested
                    && ended is OperationCanceledException or SocketException or ObjectDisposedException)
                {
                    return;
                }
                catch (SocketException failed)
                {
                    // Descriptors have run out, or a client was gone before it was let in.
                    _logger.AcceptFailed(EndPoint, failed.Message);
                    await Task.Delay(pause);
                    pause = pause * 2 > LongestPause ? LongestPause : pause * 2;
                }
            }
        }

        private void Sort(Socket accepted)
        {
            if (Interlocked.Increment(ref _looking) > MaxLooking)
            {
                Interlocked.Decrement(ref _looking);
                _ = PassOnAsync(accepted);
                return;
            }

            _ = LookAsync(accepted);
        }

        private async Task LookAsync(Socket accepted)
        {
            try
            {
                var taken = Look(accepted);
                for (var i = 0; taken is null && i < Looks.Length; i++)
                {
                    await Task.Delay(Looks[i]);
                    taken = Look(accepted);
                }

                if (taken == true)
                {
                    return;
                }
            }
            finally
            {
                Interlocked.Decrement(ref _looking);
            }

            await PassOnAsync(accepted);
        }

        /// <summary>True where it became a link, false where it is none, null where not enough has come to tell.</summary>
        private bool? Look(Socket accepted)
        {
            Span<byte> head = stackalloc byte[1024];
            var count = SocketCalls.TryPeek(accepted.SafeHandle, head);
            if (count == -SocketCalls.WouldBlock)
            {
                return null;
            }

            var length = count <= 0 ? 0 : LinkHeads.LengthOfRequest(head[..count]);
            return length > 0 && _links.TryTake(accepted, length);
        }

        private async Task PassOnAsync(Socket accepted)
        {
            try
            {
                accepted.NoDelay = true;
                await _ready.Writer.WriteAsync(_factory.Create(accepted), _stop.Token);
            }
            catch (Exception gone) when (
            gone is SocketException or ObjectDisposedException or OperationCanceledException or ChannelClosedException)
            {
                // The client left before it said anything, or the daemon stops.
                accepted.Dispose();
            }
        }
    }
}

/// <summary>What the door has to say.</summary>
internal static partial class DoorLog
{
    [LoggerMessage(LogLevel.Warning, "a connection could not be accepted")]
    public static partial void AcceptFailed(this ILogger logger, EndPoint address, string reason);
}
