using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>A disk of a cluster and its clients: each has a stretch of it, and asks for one thing at a time, through any host.</summary>
internal sealed class ClusterDisk(ClusterWorld world, Id160 id, Durability durability, int number)
{
    public const int LaneSectors = 96;
    public const int Lanes = 2;

    /// <summary>A request whose asker died may take effect for as long as the disk is patient.</summary>
    private const double LateSeconds = 130;

    private readonly ClusterLane[] _lanes = [.. Enumerable.Range(0, Lanes).Select(lane => new ClusterLane(lane * 2 * LaneSectors, LaneSectors))];
    private readonly Dictionary<(int Lane, HostContext Process), RemoteDisk> _sessions = [];

    public Id160 Id => id;

    public Durability Durability => durability;

    public int Acknowledged => _lanes.Sum(lane => lane.Acknowledged);

    public int FailedReads { get; private set; }

    public override string ToString() => $"disk {number}, {durability}";

    public void NotePowerCut() => Array.ForEach(_lanes, lane => lane.NotePowerCut());

    /// <summary>One client, until the faults end.</summary>
    public async Task RunLaneAsync(int lane)
    {
        while (!world.IsQuiet)
        {
            await world.PassAsync(world.Random.Next(5) == 0 ? world.Random.Next(1, 900) : world.Random.Next(1, 60));
            if (world.PickUp() is { } host)
            {
                await StepAsync(lane, host);
            }
        }
    }

    /// <summary>The whole disk, read where it is served.</summary>
    public async Task CheckAllAsync(ClusterHost primary)
    {
        foreach (var lane in _lanes)
        {
            var bytes = new byte[lane.Sectors * EntryLayout.SectorSize];
            var disk = primary.DiskOf(id)!;
            var (isAnswered, status) = await primary.AskAsync(async _ => await disk.ReadAsync(Offset(lane, 0), bytes, default));
            Assert.True(isAnswered && status == IoStatus.Ok, $"{this} can't be read at the end: {status}");
            lane.Check(0, bytes, world.Now, "at the end");
        }
    }

    private static ulong Offset(ClusterLane lane, int at) => (ulong)(lane.FirstSector + at) * EntryLayout.SectorSize;

    private async Task StepAsync(int index, ClusterHost host)
    {
        var (lane, random, context) = (_lanes[index], world.Random, host.Context);
        var isLocal = host.GroupOf(id) is { Role: GroupRole.Primary } && host.DiskOf(id) is not null;
        var (local, remote) = (isLocal ? host.DiskOf(id) : null, (RemoteDisk?)null);
        if (!isLocal)
        {
            remote = await SessionAsync(index, host);
            if (remote is null || host.Context != context || !host.IsUp)
            {
                return;
            }
        }

        object session = isLocal ? context : remote!;
        var at = random.Next(lane.Sectors);
        var sectors = random.Next(1, Math.Min(lane.Sectors - at, 24) + 1);
        var (what, offset) = (random.Next(20), Offset(lane, at));
        if (what < 6)
        {
            var bytes = new byte[sectors * EntryLayout.SectorSize];
            var (isAnswered, status) = await host.AskAsync(async _ => local is null
                ? await remote!.ReadAsync(offset, bytes, default) : await local.ReadAsync(offset, bytes, default));
            world.Note(isAnswered ? (ulong)status : 99);
            FailedReads += isAnswered && status == IoStatus.Ok ? 0 : 1;
            if (isAnswered && status == IoStatus.Ok)
            {
                lane.Check(at, bytes, world.Now, FormattableString.Invariant($"through {host} at {world.Now / 1e6:F3} s ({this})"));
            }
        }
        else if (what < 9)
        {
            var (flushable, covered) = (lane.Flushable(session), local?.Newest ?? default);
            var (isAnswered, status) = await host.AskAsync(async _ => local is null
                ? await remote!.FlushAsync(default) : await local.FlushAsync(default));
            world.Note(isAnswered ? 100 + (ulong)status : 199);
            if (isAnswered && status == IoStatus.Ok)
            {
                lane.Flushed(flushable);
                if (isLocal && durability != Durability.Async && host.Context == context && host.IsUp)
                {
                    world.LookAtFlush(id, host, covered);
                }
            }
        }
        else
        {
            var (isZero, isFua) = (what == 19, random.Next(4) == 0);
            var write = lane.Begin(isZero ? 0 : world.NextWrite(), at, sectors, session);
            var bytes = ClusterLane.BytesOf(write.Number, sectors);
            var (isAnswered, status) = await host.AskAsync(async _ => (isZero, local) switch
            {
                (true, null) => await remote!.ZeroAsync(offset, (ulong)bytes.Length, isFua, default),
                (true, _) => await local.ZeroAsync(offset, (ulong)bytes.Length, isFua, default),
                (false, null) => await remote!.WriteAsync(offset, bytes, isFua, default),
                _ => await local.WriteAsync(offset, bytes, isFua, default),
            });
            world.Note(isAnswered ? 200 + (ulong)status : 299);
            if (isAnswered && status == IoStatus.Ok)
            {
                lane.Acknowledge(write, isFua || durability == Durability.Write);
            }
            else if (!isLocal)
            {
                lane.Abandon(write, world.Now + (long)(LateSeconds * 1e6));
            }
        }
    }

    /// <summary>This client's session through a host; null where it can't be opened.</summary>
    private async Task<RemoteDisk?> SessionAsync(int lane, ClusterHost host)
    {
        var key = (lane, host.Context);
        if (_sessions.TryGetValue(key, out var known) && !known.IsBroken)
        {
            return known;
        }

        var (isAnswered, opened) = await host.AskAsync(async engine =>
        {
            try
            {
                return await engine.Replication.OpenRemoteAsync(id, _ => world.FindPrimary(id, host), default);
            }
            catch (IOException)
            {
                world.Note(300);
                return null;
            }
        });
        if (isAnswered && opened is { IsBroken: false })
        {
            _sessions[key] = opened;
            return opened;
        }

        return null;
    }
}
