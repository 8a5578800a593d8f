using System.Buffers.Binary;
using System.Text.Json.Nodes;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// The items that stand in a /state between what is left of the history and the stream: framed as an entry of kind 4, but with
/// LSN 0 and all ids zero, which no entry has, so that nobody takes one for an entry of the chain (docs/protocol/http.md).
/// </summary>
public static class StateItem
{
    /// <summary>Views, and lost runs, that one item states: some 200 KiB of JSON.</summary>
    internal const int ListMax = 1024;

    /// <summary>True when this is the header of a state item. It says nothing of whether its bytes are sound.</summary>
    public static bool Is(ReadOnlySpan<byte> header) =>
        header.Length >= EntryLayout.FixedSize
        && header[EntryLayout.KindOffset] == (byte)EntryKind.Attributes
        && BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]) == 0
        && EntryBody.IsZero(header.Slice(EntryLayout.IdOffset, EntryLayout.IdSize));

    /// <summary>
    /// The items of a state, in order. All but the last say <c>"more":true</c> and hold lists; the last one the view and the
    /// attributes, which fit into one body as they do in a view's own entry.
    /// </summary>
    /// <param name="head">The version that the state is whole from; durable.</param>
    /// <param name="from">The LSN with which the stream begins.</param>
    /// <param name="views">The views to restate.</param>
    /// <param name="lost">Sectors whose present contents can't be had here.</param>
    public static IEnumerable<byte[]> Of(
        ChainHead head, ulong from, IReadOnlyList<ViewMark> views, IReadOnlyList<LostRun> lost)
    {
        for (var at = 0; at < Math.Max(views.Count, lost.Count); at += ListMax)
        {
            var lists = Lists(views.Skip(at).Take(ListMax), lost.Skip(at).Take(ListMax));
            yield return Frame(head.Disk, lists);
        }

        var last = ViewOf(head.View!);
        foreach (var (key, value) in (JsonObject)JsonNode.Parse(head.Attributes!.ToJson())!)
        {
            last[key] = value?.DeepClone();
        }

        last["lsn"] = head.Lsn;
        last["version"] = head.Id.ToString();
        last["lock"] = head.Lock.ToString();
        last["time"] = head.TimeMicros;
        last["from"] = from;
        yield return Frame(head.Disk, last);
    }

    private static JsonObject ViewOf(ChainView view)
    {
        // As in the view's own entry, without what held for that alone.
        var body = new ViewBody
        {
            View = view.Body.View,
            Epoch = view.Body.Epoch,
            Primary = view.Body.Primary,
            Replicas = view.Body.Replicas,
        };
        return (JsonObject)JsonNode.Parse(body.ToBytes())!;
    }

    private static JsonObject Lists(IEnumerable<ViewMark> views, IEnumerable<LostRun> lost) => new()
    {
        ["more"] = true,
        ["views"] = new JsonArray([.. views.Select(view => new JsonObject
        {
            ["epoch"] = view.Ballot.Epoch,
            ["primary"] = view.Ballot.Primary.ToString(),
            ["lsn"] = view.Lsn,
            ["id"] = view.Id.ToString(),
            ["previous"] = view.Previous.ToString(),
        })]),
        ["lost"] = new JsonArray([.. lost.Select(run => new JsonObject
        {
            ["lba"] = run.Lba,
            ["sectors"] = run.Sectors,
            ["lsn"] = run.Lsn,
        })]),
    };

    private static byte[] Frame(Id160 disk, JsonObject json)
    {
        var body = BodyJson.ToPaddedBytes(writer => json.WriteTo(writer));
        var pages = (body.Length + EntryLayout.PageSize - 1) / EntryLayout.PageSize;
        var length = EntryLayout.HeaderLength(0, pages);
        var item = new byte[length + body.Length];
        var header = item.AsSpan(0, length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[EntryLayout.MagicOffset..], EntryLayout.Magic);
        header[EntryLayout.FormatOffset] = EntryLayout.FormatVersion;
        header[EntryLayout.KindOffset] = (byte)EntryKind.Attributes;
        header[EntryLayout.DigestOffset] = EntryLayout.DigestSha1;
        BinaryPrimitives.WriteInt32LittleEndian(header[EntryLayout.HeaderLengthOffset..], length);
        BinaryPrimitives.WriteInt32LittleEndian(header[EntryLayout.BodyLengthOffset..], body.Length);
        disk.WriteTo(header[EntryLayout.DiskOffset..]);
        BinaryPrimitives.WriteUInt16LittleEndian(header[EntryLayout.PageCountOffset..], (ushort)pages);
        for (var i = 0; i < pages; i++)
        {
            var at = i * EntryLayout.PageSize;
            PageRecord.Of(body.AsSpan(at, Math.Min(EntryLayout.PageSize, body.Length - at)))
                .Write(header[EntryHeaderCodec.PageOffset(0, i)..]);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(
            header[EntryLayout.CheckOffset..], EntryHeaderCodec.ComputeCheck(header));
        body.CopyTo(item, length);
        return item;
    }
}
