using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands about the cluster: its hosts, and which of them hold a disk. All of them ask the replicator.</summary>
internal static class ClusterVerbs
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(1);

    public static async Task HostsAsync(HostsCommand command, CommandIo io, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.FindAsync(daemon, cancellation);
        var cluster = await GetHostsAsync(replicator, cancellation);
        if (command.Json)
        {
            Listing.Json(io.Out, cluster, ReplicatorContractsJson.Default.HostsJson);
        }
        else
        {
            ClusterListing.Hosts(io.Out, cluster);
        }
    }

    public static async Task DrainAsync(DrainCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command is { Undo: true, Wait: true })
        {
            throw new CommandException("--wait is for a drain, not for its --undo", ExitStatus.Usage);
        }

        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.FindAsync(daemon, cancellation);
        var host = ClusterClient.PickHost(await GetHostsAsync(replicator, cancellation), command.Host);
        await replicator.PostAsync(
            "/drain", new HostRequest(host, command.Undo), ReplicatorContractsJson.Default.HostRequest, cancellation);
        while (command.Wait)
        {
            var cluster = await GetHostsAsync(replicator, cancellation);
            var state = cluster.Hosts.FirstOrDefault(other => other.Host == host)
                ?? throw new CommandException($"host {host} was forgotten while it was drained");
            switch (state.State)
            {
                case "drained":
                    return;
                case "draining":
                    await Task.Delay(PollInterval, cancellation);
                    break;
                default:
                    throw new CommandException(
                        $"host {host} is {ClusterListing.State(state)}, and no longer draining: see cloudfs hosts");
            }
        }
    }

    public static async Task ForgetAsync(ForgetCommand command, CommandIo io, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.FindAsync(daemon, cancellation);
        var host = ClusterClient.PickHost(await GetHostsAsync(replicator, cancellation), command.Host);
        io.Confirm($"host {host} will be known no more, and what only it holds is lost", command.Yes);
        await replicator.PostAsync(
            "/forget", new HostRequest(host), ReplicatorContractsJson.Default.HostRequest, cancellation);
    }

    public static async Task MoveAsync(MoveCommand command, CommandIo io, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.FindAsync(daemon, cancellation);
        var host = ClusterClient.PickHost(await GetHostsAsync(replicator, cancellation), command.Host);
        var disk = await GetPlaceAsync(replicator, command.Disk, cancellation);
        await replicator.PostAsync(
            "/move", new MoveDiskRequest(disk.Id, host), ReplicatorContractsJson.Default.MoveDiskRequest, cancellation);
    }

    public static async Task ReplicasAsync(ReplicasCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command.Replicas < 1)
        {
            throw new CommandException("a disk has at least one replica", ExitStatus.Usage);
        }

        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.FindAsync(daemon, cancellation);
        var disk = await GetPlaceAsync(replicator, command.Disk, cancellation);
        await replicator.PostAsync(
            "/replicas", new ReplicasRequest(disk.Id, command.Replicas), ReplicatorContractsJson.Default.ReplicasRequest,
            cancellation);
    }

    private static Task<HostsJson> GetHostsAsync(DaemonClient replicator, CancellationToken cancellation) =>
        replicator.GetAsync("/hosts", ReplicatorContractsJson.Default.HostsJson, cancellation);

    private static Task<DiskPlaceJson> GetPlaceAsync(
        DaemonClient replicator, string disk, CancellationToken cancellation) =>
        replicator.GetAsync(DaemonClient.DiskPath(disk), ReplicatorContractsJson.Default.DiskPlaceJson, cancellation);
}
