using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>A machine of a cluster: its device, its clocks, and the process that runs on it, or none.</summary>
internal sealed class ClusterHost : IDisposable
{
    private readonly Simulation _simulation;
    private readonly SimulatedNetwork _network;
    private readonly SimulatedHost _machine;
    private readonly IReadOnlyList<PeerAddress> _peers;

    public ClusterHost(Simulation simulation, SimulatedNetwork network, Random random, int number, int hosts)
    {
        (_simulation, _network, Number, Id) = (simulation, network, number, IdOf(number));
        _peers = [.. Enumerable.Range(0, hosts).Where(other => other != number).Select(other => new PeerAddress(IdOf(other), $"host {other}"))];

        // Any two differ by less than what a lease allows for.
        var rate = 1 + ((random.NextDouble() - 0.5) * 0.0098);
        _machine = new SimulatedHost(simulation, random, new MemoryDevice(EngineHarness.DeviceBytes))
        {
            HostId = Id,
            Dialer = network.DialerOf(Id),
            Time = new HostClock(simulation.Time, rate, TimeSpan.FromSeconds(random.Next(-120, 120))),
        };
        Context = new HostContext(simulation);
    }

    public int Number { get; }

    public Id160 Id { get; }

    /// <summary>The process that runs, or ran last.</summary>
    public HostContext Context { get; private set; }

    /// <summary>True while a process runs that has opened its device; it may be stopped (<see cref="HostContext.IsPaused"/>).</summary>
    public bool IsUp { get; private set; }

    public StorageEngine Engine => _machine.Engine;

    public MemoryDevice Device => _machine.Device;

    public IReadOnlyList<EngineEvent> Events => _machine.Events;

    public PlantedBug Planted
    {
        set => _machine.Planted = value;
    }

    public static Id160 IdOf(int number) => new([.. Enumerable.Repeat((byte)(number + 1), Id160.Size)]);

    /// <summary>Starts a process.</summary>
    public async Task StartAsync()
    {
        var context = Context = new HostContext(_simulation);
        _machine.Spawn = context.Spawn;
        Assert.True(await context.CallAsync(async () =>
        {
            var isOpen = await _machine.TryOpenAsync();
            var hub = _machine.Engine.Replication;
            _network.Listen(Id, context, channel => hub.ServeAsync(channel, CancellationToken.None));
            hub.SetPeers(_peers);
            return isOpen;
        }));
        IsUp = true;
    }

    /// <summary>The process is killed, or the power goes.</summary>
    public async Task EndAsync(End end)
    {
        IsUp = false;
        Context.Kill();
        _network.Silence(Id);
        await _machine.EndAsync(end, stopFirst: false);
    }

    /// <summary>Stops the process in order.</summary>
    public async Task StopAsync()
    {
        var engine = Engine;
        IsUp = false;
        await Context.CallAsync(async () =>
        {
            await engine.DisposeAsync();
            return true;
        });
        _network.Silence(Id);
        Context.Kill();
    }

    /// <summary>Asks the process for something; false when it was killed before it answered.</summary>
    public async Task<(bool IsAnswered, T Answer)> AskAsync<T>(Func<StorageEngine, Task<T>> ask)
    {
        var (context, engine) = (Context, Engine);
        var asked = context.CallAsync(() => ask(engine));
        await Task.WhenAny(asked, context.Dead);
        return asked.IsCompleted ? (true, await asked) : (false, default!);
    }

    public GroupStatus? GroupOf(Id160 disk) => IsUp ? Engine.Replication.GetGroup(disk) : null;

    public Disk? DiskOf(Id160 disk) => IsUp ? Engine.Services.Disks.ById(disk) : null;

    public override string ToString() => $"host {Number}" + (!IsUp ? " (down)" : Context.IsPaused ? " (stopped)" : "");

    public void Dispose()
    {
        Context.Kill();
        _machine.Dispose();
    }
}

/// <summary>First entries of disks, as a replicator seals them.</summary>
internal static class FirstEntries
{
    public static (byte[] Entry, Id160 Secret) Seal(
        IReadOnlyList<Replica> replicas, Id160 primary, ulong size, Durability durability, Random random)
    {
        var bytes = new byte[Id160.Size];
        random.NextBytes(bytes);
        var secret = new Id160(bytes);
        var body = new ViewBody
        {
            View = EntryHashes.ViewOf(secret),
            Epoch = 1,
            Primary = primary,
            Replicas = replicas,
            Attributes = AttributesBody.Empty.WithSize(size).WithDurability(durability),
        }.ToBytes();
        var pages = new List<PageRecord>();
        for (var at = 0; at < body.Length; at += EntryLayout.PageSize)
        {
            pages.Add(PageRecord.Of(body.AsSpan(at, Math.Min(EntryLayout.PageSize, body.Length - at))));
        }

        var entry = new byte[EntrySealer.HeaderLength(0, pages.Count) + body.Length];
        var done = EntrySealer.Seal(
            new EntryDraft
            {
                Kind = EntryKind.View,
                Lsn = 1,
                Secret = secret,
                TimeMicros = 1_767_225_600_000_000,
                Pages = pages.ToArray(),
            },
            entry);
        body.CopyTo(entry.AsSpan(done.HeaderLength));
        return (entry, secret);
    }
}
