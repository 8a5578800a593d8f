using System.Collections.Concurrent;
using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Placement;

namespace CloudFs.Replicator.Remote;

/// <summary>
/// Where a disk is: what the local daemon says, then the hosts that its id calls for, then all that are up. Answers are kept for a
/// moment. Safe from any thread.
/// </summary>
internal sealed class DiskFinder(Node node)
{
    private static readonly TimeSpan Memory = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan SeenAfter = TimeSpan.FromMilliseconds(400);

    private const int MaxCached = 4096;

    private const int Likely = 3;

    private readonly ConcurrentDictionary<string, (ClusterDiskJson Disk, long At)> _cache = new();

    /// <summary>
    /// By id, unique prefix or name; null where no host that is up has it. A disk that was just made is looked for twice: until its
    /// their daemons, they don't know it.
    /// </summary>
    public async Task<ClusterDiskJson?> FindAgainAsync(string text, CancellationToken cancellation)
    {
        if (await FindAsync(text, cancellation) is { } found)
        {
            return found;
        }

        await Task.Delay(SeenAfter, node.Time, cancellation);
        return await FindAsync(text, cancellation);
    }

    /// <summary>The same at once.</summary>
    public async Task<ClusterDiskJson?> FindAsync(string text, CancellationToken cancellation)
    {
        if (node.Local.Find(text) is { } local && local.Role is not ("removed" or "joining"))
        {
            return local;
        }

        if (_cache.TryGetValue(text, out var cached) && node.Time.GetElapsedTime(cached.At) < Memory)
        {
            return cached.Disk;
        }

        var others = node.Table.Views().Where(host => host.State != HostState.Down && host.Record.Id != node.Self).ToList();
        var found = Id160.TryParse(text, out var id) ? await AskAsync(Nearest(id, others), text, cancellation) : null;
        found ??= await AskAsync(others, text, cancellation);
        if (found is not null)
        {
            if (_cache.Count >= MaxCached)
            {
                _cache.Clear();
            }

            _cache[text] = (found, node.Time.GetTimestamp());
        }

        return found;
    }

    /// <summary>The same as the command sees it.</summary>
    public async Task<DiskPlaceJson?> FindPlaceAsync(string text, CancellationToken cancellation)
    {
        if (await FindAgainAsync(text, cancellation) is not { } disk)
        {
            return null;
        }

        return new DiskPlaceJson
        {
            Id = disk.Id,
            Name = disk.Name,
            Size = disk.Size,
            Primary = disk.Primary,
            PrimaryAddress = node.Table.Find(disk.Primary)?.Record.Daemon ?? string.Empty,
            Epoch = disk.Epoch,
            Hosts = [.. disk.Replicas.Where(replica => !replica.Joining).Select(replica => replica.Host)],
        };
    }

    private static List<HostView> Nearest(Id160 disk, List<HostView> hosts)
    {
        var places = Rendezvous.Place(disk, hosts.Where(host => !host.Record.Witness).Select(host => host.ForPlacement), Likely);
        return [.. places.Select(place => hosts.First(host => host.Id == place.Id))];
    }

    /// <summary>Of all answers the primary's own, else that of the highest epoch. Two disks that a prefix fits are none.</summary>
    private async Task<ClusterDiskJson?> AskAsync(List<HostView> hosts, string text, CancellationToken cancellation)
    {
        var replies = await Task.WhenAll(hosts.Select(host => node.Peers.GetHeldAsync(host.Record.Address, text, cancellation)));
        var disks = replies.Select(reply => reply.Read(PeerJsonContext.Default.ClusterDiskJson)).OfType<ClusterDiskJson>().ToList();
        return disks.DistinctBy(disk => disk.Id).Count() > 1 ? null
            : disks.Where(disk => disk.Role != "removed").OrderByDescending(disk => disk.Epoch)
                .ThenByDescending(disk => disk.Role == "primary").FirstOrDefault();
    }
}
