using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Cluster;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>The disks of an engine as exports, and those of other hosts through them.</summary>
internal sealed class EngineCatalog(StorageEngine engine, ClusterView? cluster = null) : IExportCatalog
{
    public IReadOnlyList<IBlockTarget> List()
    {
        var disks = engine.ListDisks();
        var exports = new IBlockTarget[disks.Count];
        for (var i = 0; i < exports.Length; i++)
        {
            exports[i] = new DiskTarget(disks[i], Forward(disks[i].Id));
        }

        return exports;
    }

    public IBlockTarget? Find(string idOrName)
    {
        if (engine.TryGetDisk(idOrName, out var disk))
        {
            return new DiskTarget(disk, Forward(disk.Id));
        }

        // On a connection's own thread, which may wait.
        return cluster is null ? null : FindElsewhereAsync(idOrName).AsTask().GetAwaiter().GetResult();
    }

    private Forwarding? Forward(Id160 disk) => cluster is null ? null
        : new Forwarding(disk, engine.Replication, cancellation => cluster.FindPrimaryAsync(disk, engine.Replication, cancellation));

    private async ValueTask<IBlockTarget?> FindElsewhereAsync(string idOrName)
    {
        try
        {
            var place = await cluster!.FindAsync(idOrName, CancellationToken.None);
            if (place is null || !Id160.TryParse(place.Id, out var id))
            {
                return null;
            }

            var remote = await engine.Replication.OpenRemoteAsync(
                id, cancellation => cluster.FindPrimaryAsync(id, engine.Replication, cancellation), CancellationToken.None);
            return new RemoteTarget(remote);
        }
        catch (IOException)
        {
            // Whoever has it can't be reached: to this client the export is not there (now).
            return null;
        }
    }
}

/// <summary>A way to a disk's primary, opened when it is first needed. Any thread.</summary>
internal sealed class Forwarding(Id160 disk, ReplicationHub replication, Func<CancellationToken, ValueTask<PeerAddress>> findPrimary)
{
    private readonly Lock _lock = new();
    private Task<RemoteDisk>? _opening;

    /// <summary>True while another host is the primary.</summary>
    public bool IsElsewhere => replication.GetGroup(disk) is { Role: not GroupRole.Primary };

    /// <exception cref="IOException">It can't be reached.</exception>
    public Task<RemoteDisk> OpenAsync()
    {
        lock (_lock)
        {
            if (_opening is null or { IsFaulted: true } or { IsCanceled: true })
            {
                _opening = replication.OpenRemoteAsync(disk, findPrimary, CancellationToken.None).AsTask();
            }

            return _opening;
        }
    }
}
