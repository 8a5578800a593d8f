using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>What a mapped run of sectors reads as.</summary>
public enum MappedContent : byte
{
    /// <summary>Pages of an entry in the log.</summary>
    Data = 0,

    /// <summary>Zeroes, by an entry that said so.</summary>
    Zero = 1,

    /// <summary>Not to be had: rotted, dropped before it came here, or in doubt. Reads answer EIO.</summary>
    Lost = 2,

    /// <summary>Nothing above says what it reads as: the tree must be asked. Never stored.</summary>
    Below = 255,
}

/// <summary>
/// A run of sectors and the entry that set it. The page is found through the entry's header, which every read checks:
/// so the index needs neither hashes nor offsets, and an index that is wrong can't return wrong bytes.
/// </summary>
/// <param name="Lba">The first sector.</param>
/// <param name="Sectors">At least 1.</param>
/// <param name="Content">What it reads as.</param>
/// <param name="ExtentIndex">Which extent of the entry it is (part of).</param>
/// <param name="Lsn">The entry's LSN; 0 for <see cref="MappedContent.Lost"/> by no known entry.</param>
/// <param name="Position">Where the entry's header lies; none for <see cref="MappedContent.Lost"/>.</param>
public readonly record struct MappedExtent(
    ulong Lba, ulong Sectors, MappedContent Content, ushort ExtentIndex, ulong Lsn, LogPosition Position)
{
    /// <summary>The sector after the last.</summary>
    public ulong End => Lba + Sectors;

    /// <summary>True when both come from the same extent of the same entry, so that they may be one.</summary>
    public bool SameSource(in MappedExtent other) =>
        Content == other.Content && Position == other.Position && Lsn == other.Lsn
        && (ExtentIndex == other.ExtentIndex || Content != MappedContent.Data);

    /// <summary>
    /// True when the other came later: of a later entry; or of the same one, whose bytes it has where this one lost them, or
    /// which it is a later copy of.
    /// </summary>
    public bool IsOlderThan(in MappedExtent other) =>
        Lsn != other.Lsn ? Lsn < other.Lsn
        : (Content == MappedContent.Lost) != (other.Content == MappedContent.Lost) ? Content == MappedContent.Lost
        : ExtentIndex != other.ExtentIndex ? ExtentIndex < other.ExtentIndex
        : Position < other.Position;

    /// <summary>The part of it that lies within [from, to).</summary>
    public MappedExtent Clip(ulong from, ulong to)
    {
        var start = Math.Max(Lba, from);
        return this with { Lba = start, Sectors = Math.Min(End, to) - start };
    }
}

/// <summary>Told when the index begins or ceases to refer to an entry's place in the log.</summary>
public interface ILiveness
{
    /// <summary>An extent was mapped.</summary>
    void Added(in MappedExtent extent);

    /// <summary>An extent was unmapped. A split is one removed and two added.</summary>
    void Removed(in MappedExtent extent);
}
