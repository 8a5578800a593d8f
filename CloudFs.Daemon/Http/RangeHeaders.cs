using System.Globalization;

namespace CloudFs.Daemon.Http;

/// <summary>A run of bytes of a disk. Never empty once it was parsed.</summary>
internal readonly record struct ByteRange(ulong Offset, ulong Length)
{
    /// <summary>The first byte behind the range; a parsed range ends within the disk, so this can't overflow.</summary>
    public ulong End => Offset + Length;

    /// <summary>As in a header: <c>0-511</c>.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Offset}-{Offset + Length - 1}");
}

/// <summary>What is wrong with a range that came in a header.</summary>
internal enum RangeVerdict
{
    /// <summary>Nothing: the range lies within the disk.</summary>
    Good,

    /// <summary>Not the syntax (400).</summary>
    Malformed,

    /// <summary>More than one range (400): an answer has one part.</summary>
    Several,

    /// <summary>No byte of it, or for a write not every byte, lies within the disk (416).</summary>
    Outside,

    /// <summary>It states another size of the disk than it has (400).</summary>
    OtherSize,
}

/// <summary>
/// <c>Range</c> of a read and <c>Content-Range</c> of a write (RFC 9110, 14), as pure functions. Any text may come in
/// here; numbers beyond 64 bits are as good as the largest number, because both lie behind the end of every disk.
/// </summary>
internal static class RangeHeaders
{
    private const string Unit = "bytes";

    /// <summary>
    /// Parses <c>bytes=a-b</c>, <c>bytes=a-</c> or <c>bytes=-n</c>. An end behind the disk's is cut to it, as the RFC
    /// asks; a beginning behind it is <see cref="RangeVerdict.Outside"/>.
    /// </summary>
    public static RangeVerdict ParseRange(ReadOnlySpan<char> header, ulong size, out ByteRange range)
    {
        range = default;
        var equals = header.IndexOf('=');
        if (equals < 0 || !Trim(header[..equals]).Equals(Unit, StringComparison.OrdinalIgnoreCase))
        {
            return RangeVerdict.Malformed;
        }

        var set = Trim(header[(equals + 1)..]);
        if (set.Contains(','))
        {
            return RangeVerdict.Several;
        }

        var dash = set.IndexOf('-');
        if (dash < 0)
        {
            return RangeVerdict.Malformed;
        }

        var first = set[..dash];
        var last = set[(dash + 1)..];
        return first.IsEmpty ? Suffix(last, size, out range) : FromTo(first, last, size, out range);
    }

    /// <summary>
    /// Parses <c>bytes a-b/*</c> or <c>bytes a-b/size</c>. The whole range must lie within the disk: a write is never
    /// cut.
    /// </summary>
    public static RangeVerdict ParseContentRange(ReadOnlySpan<char> header, ulong size, out ByteRange range)
    {
        range = default;
        header = Trim(header);
        if (!header.StartsWith(Unit, StringComparison.OrdinalIgnoreCase)
            || header.Length == Unit.Length || header[Unit.Length] is not (' ' or '\t'))
        {
            return RangeVerdict.Malformed;
        }

        header = Trim(header[Unit.Length..]);
        var dash = header.IndexOf('-');
        var slash = header.IndexOf('/');
        if (dash < 0 || slash < dash
            || !TryNumber(header[..dash], out var first) || !TryNumber(header[(dash + 1)..slash], out var last)
            || last < first)
        {
            return RangeVerdict.Malformed;
        }

        var stated = header[(slash + 1)..];
        ulong statedSize = size;
        if (stated is not "*" && !TryNumber(stated, out statedSize))
        {
            return RangeVerdict.Malformed;
        }

        if (statedSize != size)
        {
            return RangeVerdict.OtherSize;
        }

        if (last >= size)
        {
            return RangeVerdict.Outside;
        }

        range = new ByteRange(first, last - first + 1);
        return RangeVerdict.Good;
    }

    private static RangeVerdict Suffix(ReadOnlySpan<char> count, ulong size, out ByteRange range)
    {
        range = default;
        if (!TryNumber(count, out var wanted))
        {
            return RangeVerdict.Malformed;
        }

        var length = Math.Min(wanted, size);
        if (length == 0)
        {
            return RangeVerdict.Outside;
        }

        range = new ByteRange(size - length, length);
        return RangeVerdict.Good;
    }

    private static RangeVerdict FromTo(
        ReadOnlySpan<char> from, ReadOnlySpan<char> to, ulong size, out ByteRange range)
    {
        range = default;
        var last = ulong.MaxValue;
        if (!TryNumber(from, out var first) || (!to.IsEmpty && !TryNumber(to, out last)) || last < first)
        {
            return RangeVerdict.Malformed;
        }

        if (first >= size)
        {
            return RangeVerdict.Outside;
        }

        range = new ByteRange(first, Math.Min(last, size - 1) - first + 1);
        return RangeVerdict.Good;
    }

    private static bool TryNumber(ReadOnlySpan<char> text, out ulong value)
    {
        value = 0;
        if (text.IsEmpty || text.ContainsAnyExceptInRange('0', '9'))
        {
            return false;
        }

        if (!ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value))
        {
            value = ulong.MaxValue;
        }

        return true;
    }

    private static ReadOnlySpan<char> Trim(ReadOnlySpan<char> text) => text.Trim(" \t");
}
