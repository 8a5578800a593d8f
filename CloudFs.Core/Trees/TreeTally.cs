using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>Counts what a tree holds while it changes, and passes on what comes and goes.</summary>
internal sealed class TreeTally(ITreeLiveness liveness, in TreeRoot root)
{
    public ulong Extents { get; private set; } = root.Extents;

    public ulong DataSectors { get; private set; } = root.DataSectors;

    public ulong LostSectors { get; private set; } = root.LostSectors;

    public void Added(in MappedExtent extent)
    {
        Extents++;
        DataSectors += extent.Content == MappedContent.Data ? extent.Sectors : 0;
        LostSectors += extent.Content == MappedContent.Lost ? extent.Sectors : 0;
        liveness.Added(extent);
    }

    public void Removed(in MappedExtent extent, ulong byLsn)
    {
        unchecked
        {
            Extents--;
            DataSectors -= extent.Content == MappedContent.Data ? extent.Sectors : 0;
            LostSectors -= extent.Content == MappedContent.Lost ? extent.Sectors : 0;
        }

        liveness.Removed(extent, byLsn);
    }
}

/// <summary>Goes through the extents of a layer, in order.</summary>
internal sealed class LayerCursor(ExtentRuns layer)
{
    private int _leaf = FirstWithItems(layer, 0);
    private int _item;

    public bool HasCurrent => _leaf < layer.Leaves.Count;

    public MappedExtent Current => layer.Leaves[_leaf][_item];

    public bool StartsBefore(ulong limit) => HasCurrent && Current.Lba < limit;

    public void Next()
    {
        if (++_item == layer.Leaves[_leaf].Count)
        {
            _leaf = FirstWithItems(layer, _leaf + 1);
            _item = 0;
        }
    }

    private static int FirstWithItems(ExtentRuns layer, int leaf)
    {
        while (leaf < layer.Leaves.Count && layer.Leaves[leaf].Count == 0)
        {
            leaf++;
        }

        return leaf;
    }
}
