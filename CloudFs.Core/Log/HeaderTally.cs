using CloudFs.Core.Layout;

namespace CloudFs.Core.Log;

/// <summary>What the headers of a segment take, once it is sealed: writes share them, so it can't be told from extents.</summary>
/// <param name="Entries">Headers and device records in it; 0 where that is not known.</param>
/// <param name="Bytes">Bytes of them, with their second copies and both their places.</param>
public readonly record struct HeaderTally(int Entries, int Bytes)
{
    /// <summary>
    /// What goes with an entry of one page in a long commit, or one of copies: its header, the copy in the trailer (16 + 208
    /// bytes), and both their places in the footer.
    /// </summary>
    public const int EntryOverhead = 512 + 208 + FixedCopyBytes;

    /// <summary>What goes with a copy beside its own bytes: what stands before it in a trailer, and its place in the footer.</summary>
    public const int FixedCopyBytes = AppendSize.PrefixHeaderBytes + SegmentFooter.PlaceBytes;

    /// <summary>
    /// How many entries are left, at most, of which so many extents are: all of a header stays as long as one of them does.
    /// </summary>
    public int EntriesLeft(int references) => Entries == 0 ? references : Math.Min(references, Entries);

    /// <summary>What their headers take, about, and rather too much.</summary>
    public long BytesLeft(int references) =>
        Entries == 0 ? (long)references * EntryOverhead : (long)Bytes * EntriesLeft(references) / Entries;
}
