using CloudFs.Cli.Local;
using CloudFs.Cli.Options;
using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands that open a device themselves, without a daemon: <c>nuke</c>, and <c>verify</c> of a device.</summary>
internal static class DeviceVerb
{
    public static async Task NukeAsync(NukeCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (!File.Exists(command.Device))
        {
            throw new CommandException($"{command.Device} is not there");
        }

        if (DeviceUse.Find(command.Device) is { } use)
        {
            io.Confirm(use, command.Yes);
        }

        cancellation.ThrowIfCancellationRequested();
        using var device = Open(command.Device, readOnly: false);
        await DeviceFormat.NukeAsync(device);
        io.Say($"{command.Device} is blank: a daemon will format it");
    }

    /// <summary>Verifies a device and gives the number of problems.</summary>
    public static async Task<int> VerifyAsync(string path, CommandIo io, CancellationToken cancellation)
    {
        using var device = Open(path, readOnly: true);
        try
        {
            var outcome = await new DeviceVerifier(device, io.Say).RunAsync(cancellation);
            VerifyVerb.PrintHeads(outcome.Heads, outcome.ForcedViews, outcome.Entries, io);
            return outcome.Problems;
        }
        catch (DeviceRefusedException refused)
        {
            throw new CommandException($"{path}: {refused.Message}");
        }
    }

    private static FileBlockDevice Open(string path, bool readOnly)
    {
        try
        {
            return FileBlockDevice.Open(path, sizeBytes: null, readOnly);
        }
        catch (DeviceRefusedException refused)
        {
            throw new CommandException(refused.Message);
        }
    }
}
