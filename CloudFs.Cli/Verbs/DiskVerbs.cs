using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands about disks as such: make, list, describe, rename, grow, delete.</summary>
internal static class DiskVerbs
{
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
            Replicas = command.Replicas,
        };
        using var daemon = DaemonClient.For(command.Daemon, io);
        var answer = await daemon.SendAsync(
            HttpMethod.Post, "/disks", request, HttpContractsJson.Default.NewDiskRequest,
            HttpContractsJson.Default.NewDiskAnswer, cancellation);
        io.Print(answer.Id);
        foreach (var host in answer.Hosts)
        {
            io.Say($"on host {host}");
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
        using var daemon = DaemonClient.For(command.Daemon, io);
        if (command.Disk is null)
        {
            await HostAsync(daemon, command.Json, io, cancellation);
            return;
        }

        var disk = await daemon.FindDiskAsync(command.Disk, cancellation);
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
        using var daemon = DaemonClient.For(command.Daemon, io);
        var disk = await daemon.FindDiskAsync(command.Disk, cancellation);
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

    private static async Task ChangeAsync(
        DiskCommand command, CommandIo io, ChangeDiskRequest change, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        await daemon.SendAsync(
            HttpMethod.Patch, DaemonClient.DiskPath(command.Disk), change,
            HttpContractsJson.Default.ChangeDiskRequest, HttpContractsJson.Default.DiskJson, cancellation);
    }
}
