using System.Globalization;
using System.Net;
using CloudFs.Core.Contracts;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Cluster;
using CloudFs.Daemon.Http;
using CloudFs.Daemon.Links;
using CloudFs.Daemon.Nbd;
using CloudFs.Daemon.Nbd.Exports;

namespace CloudFs.Daemon.Hosting;

/// <summary>A start that failed for a reason that an operator can do something about: one line, exit 1.</summary>
internal sealed class StartRefusedException(string line) : Exception(line);

/// <summary>
/// The running daemon: engine, NBD and HTTP over it. Start: (1) the device is opened and recovered, (2) NBD listens,
/// (3) HTTP listens, so that whoever gets an answer there finds NBD served, (4) one line says so. Stop, in the opposite
/// order: (1) NBD and HTTP let nobody in and end what is under way, (2) the engine makes all durable and closes the
/// device.
/// </summary>
internal sealed partial class DaemonProcess : IAsyncDisposable
{
    // What a client that does not let go gets before it is cut off.
    private static readonly TimeSpan ClientPatience = TimeSpan.FromSeconds(2);

    private readonly ILogger<DaemonProcess> _logger;
    private readonly DaemonFacts _facts;
    private readonly HealthBoard _health = new();
    private readonly EngineHost _host;
    private readonly ClusterView _cluster = new();
    private StorageEngine? _engine;
    private NbdServer? _nbd;
    private HttpFace? _http;

    private DaemonProcess(DaemonOptions options, DaemonLog log)
    {
        _host = new EngineHost(options, log.For<EngineHost>(), _health);
        _logger = log.For<DaemonProcess>();
        _facts = new DaemonFacts { Time = TimeProvider.System, DevicePath = Path.GetFullPath(options.DevicePath) };
    }

    public IPEndPoint HttpEndPoint => _http!.EndPoint;

    public StorageEngine Engine => _engine!;

    public static async Task<DaemonProcess> StartAsync(
        DaemonOptions options, DaemonLog log, CancellationToken cancellation)
    {
        var daemon = new DaemonProcess(options, log);
        try
        {
            await daemon.StartPartsAsync(options, log, cancellation);
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    /// <summary>Stops within seconds, whatever the clients do. What they were told is durable is durable.</summary>
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(
            TryAsync("nbd", _nbd?.StopAsync(ClientPatience)), TryAsync("http", _http?.StopAsync(ClientPatience)));
        if (_http is not null)
        {
            await _http.DisposeAsync();
        }

        _cluster.Dispose();
        await TryAsync("engine", _host.DisposeAsync().AsTask());
    }

    private async Task StartPartsAsync(DaemonOptions options, DaemonLog log, CancellationToken cancellation)
    {
        if (options.Insecure)
        {
            Insecure(_logger, options.Http.ToString(), options.Nbd?.ToString() ?? "none");
        }

        try
        {
            _engine = await _host.OpenAsync();
        }
        catch (Exception refused) when (refused is DeviceRefusedException or IOException or UnauthorizedAccessException)
        {
            throw new StartRefusedException(refused.Message);
        }

        cancellation.ThrowIfCancellationRequested();
        try
        {
            await ListenAsync(options, log, cancellation);
        }
        catch (IOException taken)
        {
            throw new StartRefusedException(taken.Message);
        }

        SayReady();
    }

    private async Task ListenAsync(DaemonOptions options, DaemonLog log, CancellationToken cancellation)
    {
        var nbdOptions = new NbdServerOptions
        {
            Endpoints = options.Nbd is { } nbd ? [nbd.EndPoint] : [],
            UnixSocketPath = options.NbdSocket,
        };
        _nbd = new NbdServer(new EngineCatalog(_engine!, _cluster), nbdOptions, log.For<NbdServer>());
        await _nbd.StartAsync(cancellation);
        _facts.Nbd = _nbd.Addresses;
        _http = await HttpFace.StartAsync(options.Http.EndPoint, log, stopping => new HttpServices
        {
            Engine = _engine!,
            Nbd = _nbd,
            Facts = _facts,
            Health = _health,
            Cluster = _cluster,
            Logger = log.For<HttpFace>(),
            Stopping = stopping,
            Links = new LinkRoom(_engine!.Replication.ServeAsync, log.For<HttpFace>(), stopping),
        });
        _facts.Http = _http.EndPoint.ToString();
    }

    private async Task TryAsync(string part, Task? stopping)
    {
        try
        {
            await (stopping ?? Task.CompletedTask);
        }
        catch (Exception failed)
        {
            StopFailed(_logger, failed, part);
        }
    }

    private void SayReady()
    {
        var space = _engine!.GetSpace();
        var recovery = _engine.Recovery;
        Ready(
            _logger, ProductVersion.Text, _facts.DevicePath, _engine.DeviceId.ToString(), _engine.HostId.ToString(),
            SizeText.Format(space.Capacity), SizeText.Format(space.Free), _engine.ListDisks().Count,
            string.Join(',', recovery.Decisions.Select(decision => decision.Code).Distinct()),
            recovery.EntriesRolledForward, recovery.EntriesReplayed,
            ((long)_facts.Uptime.TotalMilliseconds).ToString(CultureInfo.InvariantCulture), _facts.Http,
            string.Join(',', _facts.Nbd));
    }

    [LoggerMessage(LogLevel.Information, "ready")]
    private static partial void Ready(
        ILogger logger, string version, string device, string deviceId, string hostId, string capacity, string free,
        int disks, string recovery, long entriesRolledForward, long entriesReplayed, string startMs, string http,
        string nbd);

    [LoggerMessage(LogLevel.Warning, "--insecure: everybody who reaches these addresses can read, write and delete")]
    private static partial void Insecure(ILogger logger, string http, string nbd);

    [LoggerMessage(LogLevel.Error, "a part did not stop as it should")]
    private static partial void StopFailed(ILogger logger, Exception exception, string part);
}
