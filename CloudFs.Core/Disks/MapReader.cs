using System.Buffers;
using CloudFs.Core.Index;

namespace CloudFs.Core.Disks;

/// <summary>
/// Looks a disk's map up: the layers under the disk's lock, the tree outside of it. A tree that was replaced meanwhile is
/// told by its pages, and the look begins again.
/// </summary>
internal sealed class MapReader(DiskServices services, DiskState state, Lock gate)
{
    /// <summary>Pieces of layers looked up at once.</summary>
    private const int Pieces = 128;

    /// <summary>
    /// Two checkpoints have to end within one look for one repetition. A page that is not right twice, under the same root, is
    /// damaged.
    /// </summary>
    private const int LooksMax = 8;

    /// <summary>
    /// Copies the extents that overlap [lba, end), in order and clipped to it, until <paramref name="into"/> is full. Gives up
    /// to where they say all; Mismatch when a page of the index is damaged. Completes synchronously when the pages are cached.
    /// </summary>
    public async ValueTask<(TreeRead Status, int Count, ulong To)> FindAsync(ulong lba, ulong end, Memory<MappedExtent> into)
    {
        var pieces = ArrayPool<MappedExtent>.Shared.Rent(Pieces);
        var began = services.Stages.BeginLookup();
        try
        {
            for (var looks = 0; looks < LooksMax; looks++)
            {
                int count;
                ulong to;
                TreeRoot tree;
                lock (gate)
                {
                    count = state.Map.Look(lba, end, pieces.AsSpan(0, Pieces), out to);
                    tree = state.Map.Tree;
                }

                var (status, found, until) = await FillAsync(tree, pieces.AsMemory(0, count), to, into);
                if (status == TreeRead.Ok)
                {
                    services.Stages.EndLookup(began);
                    return (status, found, until);
                }

                if (!WasReplaced(tree) && looks > 0)
                {
                    break;
                }
            }

            services.TellDamagedIndex();
            return (TreeRead.Mismatch, 0, lba);
        }
        finally
        {
            ArrayPool<MappedExtent>.Shared.Return(pieces);
        }
    }

    /// <summary>Every extent of a view of the map; null when its tree was replaced meanwhile, or is damaged.</summary>
    public async ValueTask<MappedExtent[]?> ResolveAsync(MapView view)
    {
        var extents = new List<MappedExtent>();
        var buffer = new MappedExtent[256];
        foreach (var piece in view.Pieces)
        {
            if (piece.Content != MappedContent.Below)
            {
                extents.Add(piece);
                continue;
            }

            for (var lba = piece.Lba; lba < piece.End;)
            {
                var (status, count) = await services.Tree.FindAsync(view.Tree, lba, piece.End, buffer);
                if (status != TreeRead.Ok)
                {
                    return null;
                }

                extents.AddRange(buffer.AsSpan(0, count));
                lba = count == buffer.Length ? buffer[count - 1].End : piece.End;
            }
        }

        return [.. extents];
    }

    /// <summary>True when the map has another tree by now.</summary>
    public bool WasReplaced(TreeRoot tree)
    {
        lock (gate)
        {
            return state.Map.Tree != tree;
        }
    }

    private async ValueTask<(TreeRead Status, int Count, ulong To)> FillAsync(
        TreeRoot tree, ReadOnlyMemory<MappedExtent> pieces, ulong to, Memory<MappedExtent> into)
    {
        var found = 0;
        for (var i = 0; i < pieces.Length; i++)
        {
            var piece = pieces.Span[i];
            if (found == into.Length)
            {
                return (TreeRead.Ok, found, piece.Lba);
            }

            if (piece.Content != MappedContent.Below)
            {
                into.Span[found++] = piece;
                continue;
            }

            var (status, count) = await services.Tree.FindAsync(tree, piece.Lba, piece.End, into[found..]);
            if (status != TreeRead.Ok)
            {
                return (status, 0, piece.Lba);
            }

            found += count;
            if (found == into.Length && count > 0)
            {
                return (TreeRead.Ok, found, into.Span[found - 1].End);
            }
        }

        return (TreeRead.Ok, found, to);
    }
}
