using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>What befalls a cluster.</summary>
[Flags]
internal enum ClusterFaults
{
    None = 0,

    /// <summary>Processes die, and are started again.</summary>
    Kill = 1,

    /// <summary>The power of a machine goes.</summary>
    PowerCut = 2,

    /// <summary>Nothing passes between some hosts, in one direction or both.</summary>
    Partition = 4,

    /// <summary>Processes are stopped for a while (SIGSTOP).</summary>
    Pause = 8,

    /// <summary>Single connections are cut, at any byte.</summary>
    Cut = 16,

    /// <summary>Hosts join and leave the disks' views.</summary>
    Members = 32,

    /// <summary>The right to write goes to another host.</summary>
    Move = 64,

    All = Kill | PowerCut | Partition | Pause | Cut | Members | Move,
}

/// <content>What befalls it.</content>
internal sealed partial class ClusterWorld
{
    private static readonly ClusterFaults[] Kinds = [.. Enum.GetValues<ClusterFaults>().Where(kind => int.IsPow2((int)kind))];

    /// <summary>What is under way: the end of a fault comes while others begin.</summary>
    private readonly List<Task> _underWay = [];

    private async Task BefallAsync()
    {
        var kinds = Kinds.Where(kind => _faults.HasFlag(kind)).ToArray();
        for (var left = Random.Next(6, 16); left > 0; left--)
        {
            await PassAsync(Random.Next(3) == 0 ? Random.Next(1, 4000) : Random.Next(1, 600));
            if (kinds.Length > 0)
            {
                Befall(kinds[Random.Next(kinds.Length)]);
            }
        }

        // Everybody is up again, everything passes.
        // An order may wait for as long as its disk has no majority: nobody waits for that.
        var ended = Task.WhenAll(_underWay);
        await Task.WhenAny(ended, PassAsync(60_000));
        if (ended.IsCompleted)
        {
            await ended;
        }

        _network.Heal();
        Tell("nothing befalls it any more");
        await PassAsync(Random.Next(100, 3000));
        IsQuiet = true;
    }

    private void Befall(ClusterFaults kind)
    {
        switch (kind)
        {
            case ClusterFaults.Kill:
            case ClusterFaults.PowerCut:
                if (PickUp() is { } victim)
                {
                    _underWay.Add(EndAsync(victim, kind == ClusterFaults.Kill ? End.Kill : End.PowerCut));
                }

                break;
            case ClusterFaults.Pause:
                if (PickUp() is { } stopped)
                {
                    _underWay.Add(PauseAsync(stopped));
                }

                break;
            case ClusterFaults.Partition:
                _underWay.Add(PartitionAsync());
                break;
            case ClusterFaults.Cut:
                Tell("a connection is cut");
                _network.CutOne();
                break;
            case ClusterFaults.Members:
                _underWay.Add(ChangeMembersAsync());
                break;
            default:
                _underWay.Add(MoveAsync());
                break;
        }
    }

    private async Task EndAsync(ClusterHost host, End end)
    {
        foreach (var disk in _disks.Where(disk => end == End.PowerCut && host.GroupOf(disk.Id) is { Role: GroupRole.Primary }))
        {
            disk.NotePowerCut();
        }

        Tell($"{host}: {end}");
        await host.EndAsync(end);
        await PassAsync(Random.Next(3) == 0 ? Random.Next(1, 12_000) : Random.Next(1, 1500));
        await host.StartAsync();
        Tell($"{host} runs again");
    }

    private async Task PauseAsync(ClusterHost host)
    {
        var context = host.Context;
        Tell($"{host} is stopped");
        context.Pause();
        await PassAsync(Random.Next(3) == 0 ? Random.Next(1, 15_000) : Random.Next(1, 2500));
        context.Resume();
        Tell($"{host} goes on");
    }

    private async Task PartitionAsync()
    {
        var one = _hosts[Random.Next(_hosts.Count)];
        var others = Random.Next(2) == 0 ? _hosts.Where(host => host != one).ToList()
            : [_hosts.Where(host => host != one).ElementAt(Random.Next(_hosts.Count - 1))];
        var directions = Random.Next(1, 4);
        Tell($"nothing passes between {one} and {string.Join(", ", others)} ({directions})");
        foreach (var other in others)
        {
            if ((directions & 1) != 0)
            {
                _network.Block(one.Id, other.Id);
            }

            if ((directions & 2) != 0)
            {
                _network.Block(other.Id, one.Id);
            }
        }

        await PassAsync(Random.Next(3) == 0 ? Random.Next(1, 15_000) : Random.Next(1, 3000));
        _network.Heal();
        Tell("everything passes again");
    }

    private async Task MoveAsync()
    {
        var disk = _disks[Random.Next(_disks.Count)];
        if (PrimaryOf(disk.Id) is not { Context.IsPaused: false } primary)
        {
            return;
        }

        var others = primary.GroupOf(disk.Id)!.Replicas.Where(replica => !replica.Replica.Witness && replica.Replica.Host != primary.Id).ToList();
        if (others.Count == 0)
        {
            return;
        }

        var to = others[Random.Next(others.Count)].Replica.Host;
        Tell($"{disk} moves from {primary} to {HostOf(to)}");
        await OrderAsync(primary, hub => hub.MoveAsync(disk.Id, to, default));
    }

    private async Task ChangeMembersAsync()
    {
        var disk = _disks[Random.Next(_disks.Count)];
        if (PrimaryOf(disk.Id) is not { Context.IsPaused: false } primary)
        {
            return;
        }

        var named = primary.GroupOf(disk.Id)!.Replicas.ToList();
        var outside = _hosts.Where(host => host is { IsUp: true, Context.IsPaused: false } && named.All(replica => replica.Replica.Host != host.Id))
            .ToList();
        if (outside.Count > 0 && (named.Count < 3 || Random.Next(2) == 0))
        {
            var host = outside[Random.Next(outside.Count)];
            Tell($"{disk}: {host} joins");
            var device = host.Engine.DeviceId;
            await OrderAsync(host, hub => hub.FollowAsync(disk.Id, primary.Id, false, default));
            if (primary.IsUp)
            {
                await OrderAsync(primary, hub => hub.AddReplicaAsync(disk.Id, new Replica(host.Id, device), default));
            }
        }
        else if (named.Count(replica => !replica.Replica.Witness && !replica.IsJoining) > 2)
        {
            var gone = named.Where(replica => replica.Replica.Host != primary.Id).ElementAt(Random.Next(named.Count - 1)).Replica.Host;
            Tell($"{disk}: {HostOf(gone)} leaves");
            await OrderAsync(primary, hub => hub.RemoveReplicaAsync(disk.Id, gone, default));
            await PassAsync(Random.Next(1, 3000));
            if (HostOf(gone) is { IsUp: true } host && host.GroupOf(disk.Id) is { Role: GroupRole.Removed } && Random.Next(2) == 0)
            {
                Tell($"{disk}: {host} drops its copy");
                await OrderAsync(host, hub => hub.DropAsync(disk.Id, default));
            }
        }
    }

    /// <summary>An order of an operator's or of a replicator's: it may be refused, or the host may die meanwhile.</summary>
    private async Task OrderAsync(ClusterHost host, Func<ReplicationHub, ValueTask> order)
    {
        var (isAnswered, refusal) = await host.AskAsync(async engine =>
        {
            try
            {
                await order(engine.Replication);
                return "done";
            }
            catch (RefusalException refused)
            {
                return refused.Message;
            }
        });
        if (!IsQuiet)
        {
            Tell($"  {host}: {(isAnswered ? refusal : "died before it answered")}");
        }
    }
}
