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
    private const string OutOfResources = "the server ran out of descriptors or threads";
    private const int StartTries = 20;

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
                await TakeAsync(await socket.AcceptAsync(_stop.Token));
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

    private async Task TakeAsync(Socket accepted)
    {
        NbdConnection? connection = null;
        var isStarted = false;
        try
        {
            connection = new NbdConnection(new PeerSocket(accepted), catalog, table, services);
            if (table.TryAdd(connection))
            {
                await StartAsync(connection);
                isStarted = true;
            }
        }
        catch (SocketException)
        {
            // The peer was gone before its socket could be set up.
        }
        finally
        {
            if (!isStarted)
            {
                accepted.Dispose();
                if (connection is not null)
                {
                    table.Remove(connection);
                }
            }
        }
    }

    // Where no thread is to be had, older handshakes make room: the newest connection is the likeliest to be honest.
    private async Task StartAsync(NbdConnection connection)
    {
        for (var tries = 1; ; tries++)
        {
            try
            {
                connection.Start();
                return;
            }
            catch (OutOfMemoryException) when (tries < StartTries && table.TryCloseOldest(OutOfResources))
            {
                await Task.Delay(ShortestPause, _stop.Token);
            }
        }
    }

    private async Task RecoverAsync(Exception e, TimeSpan pause)
    {
        var code = (e as SocketException)?.SocketErrorCode;
        if (e is OutOfMemoryException
            || code is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
        {
            table.TryCloseOldest(OutOfResources);
        }

        if (_failures.TryPass(out var untold))
        {
            services.Log.AcceptFailed(address, e.Message, LogThrottle.Tell(untold));
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
