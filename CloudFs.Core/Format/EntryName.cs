using System.Buffers;

namespace CloudFs.Core.Format;

/// <summary>The rule for names of disks and snapshots.</summary>
public static class EntryName
{
    /// <summary>Characters of the longest name.</summary>
    public const int MaxLength = 63;

    // An id may be shortened to 8 digits: a name that looks like one would be ambiguous on a command line.
    private const int IdPrefixLength = 8;

    private static readonly SearchValues<char> Allowed =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789ABCDEFabcdef");

    /// <summary>True for 1 to 63 of letters, digits, <c>.</c>, <c>_</c>, <c>-</c>, beginning with a letter, and not 8
    /// or more hex digits alone. Letters are those of ASCII.</summary>
    public static bool IsValid(ReadOnlySpan<char> name) =>
        name.Length is >= 1 and <= MaxLength
        && char.IsAsciiLetter(name[0])
        && !name.ContainsAnyExcept(Allowed)
        && (name.Length < IdPrefixLength || name.ContainsAnyExcept(HexDigits));
}
