using System.Buffers.Binary;
using System.Numerics;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>
/// The frame of reference of rows that are to share a page: what each column's base, shift and width have to be. It tells
/// whether one more row fits, and writes the page.
/// </summary>
internal struct PageFrame
{
    private const byte CurrentVersion = 1;

    private PageRow _first;
    private PageRow _min;
    private PageRow _max;
    private PageRow _differences;

    /// <summary>Rows so far.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes that the values take.</summary>
    public int Bytes { get; private set; }

    public static ReadOnlySpan<byte> MagicBytes => "CFSI"u8;

    /// <summary>True when the rows fit one page.</summary>
    public static bool Fits(ReadOnlySpan<PageRow> rows)
    {
        var frame = default(PageFrame);
        foreach (ref readonly var row in rows)
        {
            if (!frame.TryAdd(row))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Writes a page of rows that fit one.</summary>
    public static void Write(Span<byte> page, int level, ReadOnlySpan<PageRow> rows)
    {
        var frame = default(PageFrame);
        foreach (ref readonly var row in rows)
        {
            Invariant.That(frame.TryAdd(row), "rows of a page fit it");
        }

        page = page[..IndexPageLayout.Size];
        page.Clear();
        MagicBytes.CopyTo(page);
        page[IndexPageLayout.Version] = CurrentVersion;
        page[IndexPageLayout.MinReader] = CurrentVersion;
        page[IndexPageLayout.Level] = (byte)level;
        BinaryPrimitives.WriteUInt16LittleEndian(page[IndexPageLayout.Count..], checked((ushort)rows.Length));
        var start = IndexPageLayout.HeaderBytes;
        for (var column = 0; column < IndexPageLayout.ColumnCount; column++)
        {
            start = frame.WriteColumn(page, column, start, rows);
        }
    }

    /// <summary>Takes one more row, if the page holds it; else nothing has changed.</summary>
    public bool TryAdd(in PageRow row)
    {
        if (Count == 0)
        {
            (_first, _min, _max, _differences, Count) = (row, row, row, default, 1);
            return true;
        }

        var (min, max, differences) = (_min, _max, _differences);
        var width = 0;
        for (var column = 0; column < IndexPageLayout.ColumnCount; column++)
        {
            min[column] = Math.Min(min[column], row[column]);
            max[column] = Math.Max(max[column], row[column]);
            differences[column] |= unchecked(row[column] - _first[column]);
            width += WidthOf(min[column], max[column], ShiftOf(differences[column]));
        }

        var bytes = width * (Count + 1);
        if (Count == IndexPageLayout.RowsMax || bytes > IndexPageLayout.Size - IndexPageLayout.HeaderBytes)
        {
            return false;
        }

        (_min, _max, _differences, Count, Bytes) = (min, max, differences, Count + 1, bytes);
        return true;
    }

    /// <summary>Numbers that agree in their low bits differ by multiples; it does not matter from which one is counted.</summary>
    private static int ShiftOf(ulong differences) => differences == 0 ? 0 : BitOperations.TrailingZeroCount(differences);

    private static int WidthOf(ulong min, ulong max, int shift) =>
        (64 + 7 - BitOperations.LeadingZeroCount((max - min) >> shift)) / 8;

    private readonly int WriteColumn(Span<byte> page, int column, int start, ReadOnlySpan<PageRow> rows)
    {
        var shift = ShiftOf(_differences[column]);
        var width = WidthOf(_min[column], _max[column], shift);
        var description = page[(IndexPageLayout.Columns + (column * IndexColumnLayout.Size))..];
        BinaryPrimitives.WriteUInt64LittleEndian(description[IndexColumnLayout.Base..], _min[column]);
        description[IndexColumnLayout.Width] = (byte)width;
        description[IndexColumnLayout.Shift] = (byte)shift;
        Span<byte> value = stackalloc byte[sizeof(ulong)];
        foreach (ref readonly var row in rows)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(value, (row[column] - _min[column]) >> shift);
            value[..width].CopyTo(page[start..]);
            start += width;
        }

        return start;
    }
}
