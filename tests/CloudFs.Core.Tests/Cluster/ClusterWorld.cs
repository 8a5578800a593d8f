using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>What became of a world.</summary>
internal sealed record ClusterResult(int Seed, ulong Digest, int Acknowledged, int Committed, double Seconds, int FromElsewhere, int Forked);

/// <summary>
/// A cluster, its clients and what befalls it, from a seed. It fails where the rules of PROTOCOL.md are broken, or where it does not come to rest
/// once nothing befalls it any more.
/// </summary>
internal sealed partial class ClusterWorld
{
    /// <summary>The clock must not come this far (simulated seconds) between the last fault and rest.</summary>
    private const double RestSeconds = 120;

    private readonly Simulation _simulation;
    private readonly SimulatedNetwork _network;
    private readonly List<ClusterHost> _hosts = [];
    private readonly List<ClusterDisk> _disks = [];
    private readonly ClusterWatch _watch;
    private readonly Digest _digest = new();
    private readonly List<string> _story = [];
    private readonly PlantedBug _planted;
    private readonly ClusterFaults _faults;
    private ulong _writes;
    private bool _isOver;
    private readonly HashSet<ClusterDisk> _forked = [];

    private ClusterWorld(Simulation simulation, int seed, ClusterFaults faults, PlantedBug planted)
    {
        (_simulation, _faults, _planted) = (simulation, faults, planted);
        Random = new Random(seed);
        _network = new SimulatedNetwork(simulation, new Random(Random.Next()));
        _watch = new ClusterWatch(_network);
    }

    public Random Random { get; }

    /// <summary>True once nothing befalls the cluster any more: clients come to an end.</summary>
    public bool IsQuiet { get; private set; }

    /// <summary>Simulated microseconds.</summary>
    public long Now => _simulation.Time.GetTimestamp();

