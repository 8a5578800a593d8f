using System.Text.Json.Nodes;

namespace CloudFs.Core.Format;

/// <summary>Types and ranges of the known attributes. Unknown keys pass, and null always does: it removes.</summary>
internal static class AttributeRules
{
    /// <summary>The key whose value is not as it must be, such as <c>disk.size</c>; null if all are.</summary>
    public static string? FirstBad(JsonObject patch) =>
        FirstBadDisk(patch[AttributesBody.DiskKey])
        ?? FirstBadSnapshot(patch[AttributesBody.SnapshotsKey])
        ?? (patch[AttributesBody.HorizonKey] is { } horizon && !BodyJson.TryGetNumber(horizon, out _)
            ? AttributesBody.HorizonKey
            : null);

    private static string? FirstBadDisk(JsonNode? node)
    {
        if (node is null)
        {
            return null;
        }

        if (node is not JsonObject disk)
        {
            return AttributesBody.DiskKey;
        }

        foreach (var (key, value) in disk)
        {
            if (value is not null && !IsDiskValue(key, value))
            {
                return $"{AttributesBody.DiskKey}.{key}";
            }
        }

        return null;
    }

    private static bool IsDiskValue(string key, JsonNode value) => key switch
    {
        AttributesBody.SizeKey =>
            BodyJson.TryGetNumber(value, out var size) && size > 0 && size % EntryLayout.SectorSize == 0,
        AttributesBody.NameKey => BodyJson.TryGetString(value, out var name) && EntryName.IsValid(name),
        AttributesBody.DurabilityKey =>
            BodyJson.TryGetString(value, out var word) && DurabilityText.TryParse(word, out _),
        AttributesBody.PatienceKey => BodyJson.TryGetNumber(value, out var seconds) && seconds <= uint.MaxValue,
        AttributesBody.DeletedKey => BodyJson.TryGetBoolean(value, out var deleted) && deleted,
        _ => true,
    };

    private static string? FirstBadSnapshot(JsonNode? node)
    {
        if (node is null)
        {
            return null;
        }

        if (node is not JsonObject snapshots)
        {
            return AttributesBody.SnapshotsKey;
        }

        foreach (var (name, version) in snapshots)
        {
            if (!EntryName.IsValid(name) || (version is not null && !BodyJson.TryGetId(version, out _)))
            {
                return $"{AttributesBody.SnapshotsKey}.{name}";
            }
        }

        return null;
    }
}
