using System.Security.Cryptography;
using CloudFs.Cli.Options;
using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;

namespace CloudFs.Cli.Verbs;

/// <summary>
/// <c>verify --rebuild-index</c>: opens a device that no daemon has, believes no checkpoint and no index of it, and makes
/// both anew from the log. What a daemon that died had acknowledged and not yet written is taken from its write buffer.
/// </summary>
internal static class RebuildVerb
{
    public static async Task RunAsync(VerifyCommand command, CommandIo io)
    {
        try
        {
            using var buffer = new BufferPlace(command.BufferDir, command.Path);
            await using var engine = await OpenAsync(command.Path, buffer, io);
        }
        catch (Exception failed) when (failed is DeviceRefusedException or DeviceException)
        {
            throw new CommandException($"{command.Path}: {failed.Message}");
        }
    }

    private static async Task<StorageEngine> OpenAsync(string path, BufferPlace buffer, CommandIo io)
    {
        var device = FileBlockDevice.Open(path, sizeBytes: null);
        try
        {
            // A blank device would be formatted.
            _ = await DeviceLabels.ReadAsync(device, _ => { })
                ?? throw new DeviceRefusedException("there is no CloudFS device here: no label");
        }
        catch
        {
            device.Dispose();
            throw;
        }

        return await StorageEngine.OpenAsync(
            new EngineSettings
            {
                Device = device,
                OpenBuffer = buffer.Open,
                Boot = MachineBoot.Id(),
                RebuildIndex = true,
                ReadCacheBytes = 0,
                ScrubRate = 0,
            },
            new EngineRuntime
            {
                Time = TimeProvider.System,
                FillRandom = RandomNumberGenerator.Fill,
                Spawn = Task.Run,
                Report = told => io.Say(told.Message),
            });
    }
}
