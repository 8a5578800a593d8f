using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// One merge: the old tree is walked in order; subtrees that nothing touches are taken as they are, leaves that something
/// touches are decoded, overlaid and packed anew. It holds a page for each level, the rows that wait for a page, and one
/// batch of writes, never more.
/// </summary>
internal sealed class TreeMerge
{
    private readonly IndexSpace _space;
    private readonly TreePages _pages;
    private readonly TreeRoot _root;
    private readonly IReadOnlyList<ExtentMove> _moves;
    private readonly byte[][] _buffers;
    private readonly PageBatch _batch;
    private readonly TreeBuilder _builder;
    private readonly LayerCursor _layer;
    private readonly TreeTally _tally;

    private int _move;
    private ulong _erasedTo;
    private ulong _erasedBy;
    private MappedExtent? _held;
    private MappedExtent? _old;
    private ulong _released;

    public TreeMerge(
        IndexSpace space, TreePages pages, PageBatch batch, in TreeRoot root, ExtentRuns layer, IReadOnlyList<ExtentMove> moves,
        ITreeLiveness liveness)
    {
        _space = space;
        _pages = pages;
        _root = root;
        _moves = moves;
        _batch = batch;
        _builder = new TreeBuilder(space, pages.Cache, _batch);
        _layer = new LayerCursor(layer);
        _tally = new TreeTally(liveness, root);
        if (!root.IsEmpty)
        {
            PagedTree.CheckHeight(root);
        }

        _buffers = [.. Enumerable.Range(0, Math.Max(root.Height, 1)).Select(_ => new byte[IndexPageLayout.Size])];
    }

    public async ValueTask<TreeRoot> RunAsync()
    {
        if (!_layer.HasCurrent && _moves.Count == 0)
        {
            return _root;
        }

        if (_root.IsEmpty)
        {
            _builder.AreLeavesCached = true;
            await MergeLeafAsync(count: 0, ulong.MaxValue);
        }
        else
        {
            await VisitRootAsync();
        }

        Release(null);
        var (top, height) = _builder.Finish();
        await _batch.WriteAsync();
        return await CollapseAsync(top, height);
    }

    private async ValueTask VisitRootAsync()
    {
        var root = new PagePointer(0, _root.Page, _root.Check);
        var isCached = await LoadAsync(root, _root.Height - 1);
        root = root with { Key = new IndexPage(_buffers[^1]).Key(0) };
        await MergeLoadedAsync(root, _root.Height - 1, ulong.MaxValue, isCached);
    }

    /// <summary>A root with one child only is none: the child is.</summary>
    private async ValueTask<TreeRoot> CollapseAsync(PagePointer top, int height)
    {
        var buffer = new byte[IndexPageLayout.Size];
        while (height > 1)
        {
            await _pages.ReadAsync(top.Page, top.Check, height - 1, buffer);
            if (new IndexPage(buffer).Count > 1)
            {
                break;
            }

            ReleasePage(top.Page);
            top = new IndexPage(buffer).Child(0);
            height--;
        }

        return new TreeRoot(
            top.Page, top.Check, height, _tally.Extents, _tally.DataSectors, _tally.LostSectors,
            _root.Pages + _builder.Pages - _released);
    }

    private async ValueTask VisitAsync(PagePointer child, int level, ulong limit)
    {
        var isCached = await LoadAsync(child, level);
        await MergeLoadedAsync(child, level, limit, isCached);
    }

    private ValueTask<bool> LoadAsync(PagePointer child, int level) =>
        _pages.ReadAsync(child.Page, child.Check, level, _buffers[level]);

    /// <summary>Merges what the page in the level's buffer, and nothing else, may hold: up to where its neighbour begins.</summary>
    private async ValueTask MergeLoadedAsync(PagePointer child, int level, ulong limit, bool isCached)
    {
        var count = new IndexPage(_buffers[level]).Count;
        if (level == 0)
        {
            if (!_builder.IsSmall(0, _held is not null) && !IsChanged(child.Key, limit, count))
            {
                Graft(0, child);
                return;
            }

            ReleasePage(child.Page);
            _builder.AreLeavesCached = isCached;
            await MergeLeafAsync(count, limit);
            return;
        }

        ReleasePage(child.Page);
        for (var row = 0; row < count; row++)
        {
            var next = new IndexPage(_buffers[level]).Child(row);
            var nextLimit = row + 1 < count ? new IndexPage(_buffers[level]).Key(row + 1) : limit;
            if (IsTouched(next.Key, nextLimit) || _builder.IsSmall(level - 1, _held is not null))
            {
                await VisitAsync(next, level - 1, nextLimit);
            }
            else
            {
                Graft(level - 1, next);
            }

            if (_batch.IsFull)
            {
                await _batch.WriteAsync();
            }
        }
    }

    private void Graft(int level, in PagePointer child)
    {
        Release(null);
        _builder.Graft(level, child);
    }

    private void ReleasePage(ulong page)
    {
        _space.Release(page);
        _released++;
    }

    private bool IsTouched(ulong key, ulong limit)
    {
        SkipMovesBefore(key);
        return IsOverlaid(key, limit) || (_move < _moves.Count && _moves[_move].Lba < limit);
    }

