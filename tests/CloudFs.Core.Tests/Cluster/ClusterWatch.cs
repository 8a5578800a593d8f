using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>What is true of a cluster at every moment: looked at again and again while a world runs.</summary>
internal sealed class ClusterWatch(SimulatedNetwork network)
{
    /// <summary>What is on its way arrives within this (seconds), and looks are that far apart at most.</summary>
    private const double LateSeconds = 0.5;

    private readonly Dictionary<(Id160 Disk, HostContext Process), long> _reached = [];
    private readonly Dictionary<(Id160 Disk, ulong Lsn), Id160> _committed = [];
    private readonly Dictionary<(Id160 Disk, int Host), Ballot> _promised = [];
    private readonly Dictionary<Id160, (ulong Lsn, Ballot Ballot)> _newest = [];

    /// <summary>Committed versions that were seen.</summary>
    public int Seen => _committed.Count;

    /// <summary>Looks at what the hosts show of a disk now.</summary>
    public void Look(Id160 disk, IReadOnlyList<ClusterHost> hosts, long now)
    {
        var serving = new List<(ClusterHost Host, GroupStatus Status)>();
        foreach (var host in hosts.Where(host => host.IsUp))
        {
            // A promise is for ever, and never lower than one before (PROTOCOL.md, 2).
            var promised = host.Engine.Services.Remembered.Of(disk).Promised;
            var before = _promised.GetValueOrDefault((disk, host.Number));
            Assert.True(promised >= before, $"{host} had promised {before} of disk {disk}, and now {promised}");
            _promised[(disk, host.Number)] = promised;

            if (host.GroupOf(disk) is not { } status)
            {
                continue;
            }

            if (status.Durable.Lsn > 0 && status.Durable.Lsn <= status.Committed)
            {
                NoteCommitted(disk, status, host);
            }

            LookAtLease(disk, host, hosts, now);
            if (host.Engine.Replication.FindGroup(disk)!.MayServe)
            {
                serving.Add((host, status));
            }
        }

        // Two that answer clients at once: a stopped host's clock goes on, so that its lease is over when it runs again.
        Assert.True(
            serving.Count < 2,
            $"disk {disk} is served by several at once: {string.Join(", ", serving.Select(one => $"{one.Host} in {one.Status.Ballot}"))}");
    }

    /// <summary>What was flushed is durable on a majority in the moment in which it is acknowledged (PROTOCOL.md, 14).</summary>
    public static void LookAtFlush(Id160 disk, ClusterHost primary, DiskVersion covered, IReadOnlyList<ClusterHost> hosts)
    {
        if (primary.Engine.Replication.FindGroup(disk) is not { Role: GroupRole.Primary } group)
        {
            return;
        }

        var data = group.Sets[0].Where(replica => !replica.Witness).ToList();
        var lacking = data.Select(replica => hosts.First(host => host.Id == replica.Host))
            .Where(host => host.IsUp && !(host.DiskOf(disk)?.DurableHere.Lsn >= covered.Lsn)).ToList();
        Assert.True(
            data.Count - lacking.Count >= Quorum.MajorityOf(data.Count),
            $"a flush up to LSN {covered.Lsn} of disk {disk} was acknowledged, and {string.Join(", ", lacking)} of {data.Count} have not got that far");
    }

    /// <summary>Who could not reach a majority for longer than a lease serves no more (PROTOCOL.md, 18).</summary>
    private void LookAtLease(Id160 disk, ClusterHost host, IReadOnlyList<ClusterHost> hosts, long now)
    {
        var group = host.Engine.Replication.FindGroup(disk)!;
        var key = (disk, host.Context);
        if (!_reached.TryGetValue(key, out var reached) || group.Sets.All(set => set.Count(Reaches) >= Quorum.MajorityOf(set.Count)))
        {
            _reached[key] = reached = now;
        }

        var most = (host.Engine.Replication.Lease.TotalSeconds * 1.02) + LateSeconds;
        Assert.True(
            !group.MayServe || (now - reached) / 1e6 <= most,
            $"{host} serves disk {disk}, and has reached no majority for {(now - reached) / 1e6} s");

        bool Reaches(Replica replica) => replica.Host == host.Id || (network.Passes(host.Id, replica.Host)
            && hosts.Any(other => other.Id == replica.Host && other is { IsUp: true, Context.IsPaused: false }));
    }

    private void NoteCommitted(Id160 disk, GroupStatus status, ClusterHost host)
    {
        var (lsn, id) = (status.Durable.Lsn, status.Durable.Id);
        var known = _committed.GetValueOrDefault((disk, lsn), id);
        Assert.True(known == id, $"LSN {lsn} of disk {disk} was committed as {known}, and {host} says that it is {id}");
        _committed[(disk, lsn)] = id;
        var newest = _newest.GetValueOrDefault(disk);
        if (lsn > newest.Lsn)
        {
            Assert.True(status.Ballot >= newest.Ballot, $"{host}: LSN {lsn} of {disk} is committed in {status.Ballot}, an earlier one in {newest.Ballot}");
            _newest[disk] = (lsn, status.Ballot);
        }
    }
}
