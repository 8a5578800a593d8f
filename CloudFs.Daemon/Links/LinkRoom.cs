using System.Net.Sockets;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Links;

/// <summary>
/// The links that other hosts dialled: so many and no more, each served until it ends or the daemon stops. They do not count among
/// the connections of HTTP. Any thread.
/// </summary>
internal sealed partial class LinkRoom(Func<IPeerChannel, CancellationToken, Task> serve, ILogger logger, CancellationToken stopping)
{
    /// <summary>Bigger: a flood holds more threads, two each. Smaller: a cluster of as many hosts is not served.</summary>
    public const int MaxLinks = 256;

    private int _open;
    private long _served;

    public int Open => Volatile.Read(ref _open);

    /// <summary>Links that began; monotonic.</summary>
    public long Served => Interlocked.Read(ref _served);

    /// <summary>
    /// Takes a connection whose first bytes, still to be received, ask for a link; false where the HTTP server is to answer: it says why.
    /// </summary>
    public bool TryTake(Socket socket, int headLength)
    {
        if (stopping.IsCancellationRequested || !TryEnter())
        {
            return false;
        }

        _ = TakeAsync(socket, headLength);
        return true;
    }

    /// <summary>
    /// Takes a place for a link; false where there is none. It is given back by <see cref="ServeAsync"/> or <see cref="Leave"/>.
    /// </summary>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref _open) <= MaxLinks)
        {
            return true;
        }

        Leave();
        return false;
    }

    /// <summary>Gives back the place of a link that never began.</summary>
    public void Leave() => Interlocked.Decrement(ref _open);

    /// <summary>Serves a link for which <see cref="TryEnter"/> found room, and leaves.</summary>
    public async Task ServeAsync(IPeerChannel channel)
    {
        Interlocked.Increment(ref _served);
        try
        {
            await serve(channel, stopping);
        }
        catch (Exception ended) when (ended is IOException or OperationCanceledException)
        {
            Ended(logger, channel.Address, ended.Message);
        }
        catch (Exception unexpected)
        {
            Unexpected(logger, unexpected, channel.Address);
        }
        finally
        {
            await channel.DisposeAsync();
            Leave();
        }
    }

    /// <summary>Waits until every link has ended, which they do once the daemon stops.</summary>
    public async Task StopAsync(TimeSpan patience)
    {
        var until = Environment.TickCount64 + (long)patience.TotalMilliseconds;
        while (Open > 0 && Environment.TickCount64 < until)
        {
            await Task.Delay(10);
        }
    }

    private async Task TakeAsync(Socket socket, int headLength)
    {
        SocketChannel? channel = null;
        try
        {
            channel = Accept(socket, headLength);
        }
        catch (Exception failed) when (failed is SocketException or IOException or OutOfMemoryException)
        {
            Ended(logger, "a host that dialled", failed.Message);
        }

        if (channel is null)
        {
            Leave();
            socket.Dispose();
            return;
        }

        await ServeAsync(channel);
    }

    private static SocketChannel? Accept(Socket socket, int headLength)
    {
        // It was looked at, and is here: this does not wait.
        var peer = new PeerSocket(socket);
        return peer.ReceiveAll(new byte[headLength]) && peer.SendAll(LinkHeads.Accepted) ? new SocketChannel(socket, default) : null;
    }

    [LoggerMessage(LogLevel.Debug, "a link ended")]
    private static partial void Ended(ILogger logger, string peer, string reason);

    [LoggerMessage(LogLevel.Error, "a link ended by an error that nobody expected")]
    private static partial void Unexpected(ILogger logger, Exception exception, string peer);
}
