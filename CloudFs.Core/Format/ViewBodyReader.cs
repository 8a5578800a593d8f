using System.Buffers.Text;
using System.Text.Json.Nodes;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// Reads a view out of its object, key by key in a fixed order. The first fault is kept, and what is read after it is
/// not used.
/// </summary>
internal sealed class ViewBodyReader(JsonObject root)
{
    private FormatFault _fault;

    /// <summary>The view, or the first fault.</summary>
    public bool TryRead(EntryKind kind, out ViewBody? view, out FormatFault fault)
    {
        var read = new ViewBody
        {
            View = Id(root, ViewBody.ViewKey, ""),
            Epoch = Number(root, ViewBody.EpochKey, "", least: 1),
            Primary = Id(root, ViewBody.PrimaryKey, ""),
            Replicas = Replicas(),
            Revoked = root.ContainsKey(ViewBody.RevokedKey) ? Id(root, ViewBody.RevokedKey, "") : null,
            Forced = OptionalBoolean(root, ViewBody.ForcedKey, ""),
            Origin = Origin(kind),
            Attributes = Attributes(),
        };
        fault = _fault;
        view = _fault.Error == FormatError.None ? read : null;
        return view is not null;
    }

    private List<Replica> Replicas()
    {
        var replicas = new List<Replica>();
        if (!Has(root, ViewBody.ReplicasKey, ""))
        {
            return replicas;
        }

        if (root[ViewBody.ReplicasKey] is not JsonArray items)
        {
            Fail(FormatError.JsonValue, ViewBody.ReplicasKey);
            return replicas;
        }

        for (var i = 0; i < items.Count; i++)
        {
            replicas.Add(ReadReplica(items[i], $"{ViewBody.ReplicasKey}[{i}]"));
        }

        return replicas;
    }

    private Replica ReadReplica(JsonNode? node, string where)
    {
        if (node is not JsonObject item)
        {
            Fail(FormatError.JsonValue, where);
            return new(default, default);
        }

        where += ".";
        return new(
            Id(item, ViewBody.HostKey, where),
            Id(item, ViewBody.DeviceKey, where),
            Share(item, where),
            OptionalBoolean(item, ViewBody.WitnessKey, where));
    }

    private string Share(JsonObject item, string where)
    {
        if (!item.TryGetPropertyValue(ViewBody.ShareKey, out var node))
        {
            return "";
        }

        // IsValid alone would let white space pass.
        if (BodyJson.TryGetString(node, out var share) && share.Length % 4 == 0 && Base64.IsValid(share)
            && !share.Any(char.IsWhiteSpace))
        {
            return share;
        }

        Fail(FormatError.JsonValue, where + ViewBody.ShareKey);
        return "";
    }

    private BranchOrigin? Origin(EntryKind kind)
    {
        if (kind != EntryKind.Branch && !root.ContainsKey(ViewBody.OriginKey))
        {
            return null;
        }

        if (!Has(root, ViewBody.OriginKey, ""))
        {
            return null;
        }

        if (root[ViewBody.OriginKey] is not JsonObject origin)
        {
            Fail(FormatError.JsonValue, ViewBody.OriginKey);
            return null;
        }

        const string Where = ViewBody.OriginKey + ".";
        return new(
            Id(origin, AttributesBody.DiskKey, Where),
            Id(origin, ViewBody.VersionKey, Where),
            Number(origin, ViewBody.LsnKey, Where, least: 1));
    }

    private AttributesBody Attributes()
    {
        if (!AttributesBody.TryTake(root, out var attributes, out var fault))
        {
            Fail(fault.Error, fault.Where);
        }

        return attributes;
    }

    private Id160 Id(JsonObject from, string key, string where)
    {
        if (Has(from, key, where) && !BodyJson.TryGetId(from[key], out _))
        {
            Fail(FormatError.JsonValue, where + key);
        }

        return BodyJson.TryGetId(from[key], out var id) ? id : default;
    }

    private ulong Number(JsonObject from, string key, string where, ulong least)
    {
        if (!Has(from, key, where))
        {
            return 0;
        }

        if (!BodyJson.TryGetNumber(from[key], out var number) || number < least)
        {
            Fail(FormatError.JsonValue, where + key);
        }

        return number;
    }

    private bool OptionalBoolean(JsonObject from, string key, string where)
    {
        if (!from.TryGetPropertyValue(key, out var node))
        {
            return false;
        }

        if (!BodyJson.TryGetBoolean(node, out var value))
        {
            Fail(FormatError.JsonValue, where + key);
        }

        return value;
    }

    private bool Has(JsonObject from, string key, string where)
    {
        var has = from.ContainsKey(key);
        if (!has)
        {
            Fail(FormatError.JsonKeyMissing, where + key);
        }

        return has;
    }

    private void Fail(FormatError error, string where)
    {
        if (_fault.Error == FormatError.None)
        {
            _fault = new(error, where);
        }
    }
}
