using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>A range of a map at one moment: extents, and pieces of <see cref="MappedContent.Below"/> that its tree maps.</summary>
public sealed record MapView(TreeRoot Tree, IReadOnlyList<MappedExtent> Pieces);

/// <summary>
/// One disk's map: layers in memory over a tree on the device. The active layer takes every change, so that a write looks
/// nothing up; a checkpoint freezes it, merges the frozen ones into the tree, and puts the new tree in their place.
/// Guarded by the disk's lock; frozen layers never change, so that a merge reads them without it.
/// </summary>
/// <param name="memory">Told of what the layers refer to; null where nobody counts.</param>
public sealed class DiskMap(ILiveness? memory)
{
    /// <summary>Pieces looked up at once in one layer: what fits the stack.</summary>
    private const int Step = 8;

    private readonly List<ExtentMap> _layers = [new ExtentMap(memory)];

    /// <summary>The tree under the layers.</summary>
    public TreeRoot Tree { get; private set; }

    /// <summary>Everything up to this LSN is in the tree; what came after may be in it too, never in the active layer alone.</summary>
    public ulong MergedLsn { get; private set; }

    /// <summary>The layers, oldest first: all but the last are frozen.</summary>
    internal IReadOnlyList<ExtentMap> Layers => _layers;

    /// <summary>Extents in memory.</summary>
    public int LayerExtents => _layers.Sum(layer => layer.Count);

    /// <summary>
    /// Sectors of data: exact once all is merged; until then what was overwritten since the last merge counts twice.
    /// </summary>
    public ulong DataSectors => Tree.DataSectors + Sum(layer => layer.DataSectors);

    /// <summary>Sectors that are lost, what was overwritten since the last merge included; 0 only when none is.</summary>
    public ulong LostSectors => Tree.LostSectors + Sum(layer => layer.LostSectors);

    /// <summary>Maps a run of sectors, superseding whatever it covers.</summary>
    public void Apply(in MappedExtent extent) => _layers[^1].Apply(extent);

    /// <summary>Maps a run of sectors in the active layer, where nothing newer is mapped there.</summary>
    public void ApplyNewest(in MappedExtent extent) => _layers[^1].ApplyNewest(extent);

    /// <summary>Forgets the active layer: the disk was deleted. Frozen layers and the tree go with the next checkpoint.</summary>
    public void Clear() => _layers[^1].Clear();

    /// <summary>
    /// Copies what maps [lba, end) in order, clipped to it, until <paramref name="into"/> is full: extents of the layers, and
    /// pieces of <see cref="MappedContent.Below"/> for which the tree has to be asked.
    /// </summary>
    /// <param name="lba">The first sector.</param>
    /// <param name="end">The sector after the last.</param>
    /// <param name="into">Takes the pieces; at least one.</param>
    /// <param name="to">Up to where they say all.</param>
    /// <returns>How many.</returns>
    public int Look(ulong lba, ulong end, Span<MappedExtent> into, out ulong to)
    {
        var count = 0;
        var all = Look(_layers.Count - 1, lba, end, into, ref count);
        to = all ? end : into[count - 1].End;
        return count;
    }

    /// <summary>A range as it is mapped now, which further changes leave alone. As large as the range has pieces.</summary>
    public MapView View(ulong lba, ulong end)
    {
        var pieces = new List<MappedExtent>();
        var some = new MappedExtent[64];
        while (lba < end)
        {
            var count = Look(lba, end, some, out lba);
            pieces.AddRange(some.AsSpan(0, count));
        }

        return new MapView(Tree, pieces);
    }

    /// <summary>False only when nothing after <paramref name="lsn"/> has set the sector. Asks no tree.</summary>
    public bool MayBeNewer(ulong lba, ulong lsn)
    {
        Span<MappedExtent> one = stackalloc MappedExtent[1];
        return MergedLsn > lsn || (Look(lba, lba + 1, one, out _) == 1 && one[0].Lsn > lsn);
    }

    /// <summary>Begins a new active layer. Gives the frozen ones, oldest first, which the next merge takes in.</summary>
    public IReadOnlyList<ExtentMap> Freeze()
    {
        if (_layers[^1].Count > 0)
        {
            _layers.Add(new ExtentMap(memory));
        }

        return [.. _layers.Take(_layers.Count - 1)];
    }

    /// <summary>The frozen layers are in a new tree: it takes their place. Their references are the caller's to take back.</summary>
    /// <param name="tree">The tree with all of them.</param>
    /// <param name="layers">What <see cref="Freeze"/> gave.</param>
    /// <param name="lsn">The head's LSN when it did.</param>
    public void Merged(TreeRoot tree, IReadOnlyList<ExtentMap> layers, ulong lsn)
    {
        for (var i = 0; i < layers.Count; i++)
        {
            Invariant.That(ReferenceEquals(_layers[i], layers[i]), "layers are merged in order");
        }

        _layers.RemoveRange(0, layers.Count);
        Tree = tree;
        MergedLsn = Math.Max(MergedLsn, lsn);
    }

    /// <summary>Takes back what a checkpoint kept.</summary>
    public void Restore(TreeRoot tree, ulong lsn)
    {
        Tree = tree;
        MergedLsn = lsn;
    }

    private ulong Sum(Func<ExtentMap, ulong> of)
    {
        ulong sum = 0;
        foreach (var layer in _layers)
        {
            sum += of(layer);
        }

        return sum;
    }

    /// <summary>Looks into a layer and, where it has nothing, into those below. False when there is no room for more.</summary>
    private bool Look(int layer, ulong lba, ulong end, Span<MappedExtent> into, ref int count)
    {
        if (layer < 0)
        {
            return Tree.IsEmpty
                || Add(new MappedExtent(lba, end - lba, MappedContent.Below, 0, 0, LogPosition.None), into, ref count);
        }

        Span<MappedExtent> found = stackalloc MappedExtent[Step];
        while (lba < end)
        {
            var pieces = _layers[layer].Find(lba, end, found);
            for (var i = 0; i < pieces; i++)
            {
                if ((found[i].Lba > lba && !Look(layer - 1, lba, found[i].Lba, into, ref count))
                    || !Add(found[i], into, ref count))
                {
                    return false;
                }

                lba = found[i].End;
            }

            if (pieces < Step)
            {
                return lba == end || Look(layer - 1, lba, end, into, ref count);
            }
        }

        return true;
    }

    private static bool Add(in MappedExtent piece, Span<MappedExtent> into, ref int count)
    {
        if (count == into.Length)
        {
            return false;
        }

        into[count++] = piece;
        return true;
    }
}
