using CloudFs.Core.Contracts;

namespace CloudFs.Cli;

/// <summary>How a command finds its way in a cluster: to the replicator beside a daemon, to hosts, to a disk's primary.</summary>
internal static class ClusterClient
{
    /// <summary>The replicator beside a daemon, or null where there is none.</summary>
    public static async Task<DaemonClient?> TryFindAsync(DaemonClient daemon, CancellationToken cancellation)
    {
        var host = await daemon.GetAsync("/host", HttpContractsJson.Default.HostJson, cancellation);
        if (host.Replicator is not { Length: > 0 } text)
        {
            return null;
        }

        return Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme == Uri.UriSchemeHttp
            ? new DaemonClient(url, "replicator")
            : throw new CommandException(
                $"the daemon at {daemon.Where} names '{text}' as its replicator: expected http://address:port");
    }

    /// <summary>The replicator beside a daemon; a command that can't do without it is refused.</summary>
    public static async Task<DaemonClient> FindAsync(DaemonClient daemon, CancellationToken cancellation) =>
        await TryFindAsync(daemon, cancellation) ?? throw new CommandException(
            $"the daemon at {daemon.Where} belongs to no cluster: start a replicator beside it, or name another with --daemon");

    /// <summary>
    /// The disk that a person named, and the daemon to ask about it: its primary's, where that is known. The daemon is the
    /// caller's to dispose.
    /// </summary>
    public static async Task<(DaemonClient Daemon, DiskJson Disk)> FindDiskAsync(
        string? option, string disk, CommandIo io, CancellationToken cancellation)
    {
        var local = DaemonClient.For(option, io);
        var keep = false;
        try
        {
            var (here, refusal) = await local.TryFindDiskAsync(disk, cancellation);
            if (here is { Role: "primary" or "mirror" })
            {
                keep = true;
                return (local, here);
            }

            if (await TryFindPrimaryAsync(local, here?.Id ?? disk, here is not null, refusal, cancellation) is not { } primary)
            {
                keep = true;
                return (local, here!);
            }

            try
            {
                return (primary, await primary.FindDiskAsync(here?.Id ?? disk, cancellation));
            }
            catch
            {
                primary.Dispose();
                throw;
            }
        }
        finally
        {
            if (!keep)
            {
                local.Dispose();
            }
        }
    }

    /// <summary>The id of the host that a person named.</summary>
    public static string PickHost(HostsJson cluster, string named)
    {
        var found = cluster.Hosts.Where(host => host.Host.StartsWith(named, StringComparison.OrdinalIgnoreCase)).ToArray();
        return found switch
        {
            [var one] when named.Length > 0 => one.Host,
            [] => throw new CommandException($"the cluster knows no host '{named}'; see cloudfs hosts"),
            _ => throw new CommandException($"'{named}' is the beginning of {found.Length} hosts' ids: give more digits"),
        };
    }

    /// <summary>The primary's daemon; null where only this host can be asked, which has a copy.</summary>
    private static async Task<DaemonClient?> TryFindPrimaryAsync(
        DaemonClient local, string disk, bool hasCopy, string? refusal, CancellationToken cancellation)
    {
        using var replicator = await TryFindAsync(local, cancellation);
        if (replicator is null)
        {
            return hasCopy ? null : throw new CommandException(refusal!);
        }

        var place = await replicator.GetAsync(
            DaemonClient.DiskPath(disk), ReplicatorContractsJson.Default.DiskPlaceJson, cancellation);
        if (Uri.TryCreate("http://" + place.PrimaryAddress, UriKind.Absolute, out var url))
        {
            return new DaemonClient(url);
        }

        return hasCopy ? null : throw new CommandException(
            $"disk {place.Id} has its primary on host {place.Primary}, whose address is not known: "
            + "see cloudfs hosts, and bring it back");
    }
}
