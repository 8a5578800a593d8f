using System.Buffers.Binary;

namespace CloudFs.Core.Index;

/// <summary>
/// An index page, read in place. Nothing is decoded but what is asked for, and no bytes, whatever they are, make it read
/// outside of the page. <see cref="IsSound"/> is for once, when a page comes from the device.
/// </summary>
internal readonly ref struct IndexPage
{
    private readonly ReadOnlySpan<byte> _page;
    private readonly PageColumn _keys;

    /// <summary>A page that was found sound.</summary>
    public IndexPage(ReadOnlySpan<byte> page)
    {
        _page = page[..IndexPageLayout.Size];
        Count = BinaryPrimitives.ReadUInt16LittleEndian(_page[IndexPageLayout.Count..]);
        _keys = new PageColumn(_page, 0, IndexPageLayout.HeaderBytes);
    }

    public int Count { get; }

    public int Level => _page[IndexPageLayout.Level];

    /// <summary>True when the page is of this level and makes sense throughout.</summary>
    public static bool IsSound(ReadOnlySpan<byte> page, int level)
    {
        if (page.Length != IndexPageLayout.Size || !page[..4].SequenceEqual(PageFrame.MagicBytes)
            || page[IndexPageLayout.MinReader] > 1 || page[IndexPageLayout.Level] != level)
        {
            return false;
        }

        var opened = new IndexPage(page);
        var width = 0;
        for (var column = 0; column < IndexPageLayout.ColumnCount; column++)
        {
            var description = new PageColumn(page, column, 0);
            if (description.Width > sizeof(ulong) || description.Shift > 63)
            {
                return false;
            }

            width += description.Width;
        }

        return opened.Count is > 0 and <= IndexPageLayout.RowsMax
            && width * opened.Count <= IndexPageLayout.Size - IndexPageLayout.HeaderBytes
            && (level == 0 ? opened.HasSoundExtents() : opened.HasSoundChildren());
    }

    /// <summary>The first column of a row: where its extent, or what is below its child, begins.</summary>
    public ulong Key(int row) => _keys.Get(_page, row);

    /// <summary>The last row that begins at or before a sector; -1 when all begin behind it.</summary>
    public int LastAtOrBefore(ulong lba)
    {
        var low = 0;
        var high = Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_keys.Get(_page, middle) <= lba)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low - 1;
    }

    /// <summary>The child in a row of an inner page.</summary>
    public PagePointer Child(int row)
    {
        var page = new PageColumn(_page, 1, _keys.After(Count));
        var check = new PageColumn(_page, 2, page.After(Count));
        return new PagePointer(Key(row), page.Get(_page, row), check.Get(_page, row));
    }

    /// <summary>The extents of a leaf, for reading many.</summary>
    public LeafRows Extents() => new(_page, Count);

    private bool HasSoundExtents()
    {
        var rows = Extents();
        var end = 0UL;
        for (var row = 0; row < Count; row++)
        {
            var extent = rows[row];
            if (extent.Lba < end || extent.Sectors == 0 || extent.End <= extent.Lba || extent.Content > MappedContent.Lost)
            {
                return false;
            }

            end = extent.End;
        }

        return true;
    }

    private bool HasSoundChildren()
    {
        for (var row = 0; row < Count; row++)
        {
            if (Child(row).Page == 0 || (row > 0 && Key(row) <= Key(row - 1)))
            {
                return false;
            }
        }

        return true;
    }
}

/// <summary>The extents of a leaf, decoded one by one.</summary>
internal readonly ref struct LeafRows
{
    private readonly ReadOnlySpan<byte> _page;
    private readonly PageColumn _lba;
    private readonly PageColumn _sectors;
    private readonly PageColumn _lsn;
    private readonly PageColumn _position;
    private readonly PageColumn _extentIndex;
    private readonly PageColumn _content;

    public LeafRows(ReadOnlySpan<byte> page, int count)
    {
        _page = page;
        _lba = new PageColumn(page, 0, IndexPageLayout.HeaderBytes);
        _sectors = new PageColumn(page, 1, _lba.After(count));
        _lsn = new PageColumn(page, 2, _sectors.After(count));
        _position = new PageColumn(page, 3, _lsn.After(count));
        _extentIndex = new PageColumn(page, 4, _position.After(count));
        _content = new PageColumn(page, 5, _extentIndex.After(count));
    }

    public MappedExtent this[int row] => new(
        _lba.Get(_page, row), _sectors.Get(_page, row), (MappedContent)Math.Min(_content.Get(_page, row), byte.MaxValue),
        unchecked((ushort)_extentIndex.Get(_page, row)), _lsn.Get(_page, row), PageRow.Unfold(_position.Get(_page, row)));
}

/// <summary>One column of a page: values of equal width, each times a power of two above a base.</summary>
internal readonly struct PageColumn
{
    private readonly ulong _base;
    private readonly int _start;

    public PageColumn(ReadOnlySpan<byte> page, int column, int start)
    {
        var description = page.Slice(IndexPageLayout.Columns + (column * IndexColumnLayout.Size), IndexColumnLayout.Size);
        _base = BinaryPrimitives.ReadUInt64LittleEndian(description[IndexColumnLayout.Base..]);
        Width = description[IndexColumnLayout.Width];
        Shift = description[IndexColumnLayout.Shift];
        _start = start;
    }

    public int Width { get; }

    public int Shift { get; }

    /// <summary>Where the next column begins.</summary>
    public int After(int count) => _start + (Width * count);

    public ulong Get(ReadOnlySpan<byte> page, int row)
    {
        if (Width == 0)
        {
            return _base;
        }

        // Eight bytes are read that hold the value, also where it ends with the page.
        var at = _start + (row * Width);
        var from = Math.Min(at, IndexPageLayout.Size - sizeof(ulong));
        var word = BinaryPrimitives.ReadUInt64LittleEndian(page[from..]) >> ((at - from) * 8);
        var value = Width == sizeof(ulong) ? word : word & ((1UL << (Width * 8)) - 1);
        return unchecked(_base + (value << Shift));
    }
}
