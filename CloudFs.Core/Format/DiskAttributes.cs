using System.Text;
using System.Text.Json.Nodes;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// A disk's attributes as all its entries so far have made them: what <see cref="AttributesBody"/> changes add up to.
/// Unknown keys are kept. Immutable, and safe to read from any thread.
/// </summary>
public sealed class DiskAttributes
{
    /// <summary>Bytes of a disk that states no size: 8 GiB.</summary>
    public const ulong DefaultSize = 8UL << 30;

    private readonly JsonObject _state;

    private DiskAttributes(JsonObject state)
    {
        _state = state;
        var disk = state[AttributesBody.DiskKey] as JsonObject;
        Size = BodyJson.TryGetNumber(disk?[AttributesBody.SizeKey], out var size) ? size : DefaultSize;
        Name = BodyJson.TryGetString(disk?[AttributesBody.NameKey], out var name) ? name : null;
        Durability = BodyJson.TryGetString(disk?[AttributesBody.DurabilityKey], out var word)
            && DurabilityText.TryParse(word, out var durability) ? durability : Durability.Flush;
        Patience = BodyJson.TryGetNumber(disk?[AttributesBody.PatienceKey], out var patience) && patience <= uint.MaxValue
            ? TimeSpan.FromSeconds(patience) : null;
        Deleted = BodyJson.TryGetBoolean(disk?[AttributesBody.DeletedKey], out var deleted) && deleted;
        Horizon = BodyJson.TryGetNumber(state[AttributesBody.HorizonKey], out var horizon) ? horizon : null;
        Snapshots = ReadSnapshots(state[AttributesBody.SnapshotsKey] as JsonObject);
    }

    /// <summary>The attributes of a disk before its first entry; a branch starts from these too.</summary>
    public static DiskAttributes Empty { get; } = new([]);

    /// <summary>Bytes; a positive multiple of 512. <see cref="DefaultSize"/> where none is stated.</summary>
    public ulong Size { get; }

    /// <summary>The user's name for the disk; null if it has none.</summary>
    public string? Name { get; }

    /// <summary>When writes are acknowledged.</summary>
    public Durability Durability { get; }

    /// <summary>How long requests wait for too few replicas; zero for ever, null where none is stated.</summary>
    public TimeSpan? Patience { get; }

    /// <summary>True once the disk's last entry said so.</summary>
    public bool Deleted { get; }

    /// <summary>The LSN before which entries may vanish; null where none was stated.</summary>
    public ulong? Horizon { get; }

    /// <summary>Versions with a name, which stay within reach.</summary>
    public IReadOnlyDictionary<string, Id160> Snapshots { get; }

    /// <summary>What is after a change.</summary>
    public DiskAttributes Merge(AttributesBody change)
    {
        if (change.IsEmpty)
        {
            return this;
        }

        var state = (JsonObject)_state.DeepClone();
        MergeInto(state, change.Patch);
        return new(state);
    }

    /// <summary>Compact JSON, for checkpoints; <see cref="TryParse"/> reads it again.</summary>
    public string ToJson() => BodyJson.ToText(_state);

    /// <summary>Reads what <see cref="ToJson"/> wrote, with the checks of an attributes body.</summary>
    public static bool TryParse(string json, out DiskAttributes attributes, out FormatFault fault)
    {
        var sound = AttributesBody.TryParse(Encoding.UTF8.GetBytes(json), out var body, out fault);
        attributes = Empty.Merge(body);
        return sound;
    }

    private static void MergeInto(JsonObject target, JsonObject change)
    {
        foreach (var (key, value) in change)
        {
            if (value is null)
            {
                target.Remove(key);
            }
            else if (value is JsonObject members)
            {
                if (target[key] is not JsonObject existing)
                {
                    existing = [];
                    target[key] = existing;
                }

                MergeInto(existing, members);
            }
            else
            {
                target[key] = value.DeepClone();
            }
        }
    }

    private static Dictionary<string, Id160> ReadSnapshots(JsonObject? members)
    {
        var snapshots = new Dictionary<string, Id160>(StringComparer.Ordinal);
        foreach (var (name, node) in members ?? [])
        {
            if (BodyJson.TryGetId(node, out var version))
            {
                snapshots.Add(name, version);
            }
        }

        return snapshots;
    }
}
