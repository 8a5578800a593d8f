using CloudFs.Core.Contracts;

namespace CloudFs.Replicator.Repair;

/// <summary>What this host's daemon holds, as it said last. Immutable: a new one takes its place.</summary>
internal sealed class LocalDisks
{
    private readonly Dictionary<string, ClusterDiskJson> _byId;
    private readonly Dictionary<string, ClusterDiskJson> _byName;
    private readonly string[] _ids;

    public LocalDisks(ClusterJson? cluster)
    {
        Cluster = cluster;
        _byId = (cluster?.Disks ?? []).DistinctBy(disk => disk.Id).ToDictionary(disk => disk.Id, StringComparer.Ordinal);
        _byName = _byId.Values.Where(disk => disk.Name is not null).DistinctBy(disk => disk.Name)
            .ToDictionary(disk => disk.Name!, StringComparer.Ordinal);
        _ids = [.. _byId.Keys.Order(StringComparer.Ordinal)];
    }

    /// <summary>Null until the daemon was heard for the first time.</summary>
    public ClusterJson? Cluster { get; }

    public IEnumerable<ClusterDiskJson> All => _byId.Values;

    public IEnumerable<ClusterDiskJson> Primaries => All.Where(disk => disk.Role == "primary");

    public int Count => _byId.Count;

    public ClusterDiskJson? ById(string id) => _byId.GetValueOrDefault(id);

    public ClusterDiskJson? ByName(string name) => _byName.GetValueOrDefault(name);

    /// <summary>By exact id, name, or a prefix of the id (4 digits at least) that is unique here.</summary>
    public ClusterDiskJson? Find(string text)
    {
        if (ById(text) is { } exact)
        {
            return exact;
        }

        if (ByName(text) is { } named)
        {
            return named;
        }

        if (text.Length is < 4 or > 40 || !text.All(char.IsAsciiHexDigit))
        {
            return null;
        }

        var prefix = text.ToLowerInvariant();
        var at = Array.BinarySearch(_ids, prefix, StringComparer.Ordinal);
        at = at < 0 ? ~at : at;
        bool Begins(int index) => index < _ids.Length && _ids[index].StartsWith(prefix, StringComparison.Ordinal);
        return Begins(at) && !Begins(at + 1) ? _byId[_ids[at]] : null;
    }

    /// <summary>True if the disk lacks a live replica, as its primary sees it.</summary>
    public static bool IsDegraded(ClusterDiskJson disk) =>
        disk.State != "serving" || disk.Replicas.Any(replica => !replica.Joining && replica.State is not ("live" or "primary"));
}
