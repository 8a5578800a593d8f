using CloudFs.Core.Contracts;
using CloudFs.Replicator.Hosting;

namespace CloudFs.Replicator.Repair;

/// <summary>
/// Each second: asks the daemon what it holds, says so in this host's record, and tells the daemon who its peers are when that
/// changed, when it restarted, and every 30 s.
/// </summary>
internal sealed class DaemonLoop(Node node)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan TellAgain = TimeSpan.FromSeconds(30);

    private const double BytesPerWeight = 1UL << 40;

    private string? _etag;
    private string? _process;
    private long _toldVersion = -1;
    private long _toldAt;
    private long? _drainingSince;

    public async Task RunAsync()
    {
        while (true)
        {
            await AskAsync();
            await node.Wake.WaitAsync(Interval, node.Stopping);
        }
    }

    /// <summary>One round.</summary>
    public async Task AskAsync()
    {
        var reply = await node.Daemon.GetClusterAsync(_etag, node.Stopping);
        if (reply.Status == 304)
        {
            Answered();
        }
        else if (reply.Read(ClusterContractsJson.Default.ClusterJson) is { } cluster)
        {
            Take(cluster, reply.ETag);
        }
        else
        {
            Fail(reply.IsSilence || !reply.IsGood
                ? $"the daemon at {node.Daemon.Url.Authority}: {reply.Line}"
                : $"the daemon at {node.Daemon.Url.Authority} answers /cluster with what can't be understood");
            return;
        }

        await TellPeersAsync();
    }

    private void Take(ClusterJson cluster, string? etag)
    {
        if (cluster.Host != node.Self)
        {
            Fail($"the daemon at {node.Daemon.Url.Authority} is of host {cluster.Host}, not {node.Self}: "
                + "start the replicator with that id, or auto");
            return;
        }

        // Revisions begin anew with a process, whose start stands in the ETag before them: another start, another daemon.
        var process = etag?.Split('-', '.', ':')[0];
        if (process != _process || etag is null)
        {
            _process = process;
            _toldVersion = -1;
        }

        _etag = etag;
        node.Local = new LocalDisks(cluster);
        Describe(cluster);
        Answered();
    }

    private void Describe(ClusterJson cluster)
    {
        var degraded = node.Local.Primaries.Count(LocalDisks.IsDegraded);
        node.Table.Describe(record => record with
        {
            Device = cluster.Device,
            CapacityBytes = cluster.CapacityBytes,
            FreeBytes = cluster.FreeBytes,
            Weight = node.Options.Weight ?? Math.Max(cluster.CapacityBytes / BytesPerWeight, 1e-6),
            Disks = node.Local.All.Count(disk => disk.Role != "removed"),
            Primaries = node.Local.Primaries.Count(),
            Degraded = degraded,
            Ready = !cluster.Poisoned,
        });
    }

    private void Answered()
    {
        node.DaemonTrouble = null;
        if (node.Local.Cluster is { Poisoned: false })
        {
            node.Table.Describe(record => record with { Ready = true });
        }

        var isDraining = node.Table.Find(node.Self)!.Draining;
        _drainingSince = isDraining && node.Local.Count == 0 ? _drainingSince ?? node.Time.GetTimestamp() : null;
        var isDrained = _drainingSince is { } since && node.Time.GetElapsedTime(since) > Creation.VoteBook.Lapse;
        node.Table.Describe(record => record with { Drained = isDrained });
        node.Log.Over("daemon", $"the daemon at {node.Daemon.Url.Authority} answers again");
    }

    private void Fail(string line)
    {
        node.DaemonTrouble = line;
        _etag = null;
        _toldVersion = -1;
        node.Table.Describe(record => record with { Ready = false });
        node.Log.Trouble("daemon", line);
    }

    private async Task TellPeersAsync()
    {
        var version = node.Table.Version;
        if (node.DaemonTrouble is not null || (version == _toldVersion && node.Time.GetElapsedTime(_toldAt) < TellAgain))
        {
            return;
        }

        var peers = node.Table.Views().Where(host => host.Record.Id != node.Self)
            .Select(host => new PeerJson(host.Record.Id, host.Record.Daemon)).ToList();
        var reply = await node.Daemon.PutPeersAsync(
            new PeersRequest($"http://{node.Table.SelfRecord.Address}", peers), node.Stopping);
        if (reply.IsGood)
        {
            (_toldVersion, _toldAt) = (version, node.Time.GetTimestamp());
            node.Log.Over("peers", "the daemon takes the table of peers again");
        }
        else
        {
            node.Log.Trouble("peers", $"the daemon does not take the table of peers: {reply.Line}");
        }
    }
}
