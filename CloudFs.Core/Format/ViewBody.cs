using System.Text.Json;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// The body of a view (kind 2) or a branch (kind 3): who may extend the disk from here on, and where it lies. All but
/// <see cref="Attributes"/> holds for its own entry only. Immutable.
/// </summary>
public sealed record ViewBody
{
    internal const string ViewKey = "view";
    internal const string EpochKey = "epoch";
    internal const string PrimaryKey = "primary";
    internal const string RevokedKey = "revoked";
    internal const string ReplicasKey = "replicas";
    internal const string HostKey = "host";
    internal const string DeviceKey = "device";
    internal const string ShareKey = "share";
    internal const string WitnessKey = "witness";
    internal const string ForcedKey = "forced";
    internal const string OriginKey = "origin";
    internal const string VersionKey = "version";
    internal const string LsnKey = "lsn";

    /// <summary>H(the view's secret).</summary>
    public required Id160 View { get; init; }

    /// <summary>At least 1; rises from view to view, with gaps.</summary>
    public required ulong Epoch { get; init; }

    /// <summary>Host id of the one that may extend the disk.</summary>
    public required Id160 Primary { get; init; }

    /// <summary>The secret of the view before; null in first and forced views.</summary>
    public Id160? Revoked { get; init; }

    /// <summary>The whole replica set, the primary and the witnesses included.</summary>
    public required IReadOnlyList<Replica> Replicas { get; init; }

    /// <summary>True if an operator made it without the secret of the view before.</summary>
    public bool Forced { get; init; }

    /// <summary>Where a branch springs from; null in views.</summary>
    public BranchOrigin? Origin { get; init; }

    /// <summary>What the entry changes besides.</summary>
    public AttributesBody Attributes { get; init; } = AttributesBody.Empty;

    /// <summary>Epoch and primary.</summary>
    public Ballot Ballot => new(Epoch, Primary);

    /// <summary>Parses the body of kind 2 or 3.</summary>
    /// <param name="kind">View or Branch; a branch must state its origin.</param>
    /// <param name="body">The whole body with its padding.</param>
    /// <param name="view">The view; null on error.</param>
    /// <param name="fault">The first rule that is broken.</param>
    public static bool TryParse(EntryKind kind, ReadOnlySpan<byte> body, out ViewBody? view, out FormatFault fault)
    {
        view = null;
        return BodyJson.TryRead(body, out var root, out fault)
            && new ViewBodyReader(root).TryRead(kind, out view, out fault);
    }

    /// <summary>UTF-8, padded with spaces to whole sectors.</summary>
    /// <exception cref="ArgumentException">No reader would accept it: a value is out of range, or it is longer than a
    /// body may be.</exception>
    public byte[] ToBytes()
    {
        var body = BodyJson.ToPaddedBytes(Write);
        return TryParse(Origin is null ? EntryKind.View : EntryKind.Branch, body, out _, out var fault)
            ? body
            : throw new ArgumentException($"the view can't be written: {fault}");
    }

    private void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteString(ViewKey, View.ToString());
        writer.WriteNumber(EpochKey, Epoch);
        writer.WriteString(PrimaryKey, Primary.ToString());
        if (Revoked is { } revoked)
        {
            writer.WriteString(RevokedKey, revoked.ToString());
        }

        WriteReplicas(writer);
        if (Forced)
        {
            writer.WriteBoolean(ForcedKey, true);
        }

        if (Origin is { } origin)
        {
            writer.WriteStartObject(OriginKey);
            writer.WriteString(AttributesBody.DiskKey, origin.Disk.ToString());
            writer.WriteString(VersionKey, origin.Version.ToString());
            writer.WriteNumber(LsnKey, origin.Lsn);
            writer.WriteEndObject();
        }

        Attributes.WriteTo(writer);
        writer.WriteEndObject();
    }

    private void WriteReplicas(Utf8JsonWriter writer)
    {
        writer.WriteStartArray(ReplicasKey);
        foreach (var replica in Replicas)
        {
            writer.WriteStartObject();
            writer.WriteString(HostKey, replica.Host.ToString());
            writer.WriteString(DeviceKey, replica.Device.ToString());
            writer.WriteString(ShareKey, replica.Share);
            writer.WriteBoolean(WitnessKey, replica.Witness);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
