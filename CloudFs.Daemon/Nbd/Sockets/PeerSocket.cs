using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace CloudFs.Daemon.Nbd.Sockets;

/// <summary>
/// One accepted connection as a blocking byte stream. One thread receives, one at a time sends; anybody may
/// <see cref="Abort"/>. An error of the peer is no exception here: it ends the stream like a close does, because
/// clients come and go by the thousand.
/// </summary>
internal sealed class PeerSocket : IDisposable
{
    // SOL_SOCKET and SO_PEERCRED of Linux.
    private const int SocketLevel = 1;
    private const int PeerCredentials = 17;

    /// <summary>
    /// So long a receiver looks whether bytes are here before it sleeps. A client that sends its next request when it has the
    /// answer to the last does so within this time, and being woken takes as long as the request itself.
    /// </summary>
    private static readonly TimeSpan LookingTime = TimeSpan.FromMicroseconds(50);

    /// <summary>One that lets longer pass is not worth looking out for.</summary>
    private static readonly TimeSpan QuickPeer = TimeSpan.FromMicroseconds(200);

    /// <summary>No more receivers look at a time, of all connections: the clients need processors, too.</summary>
    private static readonly int LookingMax = Math.Max(1, Environment.ProcessorCount / 2);

    /// <summary>A part of a long reply fits in.</summary>
    private const int UnixSendBuffer = 1 << 20;

    private static int _looking;

    private readonly Socket _socket;
    private bool _isQuick;
    private string? _peer;

    public PeerSocket(Socket socket)
    {
        _socket = socket;
        if (socket.AddressFamily == AddressFamily.Unix)
        {
            // Such a socket keeps its first size, by which a long reply would leave in many pieces. The kernel gives what it allows.
            socket.SendBufferSize = UnixSendBuffer;
            return;
        }

        // Without NODELAY the last piece of each reply would wait for the peer's acknowledgement, 40 ms at worst.
        socket.NoDelay = true;

        // A peer that lost power sends nothing; probes find that out within some minutes.
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 60);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 15);
        _peer = socket.RemoteEndPoint?.ToString();
    }

    /// <summary>Who it is, for logs: an address, or the process behind a Unix socket.</summary>
    public string Peer => _peer ??= DescribeLocalPeer();

    /// <summary>Receives at least a byte, waiting for it; 0 when the stream has ended, for whatever reason.</summary>
    public int Receive(Span<byte> into)
    {
        var since = Stopwatch.GetTimestamp();
        try
        {
            if (_isQuick && TryLook(into, since, out var received))
            {
                return received;
            }

            received = Math.Max(0, SocketCalls.Receive(_socket.SafeHandle, into));
            _isQuick = Stopwatch.GetElapsedTime(since) < QuickPeer;
            return received;
        }
        catch (ObjectDisposedException)
        {
            return 0;
        }
    }

    /// <summary>Receives what is here, without waiting: its bytes, 0 at the end of the stream, -1 where nothing is here yet.</summary>
    public int TryReceive(Span<byte> into)
    {
        try
        {
            var received = SocketCalls.TryReceive(_socket.SafeHandle, into);
            return received is -SocketCalls.WouldBlock or -SocketCalls.Interrupted ? -1 : Math.Max(0, received);
        }
        catch (ObjectDisposedException)
        {
            return 0;
        }
    }

    private bool TryLook(Span<byte> into, long since, out int received)
    {
        received = 0;
        if (Interlocked.Increment(ref _looking) > LookingMax)
        {
            Interlocked.Decrement(ref _looking);
            return false;
        }

        try
        {
            do
            {
                received = SocketCalls.TryReceive(_socket.SafeHandle, into);
                if (received is not (-SocketCalls.WouldBlock or -SocketCalls.Interrupted))
                {
                    received = Math.Max(0, received);
                    return true;
                }

                Thread.SpinWait(10);
            }
            while (Stopwatch.GetElapsedTime(since) < LookingTime);

            return false;
        }
        finally
        {
            Interlocked.Decrement(ref _looking);
        }
    }

    /// <summary>Fills the span; false when the stream ends before.</summary>
    public bool ReceiveAll(Span<byte> into)
    {
        while (into.Length > 0)
        {
            var received = Receive(into);
            if (received == 0)
            {
                return false;
            }

            into = into[received..];
        }

        return true;
    }

    /// <summary>Sends what there is room for: the bytes sent, or minus errno.</summary>
    public nint TrySend(ReadOnlySpan<IoVector> pieces)
    {
        try
        {
            return SocketCalls.SendGather(_socket.SafeHandle, pieces);
        }
        catch (ObjectDisposedException)
        {
            return -1;
        }
    }

    /// <summary>The same for a span that need not be pinned.</summary>
    public nint TrySend(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return SocketCalls.TrySend(_socket.SafeHandle, bytes);
        }
        catch (ObjectDisposedException)
        {
            return -1;
        }
    }

    /// <summary>Waits until there is room, or the connection is broken; false when the time is over.</summary>
    public bool WaitForRoom(TimeSpan limit) => Wait(SocketCalls.WaitForRoom, limit);

    /// <summary>Waits until bytes are here, or the stream has ended; false when the time is over.</summary>
    public bool WaitForBytes(TimeSpan limit) => Wait(SocketCalls.WaitForBytes, limit);

    /// <summary>Sends all of the span, waiting; false when the connection is broken.</summary>
    public bool SendAll(ReadOnlySpan<byte> bytes)
    {
        try
        {
            while (bytes.Length > 0)
            {
                var sent = _socket.Send(bytes, SocketFlags.None, out var error);
                if (error != SocketError.Success)
                {
                    return false;
                }

                bytes = bytes[sent..];
            }

            return true;
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>Wakes a receiver: it gets what has arrived, then the end of the stream.</summary>
    public void EndReceiving() => Shutdown(SocketShutdown.Receive);

    /// <summary>Tells the peer that nothing more comes.</summary>
    public void EndSending() => Shutdown(SocketShutdown.Send);

    /// <summary>Breaks the connection from any thread; whoever waits in a call of this socket returns.</summary>
    public void Abort() => Shutdown(SocketShutdown.Both);

    public void Dispose() => _socket.Dispose();

    // Only shut down, never closed, from other threads: a closed descriptor's number could be another socket's by the
    // time a waiting call uses it again.
    private void Shutdown(SocketShutdown how)
    {
        try
        {
            _socket.Shutdown(how);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is broken already, which is what was wanted.
        }
    }

    private bool Wait(Func<SafeHandle, int, bool> wait, TimeSpan limit)
    {
        try
        {
            return wait(_socket.SafeHandle, (int)limit.TotalMilliseconds);
        }
        catch (ObjectDisposedException)
        {
            // The next call says so.
            return true;
        }
    }

    private string DescribeLocalPeer()
    {
        try
        {
            Span<int> credentials = stackalloc int[3];
            _socket.GetRawSocketOption(SocketLevel, PeerCredentials, MemoryMarshal.AsBytes(credentials));
            return $"pid {credentials[0]} of uid {credentials[1]}";
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return "a local process";
        }
    }
}