    private bool IsOverlaid(ulong key, ulong limit) => _erasedTo > key || _layer.StartsBefore(limit);

    /// <summary>Whether the leaf in the buffer comes out otherwise than it went in: moves that find nothing change nothing.</summary>
    private bool IsChanged(ulong key, ulong limit, int count)
    {
        if (IsOverlaid(key, limit))
        {
            return true;
        }

        var extents = new IndexPage(_buffers[0]).Extents();
        var move = _move;
        for (var row = 0; row < count; row++)
        {
            var extent = extents[row];
            for (; move < _moves.Count && _moves[move].Lba < extent.End; move++)
            {
                if (Applies(_moves[move], extent))
                {
                    return true;
                }

                if (_moves[move].End > extent.End)
                {
                    break;
                }
            }
        }

        return false;
    }

    private async ValueTask MergeLeafAsync(int count, ulong limit)
    {
        var row = 0;
        while (Step(ref row, count, limit))
        {
            if (_batch.IsFull)
            {
                await _batch.WriteAsync();
            }
        }
    }

    /// <summary>Takes in the next extent of the layer, or the next piece of the old tree; false when the leaf is done.</summary>
    private bool Step(ref int row, int count, ulong limit)
    {
        if (_old is null && row < count)
        {
            _old = new IndexPage(_buffers[0]).Extents()[row++];
        }

        var isLayerNext = _layer.StartsBefore(limit);
        if (_old is not { } old)
        {
            if (isLayerNext)
            {
                TakeLayer();
            }

            return isLayerNext;
        }

        if (old.Lba < _erasedTo)
        {
            _old = Cut(old, _erasedTo, _erasedBy);
        }
        else if (!isLayerNext || _layer.Current.Lba >= old.End)
        {
            _old = null;
            Relocate(old);
        }
        else
        {
            var layer = _layer.Current;
            if (layer.Lba > old.Lba)
            {
                _old = Cut(old, layer.End, layer.Lsn, layer.Lba);
            }

            TakeLayer();
        }

        return true;
    }

    private void TakeLayer()
    {
        var layer = _layer.Current;
        _layer.Next();
        (_erasedTo, _erasedBy) = (layer.End, layer.Lsn);
        _tally.Added(layer);
        Put(layer);
    }

    /// <summary>Takes [from, to) out of an extent. What lies before goes on its way; what lies behind is given back.</summary>
    private MappedExtent? Cut(in MappedExtent old, ulong to, ulong by, ulong from = 0)
    {
        _tally.Removed(old, by);
        if (old.Lba < from)
        {
            var before = old.Clip(old.Lba, from);
            _tally.Added(before);
            Relocate(before);
        }

        if (old.End <= to)
        {
            return null;
        }

        var behind = old.Clip(to, old.End);
        _tally.Added(behind);
        return behind;
    }

    /// <summary>Puts an extent of the old tree, the parts of it that were moved in their new place.</summary>
    private void Relocate(MappedExtent extent)
    {
        SkipMovesBefore(extent.Lba);
        var isWhole = true;
        for (var i = _move; i < _moves.Count && _moves[i].Lba < extent.End; i++)
        {
            var move = _moves[i];
            if (!Applies(move, extent))
            {
                continue;
            }

            if (isWhole)
            {
                _tally.Removed(extent, 0);
                isWhole = false;
            }

            if (move.Lba > extent.Lba)
            {
                PutNew(extent.Clip(extent.Lba, move.Lba));
            }

            var moved = extent.Clip(move.Lba, move.End);
            PutNew(moved with { Position = move.To, Content = move.To.IsNone ? MappedContent.Lost : moved.Content });
            if (moved.End == extent.End)
            {
                return;
            }

            extent = extent.Clip(moved.End, extent.End);
        }

        if (!isWhole)
        {
            _tally.Added(extent);
        }

        Put(extent);
    }

    private static bool Applies(in ExtentMove move, in MappedExtent extent) =>
        move.Lba < extent.End && move.End > extent.Lba && move.Lsn == extent.Lsn && move.From == extent.Position
        && !extent.Position.IsNone;

    private void SkipMovesBefore(ulong lba)
    {
        while (_move < _moves.Count && _moves[_move].End <= lba)
        {
            _move++;
        }
    }

    private void PutNew(in MappedExtent extent)
    {
        _tally.Added(extent);
        Put(extent);
    }

    /// <summary>The next extent of the new tree, which is one with the one before where it can be.</summary>
    private void Put(in MappedExtent extent)
    {
        if (_held is { } held && held.End == extent.Lba && held.SameSource(extent))
        {
            _tally.Removed(held, 0);
            _tally.Removed(extent, 0);
            _held = held with { Sectors = held.Sectors + extent.Sectors };
            _tally.Added(_held.Value);
            return;
        }

        Release(extent);
    }

    /// <summary>Lets go of the extent that was held back for what might join it, and holds this one.</summary>
    private void Release(MappedExtent? next)
    {
        if (_held is { } held)
        {
            _builder.Append(0, PageRow.Of(held));
        }

        _held = next;
    }
}
