using System.Globalization;
using System.Net;
using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Http;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;
using CloudFs.Replicator.Repair;
using CloudFs.Replicator.Store;
using Microsoft.Data.Sqlite;

namespace CloudFs.Replicator.Hosting;

/// <summary>A start that failed for a reason that an operator can do something about: one line, exit 1.</summary>
internal sealed class StartRefusedException(string line) : Exception(line);

/// <summary>
/// The running replicator. Start: (1) the database, (2) HTTP listens, (3) the host's id is settled with the daemon, (4) the loops run
/// and requests are answered. Stop: (1) the loops end, (2) HTTP lets nobody in, (3) the peers are kept.
/// </summary>
internal sealed class ReplicatorProcess : IAsyncDisposable
{
    private const string HostIdFact = "host-id";

    private const string IncarnationFact = "incarnation";

    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan LabelRetry = TimeSpan.FromMilliseconds(250);

    private readonly CancellationTokenSource _stopping = new();
    private readonly HttpCaller _caller = new();
    private readonly EventLog _log;
    private PeerStore? _store;
    private HttpFace? _face;
    private Task _loops = Task.CompletedTask;

    private ReplicatorProcess(EventLog log) => _log = log;

    public IPEndPoint EndPoint => _face!.EndPoint;

    public Node Node { get; private set; } = null!;

