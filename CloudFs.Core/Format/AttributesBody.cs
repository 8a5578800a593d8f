using System.Text.Json;
using System.Text.Json.Nodes;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// A change of a disk's attributes: <c>disk</c>, <c>snapshots</c> and <c>horizon</c> as one entry states them. Absent
/// means unchanged, null removes. The body of kind 4, and a part of the bodies of kinds 2 and 3. Immutable.
/// </summary>
public sealed class AttributesBody
{
    internal const string DiskKey = "disk";
    internal const string SizeKey = "size";
    internal const string NameKey = "name";
    internal const string DurabilityKey = "durability";
    internal const string DeletedKey = "deleted";
    internal const string PatienceKey = "patience";
    internal const string SnapshotsKey = "snapshots";
    internal const string HorizonKey = "horizon";

    private static readonly string[] Keys = [DiskKey, SnapshotsKey, HorizonKey];

    private AttributesBody(JsonObject patch) => Patch = patch;

    /// <summary>Changes nothing.</summary>
    public static AttributesBody Empty { get; } = new([]);

    /// <summary>True if it changes nothing.</summary>
    public bool IsEmpty => Patch.Count == 0;

    /// <summary>Never written to after construction.</summary>
    internal JsonObject Patch { get; }

    /// <summary>Parses the body of kind 4.</summary>
    /// <param name="body">The whole body with its padding.</param>
    /// <param name="attributes">The change; empty on error.</param>
    /// <param name="fault">The first rule that is broken.</param>
    public static bool TryParse(ReadOnlySpan<byte> body, out AttributesBody attributes, out FormatFault fault)
    {
        attributes = Empty;
        if (!BodyJson.TryRead(body, out var root, out fault))
        {
            return false;
        }

        foreach (var (key, _) in root)
        {
            if (!Keys.Contains(key))
            {
                fault = new(FormatError.JsonKeyUnexpected, key);
                return false;
            }
        }

        return TryTake(root, out attributes, out fault);
    }

    /// <summary>The change with this size of the disk.</summary>
    /// <param name="bytes">A positive multiple of 512.</param>
    public AttributesBody WithSize(ulong bytes) => WithDisk(SizeKey, JsonValue.Create(bytes));

    /// <summary>The change with this name of the disk; null takes its name away.</summary>
    public AttributesBody WithName(string? name) => WithDisk(NameKey, JsonValue.Create(name));

    /// <summary>The change with this durability.</summary>
    public AttributesBody WithDurability(Durability durability) =>
        WithDisk(DurabilityKey, JsonValue.Create(durability.Text()));

    /// <summary>The change with this patience: how long requests wait for too few replicas, in seconds; 0 for ever.</summary>
    public AttributesBody WithPatience(uint seconds) => WithDisk(PatienceKey, JsonValue.Create((ulong)seconds));

    /// <summary>The change with the disk's end: no entry can follow.</summary>
    public AttributesBody WithDeleted() => WithDisk(DeletedKey, JsonValue.Create(true));

    /// <summary>The change with a named version; null takes the name away.</summary>
    public AttributesBody WithSnapshot(string name, Id160? version) =>
        WithSet(SnapshotsKey, name, JsonValue.Create(version?.ToString()));

    /// <summary>The change with this horizon, an LSN.</summary>
    public AttributesBody WithHorizon(ulong lsn) => Changed(patch => patch[HorizonKey] = JsonValue.Create(lsn));

    /// <summary>UTF-8, padded with spaces to whole sectors: a body of kind 4.</summary>
    /// <exception cref="ArgumentException">It is longer than a body may be.</exception>
    public byte[] ToBytes() => BodyJson.ToPaddedBytes(writer => Patch.WriteTo(writer));

    /// <summary>Takes the three keys out of any body's object and checks them; other keys are not looked at.</summary>
    internal static bool TryTake(JsonObject root, out AttributesBody attributes, out FormatFault fault)
    {
        var patch = new JsonObject();
        foreach (var key in Keys)
        {
            if (root.TryGetPropertyValue(key, out var value))
            {
                patch[key] = value?.DeepClone();
            }
        }

        var where = AttributeRules.FirstBad(patch);
        fault = where is null ? default : new(FormatError.JsonValue, where);
        attributes = where is null ? new(patch) : Empty;
        return where is null;
    }

    internal void WriteTo(Utf8JsonWriter writer)
    {
        foreach (var (key, value) in Patch)
        {
            writer.WritePropertyName(key);
            if (value is null)
            {
                writer.WriteNullValue();
            }
            else
            {
                value.WriteTo(writer);
            }
        }
    }

    private AttributesBody WithDisk(string key, JsonNode? value) => WithSet(DiskKey, key, value);

    private AttributesBody WithSet(string group, string key, JsonNode? value) => Changed(patch =>
    {
        if (patch[group] is not JsonObject members)
        {
            members = [];
            patch[group] = members;
        }

        members[key] = value;
    });

    private AttributesBody Changed(Action<JsonObject> change)
    {
        var patch = (JsonObject)Patch.DeepClone();
        change(patch);
        var where = AttributeRules.FirstBad(patch);
        return where is null ? new(patch) : throw new ArgumentException($"{where}: {FormatError.JsonValue.Text()}");
    }
}
