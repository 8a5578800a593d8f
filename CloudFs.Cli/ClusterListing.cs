using System.Globalization;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli;

/// <summary>How hosts and replicas are listed for people. Pure, as <see cref="Listing"/> is.</summary>
internal static class ClusterListing
{
    public static void Hosts(TextWriter output, HostsJson cluster)
    {
        Listing.Table(
            output,
            ["HOST", "ZONE", "WEIGHT", "USED", "FREE", "DISKS", "PRIMARIES", "ADDRESS", "STATE"],
            [.. cluster.Hosts.Select(host => new[]
            {
                Listing.Short(host.Host),
                host.Zone,
                host.Weight.ToString("0.##", CultureInfo.InvariantCulture),
                SizeText.Format(host.CapacityBytes - Math.Min(host.FreeBytes, host.CapacityBytes)),
                SizeText.Format(host.FreeBytes),
                host.Disks.ToString(CultureInfo.InvariantCulture),
                host.Primaries.ToString(CultureInfo.InvariantCulture),
                host.Address,
                (host.Witness ? "witness, " : "") + State(host),
            })]);
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{cluster.Disks} disks, {cluster.Degraded} of them lack a replica; evenness {cluster.Evenness:0.00} (1 is even)"));
    }

    /// <summary>A host's state, with the reason where it is not simply up.</summary>
    public static string State(ClusterHostJson host) => host.Reason is { Length: > 0 } reason ? $"{host.State}: {reason}" : host.State;

    /// <summary>The replicas of a disk, as its primary sees them. Nothing where this host can't tell.</summary>
    public static void Replicas(TextWriter output, DiskJson disk)
    {
        var known = disk.Replicas.Where(replica => replica.Status is not null).ToArray();
        if (known.Length == 0)
        {
            return;
        }

        output.WriteLine();
        Listing.Table(
            output,
            ["HOST", "ROLE", "LSN", "BEHIND", "PROGRESS", "SENT", "STATE"],
            [.. known.Select(replica => Row(disk, replica, replica.Status!))]);
    }

    private static string[] Row(DiskJson disk, ReplicaJson replica, ClusterReplicaJson status) =>
    [
        Listing.Short(replica.Host),
        replica.Host == disk.View.Primary ? "primary" : replica.Witness ? "witness" : status.Joining ? "joining" : "replica",
        status.Lsn.ToString(CultureInfo.InvariantCulture),
        status.LagEntries == 0 ? "-" : string.Create(
            CultureInfo.InvariantCulture,
            $"{status.LagEntries} entries, {SizeText.Format(status.LagBytes)}, {status.LagSeconds:0.0} s"),
        Progress(status),
        SizeText.Format(status.SentBytes),
        status.Reason is { Length: > 0 } reason ? $"{status.State}: {reason}" : status.State,
    ];

    private static string Progress(ClusterReplicaJson status)
    {
        if (status.Progress is not { } percent)
        {
            return "-";
        }

        var done = string.Create(CultureInfo.InvariantCulture, $"{percent:0} %");
        return status.SecondsLeft is { } left
            ? $"{done}, {DurationText.Format(TimeSpan.FromSeconds(Math.Clamp(left, 0, DurationText.Max.TotalSeconds)))} left" : done;
    }
}