    public static async Task<ReplicatorProcess> StartAsync(ReplicatorOptions options, EventLog log, CancellationToken cancellation)
    {
        var process = new ReplicatorProcess(log);
        try
        {
            await process.StartPartsAsync(options, cancellation);
            return process;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    /// <summary>Stops within seconds, whatever others do.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _loops;
        if (_face is not null)
        {
            await _face.StopAsync(StopPatience);
            await _face.DisposeAsync();
        }

        if (Node is not null)
        {
            try
            {
                _store?.SavePeers(Node.Table.ToMessage());
            }
            catch (SqliteException failed)
            {
                _log.Warn($"the peers could not be kept: {failed.Message}; they are learned anew");
            }
        }

        _store?.Dispose();
        _caller.Dispose();
        _stopping.Dispose();
    }

    private async Task StartPartsAsync(ReplicatorOptions options, CancellationToken cancellation)
    {
        try
        {
            _store = PeerStore.Open(options.Database, _log);
            _face = await HttpFace.StartAsync(options.Listen);
        }
        catch (SqliteException failed)
        {
            throw new StartRefusedException($"--db {options.Database} can't be used: {failed.Message}");
        }
        catch (IOException failed)
        {
            throw new StartRefusedException(failed.Message);
        }

        if (options.Insecure)
        {
            _log.Warn($"insecure: whoever reaches {_face.EndPoint} may make, move and drop disks");
        }

        var daemon = new DaemonClient(_caller, options.Daemon);
        var id = await SettleIdAsync(options, daemon, cancellation);
        Node = MakeNode(options, daemon, id);
        if (_store.LoadPeers() is { } known)
        {
            Node.Table.Recall(known.Hosts, known.Marks);
        }

        var daemonLoop = new DaemonLoop(Node);
        await daemonLoop.AskAsync();
        var finder = new DiskFinder(Node);
        _face.Serve(Node, Routes(Node, finder));
        _loops = Task.WhenAll(
            RunAsync("gossip", new GossipLoop(Node, Random.Shared.Next).RunAsync),
            RunAsync("daemon", daemonLoop.RunAsync),
            RunAsync("repair", new RepairLoop(Node).RunAsync));
        _log.Info($"host {id} listens on {_face.EndPoint}, for the daemon at {options.Daemon.Authority}");
    }

    private Node MakeNode(ReplicatorOptions options, DaemonClient daemon, Id160 id)
    {
        var now = (ulong)(TimeProvider.System.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / 10;
        var last = ulong.TryParse(_store!.GetFact(IncarnationFact), NumberStyles.None, CultureInfo.InvariantCulture, out var kept)
            ? kept : 0;
        var incarnation = Math.Max(now, last + 1);
        _store.SetFact(IncarnationFact, incarnation.ToString(CultureInfo.InvariantCulture));
        var self = new HostRecord
        {
            Id = id.ToString(),
            Address = options.Advertise is { } own && !own.EndsWith(":0", StringComparison.Ordinal) ? own : _face!.EndPoint.ToString(),
            Daemon = options.AdvertiseDaemon ?? options.Daemon.Authority,
            Zone = options.Zone,
            Weight = options.Weight ?? 1,
            Witness = options.Witness,
            Incarnation = incarnation,
            Instance = Node.NewSecret().ToString()[..16],
            Beat = 1,
        };
        return new Node
        {
            Options = options,
            Table = new HostTable(self, TimeProvider.System),
            Store = _store,
            Log = _log,
            Daemon = daemon,
            Peers = new PeerClient(_caller),
            Intents = new IntentBook(_store, TimeProvider.System),
            Votes = new VoteBook(TimeProvider.System),
            Stopping = _stopping.Token,
        };
    }

    /// <summary>
    /// The daemon's label counts most; then what was given or kept. A daemon that is down is waited for only where nothing else
    /// names the host: an id made up meanwhile would not be the one on the device. A witness may have no daemon at all.
    /// </summary>
    private async Task<Id160> SettleIdAsync(ReplicatorOptions options, DaemonClient daemon, CancellationToken cancellation)
    {
        var kept = Id160.TryParse(_store!.GetFact(HostIdFact), out var stored) ? stored : (Id160?)null;
        var named = options.HostId is not null || kept is not null || options.Witness;
        var label = await AskLabelAsync(daemon, cancellation);
        for (var told = false; label is null && !named; label = await AskLabelAsync(daemon, cancellation))
        {
            if (!told)
            {
                _log.Warn($"the daemon at {options.Daemon.Authority} does not answer yet: its host id is waited for");
                told = true;
            }

            await Task.Delay(LabelRetry, cancellation);
        }

        if (label is not null && !Id160.TryParse(label, out _))
        {
            throw new StartRefusedException($"the daemon at {options.Daemon.Authority} says that its host id is '{label}', which is none");
        }

        if (label is not null && options.HostId is { } given && given.ToString() != label)
        {
            throw new StartRefusedException(
                $"host id {given} was given, but the daemon at {options.Daemon.Authority} is of host {label}: give that one, or auto");
        }

        var id = label is not null ? Id160.Parse(label) : options.HostId ?? kept ?? Node.NewSecret();
        _store.SetFact(HostIdFact, id.ToString());
        return id;
    }

    private static async Task<string?> AskLabelAsync(DaemonClient daemon, CancellationToken cancellation) =>
        (await daemon.GetHostAsync(cancellation)).Read(HttpContractsJson.Default.HostJson)?.Host;

    private static List<HttpRoute> Routes(Node node, DiskFinder finder)
    {
        var peers = new PeerEndpoints(node);
        var cluster = new ClusterEndpoints(node, finder, new DiskMaker(node, finder));
        return
        [
            new("GET", "/id", peers.GetIdAsync),
            new("GET", "/peers", peers.GetPeersAsync),
            new("PUT", "/log", peers.PutLogAsync),
            new("GET", "/blocks", cluster.RedirectAsync),
            new("PUT", "/blocks", cluster.RedirectAsync),
            new("GET", "/hosts", cluster.GetHostsAsync),
            new("POST", "/gossip", peers.GossipAsync),
            new("GET", "/held", peers.GetHeldAsync),
            new("POST", "/hold", peers.HoldAsync),
            new("POST", "/intent", peers.IntendAsync),
            new("POST", "/unmake", peers.UnmakeAsync),
            new("POST", "/disks", cluster.CreateAsync),
            new("GET", "/disks/", cluster.GetDiskAsync),
            new("POST", "/move", cluster.MoveAsync),
            new("POST", "/replicas", cluster.SetReplicasAsync),
            new("POST", "/drain", cluster.DrainAsync),
            new("POST", "/forget", cluster.ForgetAsync),
            new("GET", "/healthz", cluster.GetHealthAsync),
            new("GET", "/metrics", cluster.GetMetricsAsync),
        ];
    }

    /// <summary>A loop ends when it is told to; one that fails otherwise is told, and begins again after a second.</summary>
    private async Task RunAsync(string name, Func<Task> loop)
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                await loop();
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception unexpected)
            {
                _log.Error($"the loop '{name}' met an error that nobody expected, and begins again: {unexpected}");
                await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None);
            }
        }
    }
}
