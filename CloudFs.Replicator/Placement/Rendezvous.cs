using System.Buffers.Binary;
using System.Security.Cryptography;
using CloudFs.Core.Primitives;

namespace CloudFs.Replicator.Placement;

/// <summary>
/// Which hosts a disk's id calls for: weighted rendezvous hashing over zones. A pure function of id and hosts
/// (docs/protocol/placement.md has the definition and vectors), so that any program that knows the hosts knows the places.
/// </summary>
internal static class Rendezvous
{
    /// <summary>2^64.</summary>
    private const double Range = 18446744073709551616.0;

    /// <summary>The host's score for the disk; the highest wins. Weights that are not positive and finite score lowest.</summary>
    public static double Score(Id160 disk, Id160 host, double weight)
    {
        Span<byte> both = stackalloc byte[2 * Id160.Size];
        disk.WriteTo(both);
        host.WriteTo(both[Id160.Size..]);
        Span<byte> hash = stackalloc byte[SHA1.HashSizeInBytes];
        SHA1.HashData(both, hash);
        var h = (BinaryPrimitives.ReadUInt64BigEndian(hash) + 0.5) / Range;
        return weight > 0 && double.IsFinite(weight) ? -weight / Math.Log(h) : double.NegativeInfinity;
    }

    /// <summary>All hosts, best first; equal scores in the order of their ids.</summary>
    public static List<PlacementHost> Rank(Id160 disk, IEnumerable<PlacementHost> hosts) =>
        [.. hosts.Select(host => (host, score: Score(disk, host.Id, host.Weight)))
            .OrderByDescending(pair => pair.score).ThenBy(pair => pair.host.Id).Select(pair => pair.host)];

    /// <summary>
    /// The hosts for a disk, as many as are wanted or there are: the best of each zone not yet used, in order of score; when all
    /// zones are used, the best of what is left.
    /// </summary>
    /// <param name="disk">The disk's id.</param>
    /// <param name="hosts">Those that may hold it.</param>
    /// <param name="count">How many are wanted.</param>
    /// <param name="usedZones">Zones where the disk lies already; empty for a new one.</param>
    public static List<PlacementHost> Place(
        Id160 disk, IEnumerable<PlacementHost> hosts, int count, IEnumerable<string>? usedZones = null)
    {
        var ranked = Rank(disk, hosts);
        var zones = new HashSet<string>(usedZones ?? [], StringComparer.Ordinal);
        var chosen = new List<PlacementHost>();
        foreach (var host in ranked)
        {
            if (chosen.Count < count && zones.Add(host.Zone))
            {
                chosen.Add(host);
            }
        }

        foreach (var host in ranked)
        {
            if (chosen.Count < count && !chosen.Contains(host))
            {
                chosen.Add(host);
            }
        }

        return chosen;
    }
}
