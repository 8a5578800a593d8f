using System.Text.Json.Nodes;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Format;

/// <summary>What golden.json states of one entry.</summary>
internal sealed record GoldenEntry(int Offset, int Length, ulong Lsn, Id160 Id, Id160 Token, Id160 Lock);

/// <summary>What golden.json states of the vectors.</summary>
internal static class GoldenJson
{
    private static readonly JsonNode Root = JsonNode.Parse(File.ReadAllText(TestTree.Golden("golden.json")))!;

    public static Id160 Disk => Id(Root["disk"]);

    public static Id160 Head => Id(Root["head"]);

    public static Id160 Sha1AfterAll => Id(Root["sha1OfSectors0To8191AfterAll"]);

    public static Id160 BranchId => Id(Root["branch"]!["id"]);

    public static Id160 BranchToken => Id(Root["branch"]!["token"]);

    public static List<GoldenEntry> Entries { get; } = [.. Root["entries"]!.AsArray().Select(entry => new GoldenEntry(
        (int)entry!["offset"]!, (int)entry["length"]!, (ulong)entry["lsn"]!, Id(entry["id"]), Id(entry["token"]),
        Id(entry["lock"])))];

    public static Id160 Secret(string view) => Id(Root["secrets"]![view]);

    private static Id160 Id(JsonNode? node) => Id160.Parse((string)node!);
}
