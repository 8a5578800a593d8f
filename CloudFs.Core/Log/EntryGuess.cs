using CloudFs.Core.Format;
using CloudFs.Core.Index;

namespace CloudFs.Core.Log;

/// <summary>
/// Where an extent's pages are thought to lie before the entry's header was read, so that header and pages are one read of the
/// device, or two that run beside each other. It is right where the extents before this one have a page each, which is how
/// short writes look. A guess that is wrong costs a read, and no more: what counts is what the header says.
/// </summary>
/// <param name="PagesAt">Bytes from the entry's beginning.</param>
/// <param name="PagesLength">Their bytes, whole pages.</param>
internal readonly record struct EntryGuess(int PagesAt, int PagesLength)
{
    /// <summary>What is read at once at most: more bytes of a device cost less than another read of it up to about here.</summary>
    public const int FirstReadMax = 20 << 10;

    /// <summary>The end of the pages.</summary>
    public int End => PagesAt + PagesLength;

    /// <summary>How much to read at first.</summary>
    public int FirstRead => End <= FirstReadMax ? End : EntryLayout.SectorSize;

    /// <summary>
    /// True when the pages are a read of their own, and so few that a wrong guess costs little: of long entries pieces are read,
    /// and what lies before them in the entry is not known.
    /// </summary>
    public bool HasPagesApart => End > FirstReadMax && PagesLength <= FirstReadMax;

    /// <summary>Where that is.</summary>
    public LogRange PagesOf(in MappedExtent extent) => new(extent.Position.Plus(PagesAt), PagesLength);

    /// <summary>The guess for an extent, clipped to what is wanted of it.</summary>
    public static EntryGuess Of(in MappedExtent extent)
    {
        int before = extent.ExtentIndex;
        var first = extent.Lba / EntryLayout.PageSectors;
        var end = (extent.End + EntryLayout.PageSectors - 1) / EntryLayout.PageSectors;
        var wanted = (int)Math.Min(end - first, EntryLayout.MaxBodyLength / EntryLayout.PageSize);
        var header = EntryLayout.HeaderLength(before + 1, before + wanted);
        return new EntryGuess(header + (before * EntryLayout.PageSize), wanted * EntryLayout.PageSize);
    }
}
