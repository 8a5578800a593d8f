using System.Globalization;

namespace CloudFs.Cli.Local;

/// <summary>One host of a cluster on this machine: its name, which is its folder's and its zone's, and where it listens.</summary>
internal sealed record PlannedHost(string Name, string Http, string Replicator, string Nbd, bool Witness)
{
    public Uri Url => new("http://" + Http);

    public Uri ReplicatorUrl => new("http://" + Replicator);
}

/// <summary>
/// Which hosts a cluster on this machine has, and where they listen: made once, kept in the folder's file <c>cluster</c>, a
/// line for each host, so that later starts need not be told again.
/// </summary>
internal static class ClusterPlan
{
    public const int MaxHosts = 16;

    private const string FileName = "cluster";

    private const int PortStep = 100;

    /// <summary>The cluster of a folder, or null where it has none.</summary>
    public static IReadOnlyList<PlannedHost>? TryRead(string directory)
    {
        var path = PathIn(directory);
        return File.Exists(path) ? [.. File.ReadLines(path).Where(line => line.Length > 0).Select(line => Parse(path, line))] : null;
    }

    public static void Write(string directory, IReadOnlyList<PlannedHost> hosts)
    {
        var path = PathIn(directory);
        File.WriteAllLines(path + ".tmp", hosts.Select(host =>
            $"{host.Name} {host.Http} {host.Replicator} {host.Nbd}{(host.Witness ? " witness" : "")}"));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    public static void Delete(string directory) => File.Delete(PathIn(directory));

    /// <summary>
    /// Hosts whose addresses follow from the first one's: each the same address with ports higher by 100, the replicator's
    /// beside the daemon's.
    /// </summary>
    public static IReadOnlyList<PlannedHost> Make(int count, string http, string nbd, bool lastIsWitness)
    {
        if (count is < 1 or > MaxHosts)
        {
            throw new CommandException($"--hosts {count}: expected 1 to {MaxHosts}", ExitStatus.Usage);
        }

        return [.. Enumerable.Range(0, count).Select(at => new PlannedHost(
            string.Create(CultureInfo.InvariantCulture, $"host{at + 1}"),
            Shift("--http", http, at * PortStep),
            Shift("--http", http, (at * PortStep) + 1),
            Shift("--nbd", nbd, at * PortStep),
            lastIsWitness && at == count - 1))];
    }

    private static string PathIn(string directory) => Path.Combine(Path.GetFullPath(directory), FileName);

    private static PlannedHost Parse(string path, string line) => line.Split(' ') switch
    {
        [var name, var http, var replicator, var nbd] => new PlannedHost(name, http, replicator, nbd, false),
        [var name, var http, var replicator, var nbd, "witness"] => new PlannedHost(name, http, replicator, nbd, true),
        _ => throw new CommandException($"{path} has a line that names no host: '{line}'; remove it, or the file"),
    };

    private static string Shift(string option, string address, int by)
    {
        var colon = address.LastIndexOf(':');
        return colon > 0
            && ushort.TryParse(address.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && port > 0 && port + by <= ushort.MaxValue
            ? string.Create(CultureInfo.InvariantCulture, $"{address[..colon]}:{port + by}")
            : throw new CommandException(
                $"{option} {address}: expected an address and a port that leaves room for {by} more", ExitStatus.Usage);
    }
}
