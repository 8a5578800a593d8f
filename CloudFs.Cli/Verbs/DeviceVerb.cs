using CloudFs.Cli.Local;
using CloudFs.Cli.Options;

namespace CloudFs.Cli.Verbs;

/// <summary>The commands that open a device themselves, without a daemon: <c>nuke</c>, and <c>verify</c> of a device.</summary>
internal static class DeviceVerb
{
    public static Task NukeAsync(NukeCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (!File.Exists(command.Device))
        {
            throw new CommandException($"{command.Device} is not there");
        }

        if (DeviceUse.Find(command.Device) is { } use)
        {
            io.Confirm(use, command.Yes);
        }

        _ = cancellation;
        throw new NotImplementedException();
    }

    /// <summary>Verifies a device and gives the number of problems.</summary>
    public static Task<int> VerifyAsync(string path, CommandIo io, CancellationToken cancellation)
    {
        _ = (path, io, cancellation);
        throw new NotImplementedException();
    }
}
