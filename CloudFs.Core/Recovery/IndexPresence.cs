using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Index;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Finds out at a start whether the index is there, by a few pages, however large it is: the way to the first leaf of each tree, which is
/// proved; and in each segment of the index (and the fixed area) the first page in use, the last and one between, which
/// must be index pages. So an index, or a segment of it, that was wiped is found; a page that rotted may not be until it is read.
/// </summary>
internal sealed class IndexPresence(IBlockDevice device, PagedTree tree, IndexSpace space)
{
    /// <summary>False where something of the index is missing: it has to be rebuilt from the log.</summary>
    public async Task<bool> IsThereAsync(IEnumerable<DiskState> disks)
    {
        var one = new MappedExtent[1];
        foreach (var disk in disks)
        {
            if ((await tree.FindAsync(disk.Map.Tree, 0, 1, one)).Status != TreeRead.Ok)
            {
                return false;
            }
        }

        foreach (var (segment, used) in space.Snapshot())
        {
            var slots = Enumerable.Range(0, used.Length * 8).Where(slot => (used[slot / 8] >> (slot % 8) & 1) != 0).ToList();
            foreach (var slot in (int[])[slots[0], slots[slots.Count / 2], slots[^1]])
            {
                if (!await IsPageAsync(IndexPageNumber.Of(segment, slot)))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private async ValueTask<bool> IsPageAsync(ulong page)
    {
        var bytes = new byte[IndexPageLayout.Size];
        for (var attempt = 0; attempt < 2; attempt++)
        {
            try
            {
                return IndexPageNumber.TryOffset(page, device.Length, out var offset) && await ReadAsync(offset);
            }
            catch (DeviceException)
            {
                // Perhaps the next attempt can.
            }
        }

        return false;

        async ValueTask<bool> ReadAsync(ulong offset)
        {
            await device.ReadAsync(offset, bytes);
            return IndexPage.IsSound(bytes, bytes[IndexPageLayout.Level]);
        }
    }
}
