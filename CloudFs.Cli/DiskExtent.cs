using System.Globalization;

namespace CloudFs.Cli;

/// <summary>What a run of a disk's bytes is.</summary>
internal enum ExtentContent
{
    Data,
    Hole,
    Damaged,
}

/// <summary>A line of <c>GET /extents</c>: <c>offset length data|hole|damaged</c>.</summary>
internal readonly record struct DiskExtent(ulong Offset, ulong Length, ExtentContent Content)
{
    public ulong End => Offset + Length;

    public static bool TryParse(string line, out DiskExtent extent)
    {
        extent = default;
        var words = line.Split(' ');
        if (words.Length != 3 || !TryNumber(words[0], out var offset) || !TryNumber(words[1], out var length))
        {
            return false;
        }

        ExtentContent? content = words[2] switch
        {
            "data" => ExtentContent.Data,
            "hole" => ExtentContent.Hole,
            "damaged" => ExtentContent.Damaged,
            _ => null,
        };
        extent = new DiskExtent(offset, length, content ?? default);
        return content is not null;
    }

    private static bool TryNumber(string text, out ulong value) =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
