using System.Globalization;

namespace CloudFs.Core.Contracts;

/// <summary>
/// Sizes in bytes as people write and read them: <c>65536</c>, <c>512M</c>, <c>64G</c>, <c>8GiB</c>. Powers of 1024
/// alone: a suffix such as <c>GB</c>, which means another number to every second reader, is refused.
/// </summary>
public static class SizeText
{
    private const string Suffixes = "KMGTPE";

    /// <summary>
    /// Parses a size in bytes; false for anything that is not exactly one number with one known suffix.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<char> text, out ulong bytes)
    {
        bytes = 0;
        text = text.Trim();
        var digits = 0;
        while (digits < text.Length && char.IsAsciiDigit(text[digits]))
        {
            digits++;
        }

        if (!ulong.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return false;
        }

        var suffix = text[digits..];
        if (suffix.IsEmpty)
        {
            bytes = number;
            return true;
        }

        var power = Suffixes.IndexOf(char.ToUpperInvariant(suffix[0]), StringComparison.Ordinal) + 1;
        var rest = suffix[1..];
        if (power == 0 || (!rest.IsEmpty && !rest.Equals("iB", StringComparison.OrdinalIgnoreCase)))
        {
            return false;
        }

        var scaled = (UInt128)number << (10 * power);
        bytes = (ulong)scaled;
        return scaled <= ulong.MaxValue;
    }

    /// <summary>For people: <c>8 GiB</c>, <c>1.5 MiB</c>, <c>512 B</c>; at most one digit after the point.</summary>
    public static string Format(ulong bytes)
    {
        var power = 0;
        while (power < Suffixes.Length && bytes >> (10 * power) >= 1024)
        {
            power++;
        }

        if (power == 0)
        {
            return string.Create(CultureInfo.InvariantCulture, $"{bytes} B");
        }

        var value = bytes / (double)(1UL << (10 * power));
        return string.Create(CultureInfo.InvariantCulture, $"{value:0.#} {Suffixes[power - 1]}iB");
    }
}
