using System.Net.Sockets;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Nbd;

/// <summary>
/// Accepts on one socket until it is disposed of. Nothing else ends the loop: whatever goes wrong is logged and tried
/// again after a pause, and when descriptors have run out a handshake is closed to get one back.
/// </summary>
internal sealed class NbdListener(
    Socket socket, string address, IExportCatalog catalog, ConnectionTable table, ServerServices services)
    : IAsyncDisposable
{
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private readonly LogThrottle _failures = new();
    private Task _loop = Task.CompletedTask;

    /// <summary>Where it listens, as a client would write it.</summary>
    public string Address => address;

    public void Start() => _loop = AcceptAllAsync();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        socket.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAllAsync()
    {
        var pause = ShortestPause;
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                Take(await socket.AcceptAsync(_stop.Token));
                pause = ShortestPause;
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                await RecoverAsync(e, pause);
                pause = pause * 2 > LongestPause ? LongestPause : pause * 2;
            }
        }
    }

    private void Take(Socket accepted)
    {
        NbdConnection? connection = null;
        var isAdded = false;
        try
        {
            connection = new NbdConnection(new PeerSocket(accepted), catalog, table, services);
            isAdded = table.TryAdd(connection);
            if (isAdded)
            {
                connection.Start();
                return;
            }
        }
        catch (SocketException)
        {
            // The peer was gone before its socket could be set up.
        }
        catch when (isAdded)
        {
            table.Remove(connection!);
            accepted.Dispose();
            throw;
        }

        accepted.Dispose();
    }

    private async Task RecoverAsync(Exception e, TimeSpan pause)
    {
        var reason = e.Message;
        if (e is SocketException { SocketErrorCode: SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable }
            or OutOfMemoryException)
        {
            table.TryCloseOldest("the server ran out of descriptors or threads");
        }

        if (_failures.TryPass(out var untold))
        {
            services.Log.AcceptFailed(address, reason, untold);
        }

        try
        {
            await Task.Delay(pause, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // Stopping; the loop sees it.
        }
    }
}
