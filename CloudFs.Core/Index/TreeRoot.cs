using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>
/// One state of a tree of extents on the device, whole and never changed: its root page, and what is in it. The default is
/// the empty tree.
/// </summary>
/// <param name="Page">The number of the root page; 0 for the empty tree.</param>
/// <param name="Check">XXH64 of the root page's bytes.</param>
/// <param name="Height">Levels, leaves included; 0 for the empty tree.</param>
/// <param name="Extents">Extents in it.</param>
/// <param name="DataSectors">Sectors mapped to data.</param>
/// <param name="LostSectors">Sectors mapped as lost.</param>
/// <param name="Pages">Pages that it takes.</param>
public readonly record struct TreeRoot(
    ulong Page, ulong Check, int Height, ulong Extents, ulong DataSectors, ulong LostSectors, ulong Pages)
{
    /// <summary>True when nothing is mapped.</summary>
    public bool IsEmpty => Page == 0;
}

/// <summary>How a look into a tree ended.</summary>
public enum TreeRead
{
    /// <summary>It was found out.</summary>
    Ok,

    /// <summary>A page is not the one that its parent means: the tree was replaced meanwhile, or the page is damaged.</summary>
    Mismatch,
}

/// <summary>A relocated run of sectors: where a tree maps them to the old place, it is to map them to the new one.</summary>
/// <param name="Lba">The first sector.</param>
/// <param name="Sectors">At least 1.</param>
/// <param name="Lsn">The entry's LSN, which does not change.</param>
/// <param name="From">Where the entry's header lay.</param>
/// <param name="To">Where the copy's header lies; none when the bytes could not be had: the sectors are lost.</param>
public readonly record struct ExtentMove(ulong Lba, ulong Sectors, ulong Lsn, LogPosition From, LogPosition To)
{
    /// <summary>The sector after the last.</summary>
    public ulong End => Lba + Sectors;
}

/// <summary>Told of every extent that a merge takes into a tree or out of it: the sum over all is what the tree refers to.</summary>
public interface ITreeLiveness
{
    /// <summary>An extent stands in the tree now.</summary>
    void Added(in MappedExtent extent);

    /// <summary>An extent does not stand in the tree any more.</summary>
    /// <param name="extent">What it was.</param>
    /// <param name="byLsn">The LSN of what superseded it; 0 when it was split, joined or moved.</param>
    void Removed(in MappedExtent extent, ulong byLsn);
}
