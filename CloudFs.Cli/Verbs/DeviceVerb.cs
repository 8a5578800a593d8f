using CloudFs.Cli.Local;
using CloudFs.Cli.Options;
using CloudFs.Cli.Transfer;
using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;

namespace CloudFs.Cli.Verbs;

/// <summary>
/// The commands that open a device themselves, without a daemon: <c>nuke</c>, and <c>verify</c> of a device.
/// </summary>
internal static class DeviceVerb
{
    /// <summary>
    /// Makes a device blank. What another daemon holds is refused whatever was said; what the kernel uses, and what
    /// holds anything at all, wants a yes.
    /// </summary>
    public static async Task NukeAsync(NukeCommand command, CommandIo io)
    {
        if (!File.Exists(command.Device))
        {
            throw new CommandException($"{command.Device} is not there");
        }

        var use = DeviceUse.Find(command.Device);
        if (use is not null)
        {
            io.Confirm(use, command.Yes);
        }

        using var device = Open(
            () => FileBlockDevice.Open(command.Device, sizeBytes: null, evenIfMounted: use is not null));
        if (await DescribeAsync(device) is { } contents)
        {
            io.Confirm($"{command.Device} holds {contents}, which will be lost", command.Yes);
        }

        await DeviceFormat.NukeAsync(device);
        io.Say($"{command.Device} is blank");
    }

    /// <summary>Verifies a device, says what was found, and gives the number of problems.</summary>
    public static async Task<int> VerifyAsync(string path, CommandIo io, CancellationToken cancellation)
    {
        using var device = Open(() => FileBlockDevice.Open(path, sizeBytes: null, readOnly: true));
        using var progress = new Progress(io, null, TimeProvider.System);
        var verifier = new DeviceVerifier(device, io.Say, (done, all) => progress.Reach((ulong)done, (ulong)all));
        VerifyOutcome outcome;
        try
        {
            outcome = await verifier.RunAsync(cancellation);
        }
        catch (DeviceRefusedException refused)
        {
            throw new CommandException($"{path}: {refused.Message}");
        }

        progress.Dispose();
        io.Say($"index: {outcome.IndexPages} pages");
        VerifyVerb.PrintHeads(outcome.Heads, outcome.ForcedViews, outcome.Entries, io);
        return outcome.Problems;
    }

    /// <summary>What is on the device, with the disks of a device of ours counted; null when it is blank.</summary>
    private static async Task<string?> DescribeAsync(FileBlockDevice device)
    {
        if (await DeviceFormat.DescribeContentsAsync(device) is not { } contents)
        {
            return null;
        }

        try
        {
            return await DeviceLabels.ReadAsync(device, _ => { }) is { } label
                ? $"{contents} of host {label.HostId}" : contents;
        }
        catch (DeviceRefusedException)
        {
            return contents;
        }
    }

    private static FileBlockDevice Open(Func<FileBlockDevice> open)
    {
        try
        {
            return open();
        }
        catch (DeviceRefusedException refused)
        {
            throw new CommandException(refused.Message);
        }
    }
}
