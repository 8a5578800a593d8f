using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Replication;

/// <summary>Several hosts with an engine each, on one simulated network.</summary>
internal sealed class ClusterRig : IDisposable
{
    private readonly Simulation _simulation;
    private readonly Random _random;
    private readonly List<SimulatedHost> _hosts = [];
    private readonly HashSet<int> _down = [];

    public ClusterRig(Simulation simulation, int seed, int hosts)
    {
        _simulation = simulation;
        _random = new Random(seed);
        Network = new LoopNetwork(simulation, _random);
        for (var i = 0; i < hosts; i++)
        {
            var id = IdOf(i);
            _hosts.Add(new SimulatedHost(simulation, _random, new MemoryDevice(EngineHarness.DeviceBytes))
            {
                HostId = id,
                Dialer = Network.DialerOf(id),
            });
        }
    }

    public static CancellationToken None => CancellationToken.None;

    public LoopNetwork Network { get; }

    public StorageEngine this[int host] => _hosts[host].Engine;

    public SimulatedHost Host(int host) => _hosts[host];

    public static Id160 IdOf(int host) => new([.. Enumerable.Repeat((byte)(host + 1), Id160.Size)]);

    public async Task StartAsync()
    {
        for (var i = 0; i < _hosts.Count; i++)
        {
            await StartAsync(i);
        }
    }

    public async Task StartAsync(int host)
    {
        await _hosts[host].OpenAsync();
        _down.Remove(host);
        var engine = _hosts[host].Engine;
        Network.Listen(IdOf(host), channel => engine.Replication.ServeAsync(channel, None));
        engine.Replication.SetPeers([.. Enumerable.Range(0, _hosts.Count).Where(other => other != host)
            .Select(other => new PeerAddress(IdOf(other), $"host{other}"))]);
    }

    public async Task EndAsync(int host, End end)
    {
        Network.Silence(IdOf(host));
        _down.Add(host);
        await _hosts[host].EndAsync(end, stopFirst: false);
    }

    /// <summary>Ends all in order.</summary>
    public async Task StopAsync()
    {
        for (var i = 0; i < _hosts.Count; i++)
        {
            if (!_down.Contains(i))
            {
                await _hosts[i].Engine.DisposeAsync();
            }
        }
    }

    /// <summary>Makes a disk on these hosts; the first is its primary. Those in <paramref name="witnesses"/> hold no data.</summary>
    public async Task<Disk> CreateAsync(int[] hosts, int[]? witnesses = null, Durability durability = Durability.Flush, int[]? only = null)
    {
        var replicas = hosts.Select(host => new Replica(IdOf(host), this[host].DeviceId, Witness: witnesses?.Contains(host) ?? false)).ToArray();
        var (entry, secret) = FirstEntry.Make(replicas, IdOf(hosts[0]), DiskSpec.DefaultSizeBytes, durability, _random);
        foreach (var host in only ?? hosts)
        {
            await this[host].Replication.CreateAsync(entry, host == hosts[0] ? secret : null, None);
        }

        var found = this[hosts[0]].Services.Disks.ById(new Id160(entry.AsSpan(EntryLayout.IdOffset, Id160.Size)));
        Assert.NotNull(found);
        if (only is null)
        {
            await UntilAsync(() => this[hosts[0]].Replication.GetGroup(found.Id)?.State == GroupState.Serving, "it is served");
        }

        return found;
    }

    public Disk DiskOn(int host, Id160 disk) => this[host].Services.Disks.ById(disk) ?? throw new InvalidOperationException("it is not there");

    /// <summary>Waits, on the simulated clock, until something holds.</summary>
    public async Task UntilAsync(Func<bool> holds, string what, double seconds = 60)
    {
        var until = _simulation.Time.GetTimestamp() + (long)(seconds * _simulation.Time.TimestampFrequency);
        while (!holds())
        {
            Assert.True(_simulation.Time.GetTimestamp() < until, $"not within {seconds} s: {what}; {Describe()}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), _simulation.Time);
        }
    }

    public Task PassAsync(double seconds) => Task.Delay(TimeSpan.FromSeconds(seconds), _simulation.Time);

    public string Describe() => string.Join("; ", _hosts.Where((_, host) => !_down.Contains(host)).Select(host =>
        $"{host.Engine.HostId.ToString()[..2]} ({host.Engine.Replication.LinkCount} links): " + string.Join(", ", host.Engine.Replication.GetGroups().Select(group =>
            $"{group.Role}/{group.State} {group.Ballot.Epoch}@{group.Durable.Lsn} committed {group.Committed} ({group.Reason}) "
            + string.Join(" ", group.Replicas.Select(replica => $"[{replica.Replica.Host.ToString()[..2]} {replica.State} {replica.Lsn} {replica.Reason}]"))))
            + string.Join(" | ", host.Events.Select(told => told.Message))));

    /// <summary>Every host shows the same newest version, and holds the same bytes.</summary>
    public async Task SameAsync(Id160 disk, ulong bytes, params int[] hosts)
    {
        var first = DiskOn(hosts[0], disk);
        await UntilAsync(() => hosts.All(host => DiskOn(host, disk).Durable == first.Newest), "the heads are equal");
        var expected = new byte[bytes];
        Assert.Equal(IoStatus.Ok, await first.ReadHereAsync(0, expected));
        foreach (var host in hosts[1..])
        {
            var found = new byte[bytes];
            Assert.Equal(IoStatus.Ok, await DiskOn(host, disk).ReadHereAsync(0, found));
            Assert.True(expected.AsSpan().SequenceEqual(found), $"host {host} holds other bytes");
        }
    }

    public void Dispose() => _hosts.ForEach(host => host.Dispose());
}

/// <summary>Makes first entries as a replicator does.</summary>
internal static class FirstEntry
{
    public static (byte[] Entry, Id160 Secret) Make(
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

        var draft = new EntryDraft
        {
            Kind = EntryKind.View,
            Lsn = 1,
            Secret = secret,
            TimeMicros = 1_767_225_600_000_000,
            Pages = pages.ToArray(),
        };
        var entry = new byte[EntrySealer.HeaderLength(0, pages.Count) + body.Length];
        var done = EntrySealer.Seal(draft, entry);
        body.CopyTo(entry.AsSpan(done.HeaderLength));
        return (entry, secret);
    }
}
