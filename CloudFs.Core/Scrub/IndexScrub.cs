using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Scrub;

/// <summary>Reads every page of every disk's tree from the device, while merges put new trees in their place.</summary>
internal sealed class IndexScrub(DiskServices services, IndexSpace space)
{
    /// <summary>A tree that is replaced as often as this while it is read is passed over: the next pass will read it.</summary>
    private const int LooksMax = 3;

    /// <summary>Verifies the trees through a device that keeps the rate, and tells every page that is damaged.</summary>
    public async ValueTask CheckAsync(IBlockDevice device, Action<string> tell)
    {
        // What is verified is read past any cache.
        var trees = new PagedTree(space, new PageCache(0), device);
        foreach (var disk in services.Disks.All())
        {
            await CheckAsync(trees, disk, tell);
        }
    }

    private async ValueTask CheckAsync(PagedTree trees, Disk disk, Action<string> tell)
    {
        for (var look = 0; look < LooksMax; look++)
        {
            var faults = new List<string>();
            var root = disk.Locked(state => state.Map.Tree);
            await trees.VerifyAsync(root, faults.Add);
            if (disk.Locked(state => state.Map.Tree) != root)
            {
                // Pages of a tree that was replaced may hold anything by now.
                continue;
            }

            foreach (var fault in faults)
            {
                tell($"disk {disk.Id}: {fault}");
            }

            if (faults.Count > 0)
            {
                services.TellDamagedIndex();
            }

            return;
        }
    }
}
