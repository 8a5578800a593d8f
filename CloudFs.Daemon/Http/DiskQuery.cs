using System.Globalization;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Http;

/// <summary>
/// The query of the endpoints that name a disk: <c>?DISK[&amp;POINT][&amp;once]</c>. Its parts stand alone, they are no
/// key=value pairs; the disk comes first, the others in any order. A point is an LSN in decimal or a version id of 40
/// hex digits (40 digits are an id even where all of them are decimal: no LSN is as long).
/// </summary>
internal readonly record struct DiskQuery(string Disk, ulong? Lsn, Id160? Version, bool Once)
{
    // A disk and two words; a query that is longer is refused before it is taken apart.
    private const int MaxParts = 8;

    private const string TwoPoints = "the query names two points: expected one LSN or one version id";

    /// <summary>Where a stream begins.</summary>
    public StreamPoint Point => Version is { } version ? StreamPoint.After(version)
        : Lsn is { } lsn ? StreamPoint.After(lsn)
        : StreamPoint.Start;

    /// <summary>
    /// Parses a raw query, with or without its question mark. Null when it is good, else the line that says what was
    /// expected.
    /// </summary>
    public static string? Parse(string raw, out DiskQuery query) =>
        ParseParts(raw, out query) ?? (query is { Lsn: not null, Version: not null } ? TwoPoints : null);

    /// <summary>The same for a point that is an LSN and the version there, or none.</summary>
    public static string? ParseState(string raw, out DiskQuery query) =>
        ParseParts(raw, out query) ?? (query.Lsn is null != query.Version is null
            ? "a point is an LSN and the id of the version there: expected ?<disk>[&<lsn>&<version id>][&once]" : null);

    private static string? ParseParts(string raw, out DiskQuery query)
    {
        query = default;
        var text = raw.StartsWith('?') ? raw[1..] : raw;
        var parts = text.Split('&', MaxParts + 1);
        if (parts.Length > MaxParts)
        {
            return "the query has too many parts: expected ?<disk>[&<lsn or version id>][&once]";
        }

        var disk = Uri.UnescapeDataString(parts[0]);
        if (disk.Length == 0)
        {
            return "no disk is named: expected ?<disk>, its 40 digits or its name";
        }

        query = new DiskQuery(disk, null, null, false);
        foreach (var part in parts.AsSpan(1))
        {
            if (Add(Uri.UnescapeDataString(part), ref query) is { } wrong)
            {
                return wrong;
            }
        }

        return null;
    }

    private static string? Add(string part, ref DiskQuery query)
    {
        if (part.Length == 0)
        {
            return null;
        }

        if (part == "once")
        {
            query = query with { Once = true };
            return null;
        }

        bool taken;
        if (Id160.TryParse(part, out var version))
        {
            taken = query.Version is not null;
            query = query with { Version = version };
        }
        else if (ulong.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var lsn))
        {
            taken = query.Lsn is not null;
            query = query with { Lsn = lsn };
        }
        else
        {
            return $"'{Shorten(part)}' is no LSN, no version id of 40 digits, and not the word once";
        }

        return taken ? TwoPoints : null;
    }

    private static string Shorten(string part) => part.Length <= 64 ? part : part[..64] + "…";
}
