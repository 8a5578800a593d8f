using System.Buffers;
using CloudFs.Core.Devices;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// Trees of extents in pages on the device, read and merged (docs/format/index.md). A tree is never changed: a merge writes
/// what differs into pages of its own, and gives a new root. It holds no state of any tree, so one serves all disks.
/// Look-ups run beside each other and beside merges; merges run one at a time.
/// </summary>
public sealed class PagedTree(IndexSpace space, PageCache cache, IBlockDevice device)
{
    private const int WalkExtents = 512;

    private readonly TreePages _pages = new(cache, device);

    /// <summary>Between merges: what the last one put its pages together in. One that threw keeps its own.</summary>
    private PageBatch? _batch;

    /// <summary>
    /// Copies the extents that overlap [lba, end) in order, clipped to it, until <paramref name="into"/> is full: then there
    /// may be more. What is between them is not in the tree. Completes at once, without allocating, when the cache has the pages.
    /// </summary>
    public ValueTask<(TreeRead Status, int Count)> FindAsync(TreeRoot root, ulong lba, ulong end, Memory<MappedExtent> into)
    {
        var find = new TreeFind(root, lba, end, into);
        return TryFindCached(ref find)
            ? ValueTask.FromResult(ResultOf(find))
            : FindSlowlyAsync(find, isKept: true);
    }

    /// <summary>
    /// Gives a tree's extents from a sector on, in order, until the visitor says false. Pages that it has to read don't
    /// displace others from the cache.
    /// </summary>
    public async ValueTask<TreeRead> WalkAsync(TreeRoot root, ulong lba, Func<ReadOnlyMemory<MappedExtent>, bool> visit)
    {
        var extents = ArrayPool<MappedExtent>.Shared.Rent(WalkExtents);
        try
        {
            while (true)
            {
                var find = new TreeFind(root, lba, ulong.MaxValue, extents.AsMemory(0, WalkExtents));
                var (status, count) = await FindSlowlyAsync(find, isKept: false);
                if (status != TreeRead.Ok)
                {
                    return status;
                }

                if (count == 0 || !visit(extents.AsMemory(0, count)) || count < WalkExtents)
                {
                    return TreeRead.Ok;
                }

                lba = extents[count - 1].End;
            }
        }
        finally
        {
            ArrayPool<MappedExtent>.Shared.Return(extents);
        }
    }

    /// <summary>
    /// The tree with a layer of newer writes over it, and with what was relocated in its new place. The new pages are written,
    /// and durable with the device's next flush; the old tree can be read until the space is settled. When this throws,
    /// the space is to be abandoned, and what the liveness was told is void.
    /// </summary>
    /// <param name="root">The tree.</param>
    /// <param name="layer">Overrides what it covers, and is overridden by no move.</param>
    /// <param name="moves">Ascending, disjoint. One applies where LSN and place agree, and nowhere else.</param>
    /// <param name="liveness">Told of every extent that comes or goes.</param>
    /// <exception cref="TreeDamagedException">A page that is needed is damaged.</exception>
    /// <exception cref="IndexSpaceException">There is no room.</exception>
    /// <exception cref="DeviceException">The device failed.</exception>
    public async ValueTask<TreeRoot> MergeAsync(
        TreeRoot root, ExtentRuns layer, IReadOnlyList<ExtentMove> moves, ITreeLiveness liveness)
    {
        var batch = Interlocked.Exchange(ref _batch, null) ?? new PageBatch(space);
        var merged = await new TreeMerge(space, _pages, batch, root, layer, moves, liveness).RunAsync();
        Volatile.Write(ref _batch, batch);
        return merged;
    }

    /// <summary>The empty tree, in place of this one: every extent is removed, every page released. Throws as a merge does.</summary>
    public async ValueTask<TreeRoot> DropAsync(TreeRoot root, ulong byLsn, ITreeLiveness liveness)
    {
        if (!root.IsEmpty)
        {
            CheckHeight(root);
            await DropAsync(new PagePointer(0, root.Page, root.Check), root.Height - 1, byLsn, liveness);
        }

        return default;
    }

    /// <summary>
    /// Reads every page of a tree from the device, past the cache, and holds it against its parent and the root. Damage is told,
    /// and what is beyond it goes on being read.
    /// </summary>
    /// <param name="root">The tree.</param>
    /// <param name="tellDamage">Told what is wrong, in words.</param>
    /// <param name="visitPage">Told of every page that the tree refers to.</param>
    /// <returns>How many pages were read.</returns>
    public ValueTask<long> VerifyAsync(TreeRoot root, Action<string> tellDamage, Action<ulong>? visitPage = null) =>
        new TreeVerifier(_pages, root, tellDamage, visitPage).RunAsync();

    internal static void CheckHeight(in TreeRoot root)
    {
        if (root.Height is < 1 or > IndexPageLayout.HeightMax)
        {
            throw new TreeDamagedException(root.Page, $"a tree can't have {root.Height} levels");
        }
    }

    private static (TreeRead Status, int Count) ResultOf(in TreeFind find) =>
        find.IsMismatch ? (TreeRead.Mismatch, 0) : (TreeRead.Ok, find.Found);

    private bool TryFindCached(ref TreeFind find)
    {
        while (!find.IsDone)
        {
            if (!cache.TryVisit(find.Page, find.Check, ref find))
            {
                return false;
            }
        }

        return true;
    }

    private async ValueTask<(TreeRead Status, int Count)> FindSlowlyAsync(TreeFind find, bool isKept)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(IndexPageLayout.Size);
        try
        {
            var bytes = buffer.AsMemory(0, IndexPageLayout.Size);
            while (!TryFindCached(ref find))
            {
                if (await _pages.TryReadAsync(find.Page, find.Check, find.Level, bytes) is not null)
                {
                    find.IsMismatch = true;
                    break;
                }

                if (isKept || find.Level > 0)
                {
                    cache.Add(find.Page, find.Check, bytes.Span);
                }

                find.Visit(bytes.Span);
            }

            return ResultOf(find);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async ValueTask DropAsync(PagePointer pointer, int level, ulong byLsn, ITreeLiveness liveness)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(IndexPageLayout.Size);
        try
        {
            var bytes = buffer.AsMemory(0, IndexPageLayout.Size);
            await _pages.ReadAsync(pointer.Page, pointer.Check, level, bytes);
            space.Release(pointer.Page);
            var count = new IndexPage(bytes.Span).Count;
            for (var row = 0; row < count; row++)
            {
                if (level > 0)
                {
                    await DropAsync(new IndexPage(bytes.Span).Child(row), level - 1, byLsn, liveness);
                }
                else
                {
                    liveness.Removed(new IndexPage(bytes.Span).Extents()[row], byLsn);
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
