using System.Net;
using System.Net.Sockets;
using CloudFs.Core.Engine;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Transmission;

namespace CloudFs.Daemon.Nbd;

/// <summary>
/// Serves the disks of an engine over NBD, on TCP and on a Unix socket (docs/protocol/nbd.md). Each connection is held
/// to its own limits: one that floods, stalls or breaks the protocol costs the others nothing.
/// </summary>
public sealed class NbdServer : IAsyncDisposable
{
    // The kernel's own limit unless it was changed; it cuts what is more. A full backlog turns honest clients away.
    private const int Backlog = 4096;

    private static readonly string[] KindNames =
        ["read", "write", "disconnect", "flush", "trim", "cache", "write_zeroes", "block_status", "other"];

    // How long connections that were broken off may take to notice.
    private static readonly TimeSpan AfterAbort = TimeSpan.FromMilliseconds(500);

    private readonly IExportCatalog _catalog;
    private readonly NbdServerOptions _asked;
    private readonly ServerServices _services;
    private readonly ConnectionTable _table;
    private readonly List<NbdListener> _listeners = [];
    private bool _isStopped;

    /// <param name="engine">Whose disks are served.</param>
    /// <param name="options">Where, and within which limits.</param>
    /// <param name="logger">Told one line an event.</param>
    public NbdServer(StorageEngine engine, NbdServerOptions options, ILogger<NbdServer> logger)
        : this(new EngineCatalog(engine), options, logger)
    {
    }

    internal NbdServer(IExportCatalog catalog, NbdServerOptions options, ILogger logger)
    {
        _catalog = catalog;
        _asked = options;
        options = options.FitTo(SocketCalls.DescriptorLimit());
        _services = new ServerServices(options, logger);
        _table = new ConnectionTable(options);
    }

    /// <summary>Where it listens: "127.0.0.1:10809", "[::1]:10809", "unix:/path". Empty before the start.</summary>
    public IReadOnlyList<string> Addresses => [.. _listeners.Select(l => l.Address)];

    internal ServerServices Services => _services;

    /// <summary>
    /// Begins to listen; when it returns, clients can connect. Throws <see cref="IOException"/> with one clear line
    /// when an address can't be had; then nothing is listening.
    /// </summary>
    public async Task StartAsync(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        try
        {
            foreach (var endpoint in _services.Options.Endpoints)
            {
                var socket = ListenOnTcp(endpoint);
                AddListener(socket, socket.LocalEndPoint!.ToString()!);
            }

            if (_services.Options.UnixSocketPath is { } path)
            {
                AddListener(UnixSocketFile.Listen(path, Backlog), $"unix:{path}");
            }
        }
        catch
        {
            await CloseListenersAsync();
            throw;
        }

        if (_services.Options != _asked)
        {
            _services.Log.FewDescriptors(
                SocketCalls.DescriptorLimit(), _services.Options.MaxConnections, _services.Options.MaxHandshakes);
        }

        foreach (var listener in _listeners)
        {
            listener.Start();
            _services.Log.Listening(listener.Address);
        }
    }

    /// <summary>
    /// Stops: takes no more connections and no more requests, lets those under way end and their replies leave, and
    /// closes. What has not ended after <paramref name="grace"/> is broken off.
    /// </summary>
    public async Task StopAsync(TimeSpan grace)
    {
        if (_isStopped)
        {
            return;
        }

        _isStopped = true;
        await CloseListenersAsync();
        var ended = _table.Stop();
        var broken = 0;
        if (await Task.WhenAny(ended, Task.Delay(grace)) != ended)
        {
            broken = _table.AbortAll();
            await Task.WhenAny(ended, Task.Delay(AfterAbort));
        }

        _table.Dispose();
        _services.Log.Stopped(broken);
    }

    /// <summary>What it has done and does, as of now.</summary>
    public NbdMetrics GetMetrics()
    {
        var sum = _table.Sum();
        var (established, handshakes, accepted) = _table.Counts;
        return new NbdMetrics
        {
            Connections = established,
            Handshakes = handshakes,
            Accepted = accepted,
            Refused = _services.Refused,
            ProtocolErrors = _services.ProtocolErrors,
            Requests = Enumerable.Range(0, NbdCounters.Kinds).ToDictionary(k => KindNames[k], sum.Requests),
            BytesRead = sum.BytesRead,
            BytesWritten = sum.BytesWritten,
            Errors = sum.Errors,
            SharedBytes = _services.Shared.Used,
            InFlight = _table.InFlight(),
            Latencies = _services.Latencies.Requests(),
            Parse = _services.Latencies.Parse.Read(),
            Reply = _services.Latencies.Reply.Read(),
        };
    }

    /// <summary>Stops without grace, unless <see cref="StopAsync"/> came before.</summary>
    public async ValueTask DisposeAsync() => await StopAsync(TimeSpan.Zero);

    private static Socket ListenOnTcp(IPEndPoint endpoint)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(endpoint);
            socket.Listen(Backlog);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"can't listen on {endpoint} for NBD: {e.Message}", e);
        }
    }

    private void AddListener(Socket socket, string address) =>
        _listeners.Add(new NbdListener(socket, address, _catalog, _table, _services));

    private async Task CloseListenersAsync()
    {
        foreach (var listener in _listeners)
        {
            await listener.DisposeAsync();
        }

        _listeners.Clear();
    }
}