    /// <summary>Runs a world to its end.</summary>
    public static ClusterResult Run(int seed, ClusterFaults faults = ClusterFaults.All, PlantedBug planted = PlantedBug.None)
    {
        ClusterResult? result = null;
        Simulation.Run(seed, async simulation =>
        {
            var world = new ClusterWorld(simulation, seed, faults, planted);
            try
            {
                await world.RunAsync();
                result = new ClusterResult(
                    seed, world._digest.Value, world._disks.Sum(disk => disk.Acknowledged), world._watch.Seen, world.Now / 1e6,
                    simulation.FromElsewhere, world._forked.Count);

                // How they stop cancels by way of other threads: after what a seed must give again.
                foreach (var host in world._hosts)
                {
                    await host.StopAsync();
                }
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"{e.Message}\n{world.Describe()}\n{string.Join('\n', world._story.TakeLast(60))}\n{world.Complaints()}", e);
            }
            finally
            {
                world._hosts.ForEach(host => host.Dispose());
            }
        });
        return result!;
    }

    public Task PassAsync(int milliseconds) => Task.Delay(TimeSpan.FromMilliseconds(milliseconds), _simulation.Time);

    public ulong NextWrite() => ++_writes;

    public void LookAtFlush(Id160 disk, ClusterHost primary, DiskVersion covered) =>
        ClusterWatch.LookAtFlush(disk, primary, covered, _hosts);

    public void Note(ulong what) => _digest.Add(what);

    /// <summary>A host through which a client may ask; none where no process runs.</summary>
    public ClusterHost? PickUp()
    {
        var up = _hosts.Where(host => host is { IsUp: true, Context.IsPaused: false }).ToList();
        return up.Count == 0 ? null : up[Random.Next(up.Count)];
    }

    /// <summary>What a replicator would say: the one of the highest ballot that holds itself for the primary.</summary>
    public ValueTask<PeerAddress> FindPrimary(Id160 disk, ClusterHost asker) =>
        PrimaryOf(disk) is { } primary && primary != asker
        ? ValueTask.FromResult(new PeerAddress(primary.Id, $"host {primary.Number}"))
        : throw new IOException("nobody knows who its primary is");

    private ClusterHost? PrimaryOf(Id160 disk) => _hosts
        .Where(host => host.GroupOf(disk) is { Role: GroupRole.Primary })
        .OrderByDescending(host => host.GroupOf(disk)!.Ballot).FirstOrDefault();

    private async Task RunAsync()
    {
        var count = Random.Next(10) switch
        {
            < 6 => 3,
            < 8 => 4,
            _ => 5,
        };
        for (var i = 0; i < count; i++)
        {
            _hosts.Add(new ClusterHost(_simulation, _network, new Random(Random.Next()), i, count) { Planted = _planted });
        }

        foreach (var host in _hosts)
        {
            await host.StartAsync();
        }

        for (var disks = Random.Next(1, 3); disks > 0; disks--)
        {
            await CreateDiskAsync();
        }

        var watching = WatchAsync();
        var clients = _disks.SelectMany(disk => Enumerable.Range(0, ClusterDisk.Lanes).Select(disk.RunLaneAsync)).ToList();
        var all = Task.WhenAll([BefallAsync(), .. clients]);
        await Task.WhenAny(watching, all, FirstFailureAsync(clients));
        await ThrowFirstAsync([watching, .. clients]);
        await all;
        await ComeToRestAsync();
        _isOver = true;
        await watching;
        foreach (var disk in _disks.Where(disk => !_forked.Contains(disk)))
        {
            await CheckRestAsync(disk);
        }
    }

    private static async Task ThrowFirstAsync(IReadOnlyList<Task> tasks)
    {
        foreach (var failed in tasks.Where(task => task.IsFaulted))
        {
            await failed;
        }
    }

    private static async Task FirstFailureAsync(List<Task> tasks)
    {
        var left = new List<Task>(tasks);
        while (left.Count > 0)
        {
            var ended = await Task.WhenAny(left);
            if (ended.IsFaulted)
            {
                return;
            }

            left.Remove(ended);
        }

        // None failed: whoever waits for this has others to wait for.
        await new TaskCompletionSource().Task;
    }

    private async Task CreateDiskAsync()
    {
        // Two with a witness, or three; the rest of the hosts may come in later.
        var chosen = _hosts.OrderBy(_ => Random.Next()).Take(3).ToList();
        var hasWitness = Random.Next(4) == 0;
        var durability = Random.Next(6) switch
        {
            0 => Durability.Write,
            1 => Durability.Async,
            _ => Durability.Flush,
        };
        var replicas = chosen.Select((host, i) => new Replica(host.Id, host.Engine.DeviceId, Witness: hasWitness && i == 2)).ToArray();
        var (entry, secret) = FirstEntries.Seal(
            replicas, chosen[0].Id, 4 * ClusterDisk.LaneSectors * EntryLayout.SectorSize, durability, Random);
        foreach (var host in chosen)
        {
            await host.AskAsync(async engine =>
            {
                await engine.Replication.CreateAsync(entry, host == chosen[0] ? secret : null, default);
                return true;
            });
        }

        var id = new Id160(entry.AsSpan(EntryLayout.IdOffset, Id160.Size));
        _disks.Add(new ClusterDisk(this, id, durability, _disks.Count));
        Tell($"{_disks[^1]} on {string.Join(", ", chosen)}{(hasWitness ? " (witness)" : "")}");
    }

    /// <summary>Looks at every disk again and again.</summary>
    private async Task WatchAsync()
    {
        while (!_isOver)
        {
            _disks.ForEach(disk => _watch.Look(disk.Id, _hosts, Now));
            await PassAsync(10);
        }
    }

    /// <summary>All faults are over: every group comes to Serving or Following, every chain to the same head.</summary>
    private async Task ComeToRestAsync()
    {
        var until = Now + (long)(RestSeconds * 1e6);
        while (!_disks.TrueForAll(disk => _forked.Contains(disk) || IsAtRest(disk)))
        {
            if (Now >= until)
            {
                _forked.UnionWith(_disks.Where(IsForked));
            }

            Assert.True(Now < until || _forked.Count > 0, $"the cluster did not come to rest within {RestSeconds} s");
            await TellJoiningAsync();
            await PassAsync(500);
        }
    }

    /// <summary>
    /// A hand-over that was broken off may leave two who hold themselves for the primary, one of them in a view that nobody else has: until
    /// suffixes are given up (PROTOCOL.md, 10) that host stays as it is, and serves nobody.
    /// </summary>
    private bool IsForked(ClusterDisk disk) => !IsAtRest(disk) && (
        _hosts.Count(host => host.GroupOf(disk.Id) is { Role: GroupRole.Primary }) > 1
        || _hosts.Exists(host => host.IsUp && host.Engine.Replication.FindGroup(disk.Id) is { IsForked: true }));

    /// <summary>A host that died while it joined, or was named, may not know it any more: a replicator says it again.</summary>
    private async Task TellJoiningAsync()
    {
        foreach (var disk in _disks)
        {
            if (PrimaryOf(disk.Id) is not { } primary)
            {
                continue;
            }

            foreach (var joining in primary.GroupOf(disk.Id)!.Replicas.Where(replica => replica.State == ReplicaState.Away))
            {
                if (!joining.IsJoining && HostOf(joining.Replica.Host).GroupOf(disk.Id) is { Role: not GroupRole.Removed })
                {
                    continue;
                }

                await OrderAsync(HostOf(joining.Replica.Host), hub => hub.FollowAsync(disk.Id, primary.Id, false, default));
            }
        }
    }

    private bool IsAtRest(ClusterDisk disk)
    {
        if (PrimaryOf(disk.Id) is not { } primary || primary.GroupOf(disk.Id) is not { State: GroupState.Serving } status
            || primary.DiskOf(disk.Id) is not { } here || here.Durable != here.Newest || status.Committed != here.Newest.Lsn)
        {
            return false;
        }

        return status.Replicas.Where(replica => replica.Replica.Host != primary.Id).All(replica =>
            HostOf(replica.Replica.Host) is { } host && host.GroupOf(disk.Id) is { State: GroupState.Following } group
            && (replica.Replica.Witness || (host.DiskOf(disk.Id)?.Durable == here.Durable && !replica.IsJoining)));
    }

    private async Task CheckRestAsync(ClusterDisk disk)
    {
        var primary = PrimaryOf(disk.Id)!;
        await disk.CheckAllAsync(primary);
        var bytes = new byte[4 * ClusterDisk.LaneSectors * EntryLayout.SectorSize];
        byte[]? first = null;
        foreach (var replica in primary.GroupOf(disk.Id)!.Replicas.Where(replica => !replica.Replica.Witness))
        {
            var host = HostOf(replica.Replica.Host);
            var here = host.DiskOf(disk.Id)!;
            Assert.Equal(primary.DiskOf(disk.Id)!.Durable, here.Durable);
            var (_, status) = await host.AskAsync(_ => here.ReadHereAsync(0, bytes).AsTask());
            Assert.True(status == IoStatus.Ok, $"{disk} can't be read on {host}: {status}");
            first ??= [.. bytes];
            Assert.True(first.AsSpan().SequenceEqual(bytes), $"{disk}: {host} holds other bytes than the first, at LSN {here.Durable.Lsn}");
            await host.AskAsync(async _ =>
            {
                await DiskModel.AssertChainAsync(here);
                return true;
            });
        }

        _digest.Add(primary.DiskOf(disk.Id)!.Durable.Id);
        _digest.Add(bytes);
    }

    private ClusterHost HostOf(Id160 host) => _hosts.First(known => known.Id == host);

    private void Tell(string what)
    {
        _story.Add(FormattableString.Invariant($"{Now / 1e6:F3} {what}"));
        _digest.Add((ulong)what.Length);
    }

    /// <summary>What the hosts told last, of what went wrong.</summary>
    private string Complaints() => string.Join('\n', _hosts.SelectMany(host => host.Events
        .Where(told => told.Level != EventLevel.Info).TakeLast(6).Select(told => $"{host} told {told.Code}: {told.Message}")));

    private string Describe() => string.Join('\n', _hosts.Select(host => $"{host} {host.Id.ToString()[..2]}: " + (!host.IsUp ? "" : string.Join(
        ", ", host.Engine.Replication.GetGroups().Select(group =>
            $"{group.Role}/{group.State} {group.Ballot.Epoch} LSN {group.Durable.Lsn} (newest {host.DiskOf(group.Disk)?.Newest.Lsn}) committed "
            + $"{group.Committed} ({group.Reason}) "
            + string.Join(" ", group.Replicas.Select(replica => $"[{replica.Replica.Host.ToString()[..2]} {replica.State} {replica.Lsn} {replica.Reason}]")))))));
}
