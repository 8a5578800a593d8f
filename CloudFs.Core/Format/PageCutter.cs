namespace CloudFs.Core.Format;

/// <summary>
/// How a run of sectors is cut into pages: at multiples of 8 sectors in the disk's own address space, so that a page
/// rewritten later covers exactly the one before. All arguments are in sectors.
/// </summary>
public static class PageCutter
{
    /// <summary>Number of pages of a run. Longer runs than an entry can hold are counted too.</summary>
    public static int Count(ulong lba, uint sectors) => sectors == 0
        ? 0
        : (int)(((lba + sectors - 1) / EntryLayout.PageSectors) - (lba / EntryLayout.PageSectors) + 1);

    /// <summary>First sector of the page with that index, counted from 0 within the run.</summary>
    public static ulong LbaOf(ulong lba, int page) =>
        page == 0 ? lba : ((lba / EntryLayout.PageSectors) + (uint)page) * EntryLayout.PageSectors;

    /// <summary>Sectors of the page with that index: 1 to 8. The index is below <see cref="Count"/>.</summary>
    public static int SectorsOf(ulong lba, uint sectors, int page)
    {
        var start = LbaOf(lba, page);
        var end = Math.Min(LbaOf(lba, page + 1), lba + sectors);
        return (int)(end - start);
    }
}
