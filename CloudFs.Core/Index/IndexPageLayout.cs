namespace CloudFs.Core.Index;

/// <summary>Offsets of the fields of an index page's head (docs/format/index.md). Behind it come the columns' values.</summary>
public static class IndexPageLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int Level = 6;
    public const int Count = 8;
    public const int Columns = 16;

    /// <summary>Bytes of a whole page.</summary>
    public const int Size = 4096;

    /// <summary>Bytes of the head, and where the values begin.</summary>
    public const int HeaderBytes = 88;

    /// <summary>Columns that every page describes; an inner page leaves those behind the third empty.</summary>
    public const int ColumnCount = 6;

    /// <summary>More rows than this can't differ in their first column and fit.</summary>
    public const int RowsMax = (Size - HeaderBytes) / 2;

    /// <summary>Levels that a tree may have: with three hundred rows a page, five hold all there can be.</summary>
    public const int HeightMax = 16;
}

/// <summary>Offsets of the fields that describe one column.</summary>
public static class IndexColumnLayout
{
    public const int Base = 0;
    public const int Width = 8;
    public const int Shift = 9;
    public const int Size = 12;
}
