using System.Globalization;
using System.Runtime.InteropServices;

namespace CloudFs.Cli.Local;

/// <summary>What else on this machine uses a device, as far as the kernel tells: mounts, swap, loop devices.</summary>
internal static class DeviceUse
{
    /// <summary>
    /// Says who uses the device, or null. <paramref name="path"/> is a block device or a file.
    /// </summary>
    public static string? Find(string path)
    {
        var real = Resolve(path);
        return FindMount(real) ?? FindSwap(real) ?? FindLoop(real) ?? FindHolder(real);
    }

    private static string Resolve(string path)
    {
        var full = Path.GetFullPath(path);
        return File.ResolveLinkTarget(full, returnFinalTarget: true)?.FullName ?? full;
    }

    /// <summary>Lines of /proc/self/mountinfo: the source is the second word behind the lone hyphen.</summary>
    private static string? FindMount(string real)
    {
        foreach (var line in Lines("/proc/self/mountinfo"))
        {
            var words = line.Split(' ');
            var hyphen = Array.IndexOf(words, "-");
            if (hyphen < 0 || hyphen + 2 >= words.Length)
            {
                continue;
            }

            var source = words[hyphen + 2];
            if (source.StartsWith('/') && IsOn(source, real))
            {
                return $"{source} is mounted on {words[4]}";
            }
        }

        return null;
    }

    private static string? FindSwap(string real) =>
        Lines("/proc/swaps").Skip(1).Select(line => line.Split((char[])[' ', '\t'])[0]).Any(swap => IsOn(swap, real))
            ? $"{real} is swap space" : null;

    private static string? FindLoop(string real)
    {
        foreach (var loop in Folders("/sys/block", "loop*"))
        {
            if (Lines(Path.Combine(loop, "loop", "backing_file")).FirstOrDefault() == real)
            {
                return $"{real} is the file of /dev/{Path.GetFileName(loop)}";
            }
        }

        return null;
    }

    /// <summary>Whatever else holds a block device (RAID, a logical volume) refuses an exclusive open.</summary>
    private static string? FindHolder(string real)
    {
        if (!real.StartsWith("/dev/", StringComparison.Ordinal))
        {
            return null;
        }

        var descriptor = Open(real, ReadOnly | Exclusive | CloseOnExec);
        if (descriptor < 0)
        {
            return Marshal.GetLastPInvokeError() == Busy ? $"{real} is in use by the kernel" : null;
        }

        _ = Close(descriptor);
        return null;
    }

    /// <summary>True for the device itself and for a partition of it.</summary>
    private static bool IsOn(string source, string real)
    {
        var target = File.Exists(source) ? Resolve(source) : source;
        if (target == real)
        {
            return true;
        }

        var disk = Path.GetFileName(real);
        var part = Path.GetFileName(target);
        return real.StartsWith("/dev/", StringComparison.Ordinal)
            && Directory.Exists(string.Create(CultureInfo.InvariantCulture, $"/sys/block/{disk}/{part}"));
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            // What the kernel doesn't show can't be asked about; the exclusive open remains.
            return [];
        }
    }

    private static IEnumerable<string> Folders(string path, string pattern) =>
        Directory.Exists(path) ? Directory.EnumerateDirectories(path, pattern) : [];

    // <fcntl.h> and <errno.h> of Linux: an exclusive open of a block device is one that nobody else may hold.
    private const int ReadOnly = 0;

    private const int Exclusive = 0x80;

    private const int CloseOnExec = 0x80000;

    private const int Busy = 16;

    [DllImport("libc", EntryPoint = "open", SetLastError = true, CharSet = CharSet.Ansi, BestFitMapping = false)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc", EntryPoint = "close")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Close(int descriptor);
}
