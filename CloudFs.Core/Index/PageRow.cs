using System.Numerics;
using System.Runtime.CompilerServices;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>
/// A row of an index page: one number for each column. Of a leaf: lba, sectors, LSN, position, extent index, content. Of
/// an inner page: the first lba below the child, the child's page, its check.
/// </summary>
[InlineArray(IndexPageLayout.ColumnCount)]
internal struct PageRow
{
    /// <summary>The relocation bit of a position, which goes to the other end, so that both sorts of uses lie close together.</summary>
    private const int RelocationBit = 54;

    private const int SectorBits = 9;

    private ulong _first;

    public readonly ulong Key => _first;

    public static PageRow Of(in MappedExtent extent)
    {
        var row = default(PageRow);
        row[0] = extent.Lba;
        row[1] = extent.Sectors;
        row[2] = extent.Lsn;
        row[3] = Fold(extent.Position.Value);
        row[4] = extent.ExtentIndex;
        row[5] = (ulong)extent.Content;
        return row;
    }

    public static PageRow Of(in PagePointer child)
    {
        var row = default(PageRow);
        row[0] = child.Key;
        row[1] = child.Page;
        row[2] = child.Check;
        return row;
    }

    /// <summary>
    /// A position as it stands in a page: the low 9 bits, which are zeroes, become the highest, bit 63 becomes the lowest.
    /// Nothing is lost, whatever the position.
    /// </summary>
    public static ulong Fold(ulong position)
    {
        var turned = BitOperations.RotateRight(position, SectorBits);
        var odd = turned >> (RelocationBit + 1) << (RelocationBit + 1);
        var low = turned & ((1UL << (RelocationBit + 1)) - 1);
        return odd | ((low << 1) & ((1UL << (RelocationBit + 1)) - 1)) | (low >> RelocationBit);
    }

    /// <summary>The position of which <see cref="Fold"/> made this.</summary>
    public static LogPosition Unfold(ulong folded)
    {
        var odd = folded >> (RelocationBit + 1) << (RelocationBit + 1);
        var low = folded & ((1UL << (RelocationBit + 1)) - 1);
        var turned = odd | (low >> 1) | ((low & 1) << RelocationBit);
        return new LogPosition(BitOperations.RotateLeft(turned, SectorBits));
    }
}

/// <summary>What an inner page says of a child.</summary>
/// <param name="Key">The first sector of the first extent below it.</param>
/// <param name="Page">Its page number.</param>
/// <param name="Check">XXH64 of its bytes.</param>
internal readonly record struct PagePointer(ulong Key, ulong Page, ulong Check);
