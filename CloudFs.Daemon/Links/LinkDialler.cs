using System.Net;
using System.Net.Sockets;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Links;

/// <summary>
/// Dials other daemons: connects, asks for the upgrade, and gives the connection as a channel. It dials what it is told and nothing
/// else: the hub asks for hosts that the replicator named. Each step has three seconds. Any thread.
/// </summary>
internal sealed class LinkDialler : IPeerDialer
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    public async ValueTask<IPeerChannel> DialAsync(PeerAddress peer, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(Patience * 2);
        try
        {
            var endPoint = await ResolveAsync(peer.Address, patience.Token);

            // A thread of its own: the socket must never be used asynchronously, and a connect may take its three seconds.
            return await Task.Factory.StartNew(
                () => Dial(endPoint, peer.Address, patience.Token), CancellationToken.None, TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new IOException($"{peer.Address} has not answered within {Patience.TotalSeconds:0} s");
        }
    }

    private static async ValueTask<IPEndPoint> ResolveAsync(string address, CancellationToken cancellation)
    {
        if (IPEndPoint.TryParse(address, out var endPoint) && endPoint.Port > 0)
        {
            return endPoint;
        }

        var colon = address.LastIndexOf(':');
        if (colon <= 0 || !ushort.TryParse(address.AsSpan(colon + 1), out var port) || port == 0)
        {
            throw new IOException($"'{address}' is no address with a port, such as 127.0.0.1:8090");
        }

        try
        {
            var found = await Dns.GetHostAddressesAsync(address[..colon], cancellation);
            return found.Length > 0 ? new IPEndPoint(found[0], port) : throw new IOException($"{address[..colon]} has no address");
        }
        catch (SocketException unknown)
        {
            throw new IOException($"{address[..colon]} has no address: {unknown.Message}", unknown);
        }
    }

    private static SocketChannel Dial(IPEndPoint endPoint, string address, CancellationToken cancellation)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            using (var late = new CancellationTokenSource(Patience))
            using (late.Token.UnsafeRegister(static connecting => ((Socket)connecting!).Dispose(), socket))
            using (cancellation.UnsafeRegister(static connecting => ((Socket)connecting!).Dispose(), socket))
            {
                socket.Connect(endPoint);
            }

            var early = Upgrade(new PeerSocket(socket), address, cancellation);
            return new SocketChannel(socket, early);
        }
        catch (Exception failed) when (failed is SocketException or ObjectDisposedException)
        {
            socket.Dispose();
            cancellation.ThrowIfCancellationRequested();
            throw new IOException(
                failed is SocketException { SocketErrorCode: not SocketError.OperationAborted } broken ? broken.Message
                    : $"no connection within {Patience.TotalSeconds:0} s", failed);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Asks for the link, and gives the bytes that came behind the answer.</summary>
    private static ReadOnlyMemory<byte> Upgrade(PeerSocket socket, string address, CancellationToken cancellation)
    {
        if (!socket.SendAll(LinkHeads.Request(address)))
        {
            throw new IOException("it closed the connection");
        }

        var head = new byte[LinkHeads.MaxBytes];
        var count = 0;
        var until = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
        while (true)
        {
            var left = until - Environment.TickCount64;
            cancellation.ThrowIfCancellationRequested();
            if (left <= 0 || !socket.WaitForBytes(TimeSpan.FromMilliseconds(left)))
            {
                throw new IOException($"no answer within {Patience.TotalSeconds:0} s");
            }

            var received = socket.Receive(head.AsSpan(count));
            if (received == 0)
            {
                throw new IOException("it closed the connection without an answer");
            }

            count += received;
            var length = LinkHeads.LengthOfAnswer(head.AsSpan(0, count), out var refusal);
            if (refusal is not null)
            {
                throw new IOException(refusal);
            }

            if (length > 0)
            {
                return head.AsMemory(length, count - length);
            }
        }
    }
}
