using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Entity tags: a version id in quotes. Pure functions; see RFC 9110, 8.8.3 and 13.1. Versions are exact, so a weak tag
/// (<c>W/"…"</c>) never comes from here and matches nothing.
/// </summary>
internal static class EntityTags
{
    // More tags than this in a condition are refused: a client names the version it read.
    private const int MaxTags = 16;

    public static string Format(Id160 version) => $"\"{version}\"";

    /// <summary>
    /// Parses a condition. <paramref name="any"/> for <c>*</c>, else the versions named; a tag that is no version id of
    /// ours is well-formed and matches nothing, so it is left out. False when the header is malformed.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<char> header, out bool any, out List<Id160> versions)
    {
        versions = [];
        header = header.Trim(" \t");
        any = header is "*";
        if (any)
        {
            return true;
        }

        for (var tags = 0; tags < MaxTags; tags++)
        {
            var weak = header.StartsWith("W/");
            header = weak ? header[2..] : header;
            var close = header.Length > 1 && header[0] == '"' ? header[1..].IndexOf('"') : -1;
            if (close < 0)
            {
                return false;
            }

            if (!weak && Id160.TryParse(header.Slice(1, close), out var version))
            {
                versions.Add(version);
            }

            header = header[(close + 2)..].TrimStart(" \t");
            if (header.IsEmpty)
            {
                return true;
            }

            if (header[0] != ',')
            {
                return false;
            }

            header = header[1..].TrimStart(" \t");
        }

        return false;
    }
}
