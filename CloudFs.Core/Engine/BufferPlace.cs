using CloudFs.Core.Devices;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Engine;

/// <summary>
/// Where the write buffer lies: a private file of the device's own name, mapped, so that what was acknowledged outlives
/// the process. The choice must come out the same after a crash, or what is in the buffer would be overlooked: so a
/// file that is there already wins over every place where one could be made. A clean stop takes the file away.
/// </summary>
public sealed class BufferPlace : IDisposable
{
    // Memory that every Linux has; it survives processes and no reboot, which is all that is asked of it.
    private const string SharedMemory = "/dev/shm";

    private readonly string[] _folders;
    private SharedRegion? _region;

    /// <param name="chosen">The folder that an option names; null: shared memory, else beside the device's
    /// file.</param>
    /// <param name="device">The path of the device.</param>
    public BufferPlace(string? chosen, string device)
    {
        var beside = Path.GetDirectoryName(Path.GetFullPath(device)) ?? "/";
        _folders = chosen is not null ? [Path.GetFullPath(chosen)]
            : beside.StartsWith("/dev", StringComparison.Ordinal) ? [SharedMemory]
            : [SharedMemory, beside];
    }

    /// <summary>Where the buffer is; empty until it was opened.</summary>
    public string FilePath => _region?.Path ?? string.Empty;

    /// <exception cref="DeviceRefusedException">It can be made nowhere; the line is that of the last place
    /// tried.</exception>
    public EngineBuffer Open(Id160 device)
    {
        var paths = _folders.Select(folder => Path.Combine(folder, $"cloudfs-{device}.buffer")).ToArray();
        var left = Array.Find(paths, File.Exists);
        foreach (var path in left is null ? paths : [left])
        {
            try
            {
                _region = SharedRegion.Open(path, WriteBuffer.RegionBytes(WriteBuffer.DefaultSlots));
                return new EngineBuffer(_region.Memory, _region.Unlink);
            }
            catch (DeviceRefusedException) when (path != paths[^1] && path != left)
            {
                // A container's shared memory may be too small; the next place is as good, only slower.
            }
        }

        throw new DeviceRefusedException("there is no place for the write buffer: give one with --buffer-dir");
    }

    /// <summary>Unmaps it. The engine must be done with it.</summary>
    public void Dispose() => (_region as IDisposable)?.Dispose();
}
