using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using Xunit;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>What is true of a cluster at every moment: looked at again and again while a world runs.</summary>
internal sealed class ClusterWatch
{
    private readonly Dictionary<(Id160 Disk, ulong Lsn), Id160> _committed = [];
    private readonly Dictionary<(Id160 Disk, int Host), Ballot> _promised = [];
    private readonly Dictionary<Id160, (ulong Lsn, Ballot Ballot)> _newest = [];

    /// <summary>Committed versions that were seen.</summary>
    public int Seen => _committed.Count;

    /// <summary>Looks at what the hosts show of a disk now.</summary>
    public void Look(Id160 disk, IReadOnlyList<ClusterHost> hosts)
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
