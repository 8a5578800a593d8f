using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands about disks as such: make, list, describe, rename, grow, delete.</summary>
internal static class DiskVerbs
{
    // What a cluster gives a disk that nobody said a number for.
    private const int ClusterReplicas = 3;

    public static async Task NewAsync(NewDiskCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command.Replicas is < 1)
        {
            throw new CommandException("a disk has at least one replica", ExitStatus.Usage);
        }

        var request = new NewDiskRequest
        {
            Size = command.Size is null ? null : Sizes.Parse("--size", command.Size),
            Name = command.Name,
            Durability = command.Durability,
        };
        using var daemon = DaemonClient.For(command.Daemon, io);
        using var replicator = await ClusterClient.TryFindAsync(daemon, cancellation);
        request = request with { Replicas = command.Replicas ?? (replicator is null ? null : ClusterReplicas) };
        var answer = await (replicator ?? daemon).SendAsync(
            HttpMethod.Post, "/disks", request, HttpContractsJson.Default.NewDiskRequest,
            HttpContractsJson.Default.NewDiskAnswer, cancellation);
        io.Print(answer.Id);
        if (answer.Hosts is [var only])
        {
            io.Say($"on host {only}");
        }
        else if (replicator is not null)
        {
            var hosts = string.Join(", ", answer.Hosts.Select(Listing.Short));
            io.Say($"on hosts {hosts} ({await PrimaryAsync(replicator, answer.Id, cancellation)})");
        }
    }

    /// <summary>The disk is made by now: not to learn who its primary is makes no failure of that, but is told.</summary>
    private static async Task<string> PrimaryAsync(DaemonClient replicator, string id, CancellationToken cancellation)
    {
        try
        {
            var place = await replicator.GetAsync(
                DaemonClient.DiskPath(id), ReplicatorContractsJson.Default.DiskPlaceJson, cancellation);
            return $"primary {Listing.Short(place.Primary)}";
        }
        catch (CommandException refused)
        {
            return $"primary not known yet: {refused.Message}";
        }
    }

    public static async Task ListAsync(DisksCommand command, CommandIo io, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        var type = HttpContractsJson.Plain.IReadOnlyListDiskJson;
        var disks = await daemon.GetAsync("/disks", type, cancellation);
        if (command.Json)
        {
            Listing.Json(io.Out, disks, type);
        }
        else
        {
            Listing.Disks(io.Out, disks);
        }
    }

    public static async Task InfoAsync(InfoCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command.Disk is null)
        {
            using var host = DaemonClient.For(command.Daemon, io);
            await HostAsync(host, command.Json, io, cancellation);
            return;
        }

        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        if (command.Json)
        {
            Listing.Json(io.Out, disk, HttpContractsJson.Plain.DiskJson);
        }
        else
        {
            Listing.Disk(io.Out, disk);
        }
    }

    /// <summary>What a daemon says of itself: its health, its room, how compaction stands.</summary>
    internal static async Task HostAsync(
        DaemonClient daemon, bool json, CommandIo io, CancellationToken cancellation)
    {
        var host = await daemon.GetAsync("/host", HttpContractsJson.Default.HostJson, cancellation);
        var health = await daemon.GetHealthAsync(cancellation);
        if (json)
        {
            Listing.Json(io.Out, new LocalStatusJson(host, health), HttpContractsJson.Plain.LocalStatusJson);
        }
        else
        {
            Listing.Host(io.Out, host, health);
        }
    }

    public static async Task DeleteAsync(DeleteDiskCommand command, CommandIo io, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        var name = disk.Name is null ? disk.Id : $"{disk.Id} ({disk.Name})";
        var size = SizeText.Format(disk.LiveBytes);
        io.Confirm($"disk {name} with {size} of data and its history will be lost", command.Yes);
        await daemon.DeleteAsync("/disks/" + disk.Id, cancellation);
    }

    public static Task RenameAsync(RenameCommand command, CommandIo io, CancellationToken cancellation) =>
        ChangeAsync(command, io, new ChangeDiskRequest { Name = command.Name }, cancellation);

    public static Task ResizeAsync(ResizeCommand command, CommandIo io, CancellationToken cancellation) =>
        ChangeAsync(
            command, io, new ChangeDiskRequest { Size = Sizes.Parse("size", command.Size) }, cancellation);

    public static Task SetAsync(SetCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (command is { Durability: null, Patience: null })
        {
            throw new CommandException("say what is to change: --durability or --patience", ExitStatus.Usage);
        }

        uint? patience = null;
        if (command.Patience is { } text)
        {
            patience = DurationText.TryParse(text, out var time) && time.TotalSeconds <= uint.MaxValue
                && time.Ticks % TimeSpan.TicksPerSecond == 0
                ? (uint)time.TotalSeconds
                : throw new CommandException(
                    $"--patience: expected whole seconds such as 30s, or 0 for ever, not '{text}'", ExitStatus.Usage);
        }

        return ChangeAsync(
            command, io, new ChangeDiskRequest { Durability = command.Durability, Patience = patience }, cancellation);
    }

    private static async Task ChangeAsync(
        DiskCommand command, CommandIo io, ChangeDiskRequest change, CancellationToken cancellation)
    {
        var (daemon, disk) = await ClusterClient.FindDiskAsync(command.Daemon, command.Disk, io, cancellation);
        using var closing = daemon;
        await daemon.SendAsync(
            HttpMethod.Patch, DaemonClient.DiskPath(disk.Id), change,
            HttpContractsJson.Default.ChangeDiskRequest, HttpContractsJson.Default.DiskJson, cancellation);
    }
}
