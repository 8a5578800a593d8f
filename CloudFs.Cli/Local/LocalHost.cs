using System.Diagnostics;
using System.Globalization;

namespace CloudFs.Cli.Local;

/// <summary>
/// A host that lives in a folder of this machine: its device, its log, and a file with the id of its process and where
/// it serves HTTP. The file may be stale after a crash, so it is believed only where the process is a cloudfsd with
/// this folder's device on its command line.
/// </summary>
internal sealed class LocalHost
{
    private const string DeviceName = "cloudfs.dev";

    private const string LogName = "cloudfsd.log";

    private const string PidName = "cloudfsd.pid";

    private const string SocketName = "nbd.sock";

    // sockaddr_un has room for 108 bytes, the last of which is 0.
    private const int MaxSocketPath = 107;

    public LocalHost(string directory)
    {
        Folder = Path.GetFullPath(directory);
    }

    public string Folder { get; }

    public string DevicePath => Path.Combine(Folder, DeviceName);

    public string LogPath => Path.Combine(Folder, LogName);

    /// <summary>Where NBD is served besides TCP; null where the folder's path is too long for a socket's.</summary>
    public string? SocketPath
    {
        get
        {
            var path = Path.Combine(Folder, SocketName);
            return System.Text.Encoding.UTF8.GetByteCount(path) <= MaxSocketPath ? path : null;
        }
    }

    private string PidPath => Path.Combine(Folder, PidName);

    /// <summary>The running daemon of this folder: its process id and its URL; null when there is none.</summary>
    public (int Pid, Uri Url)? FindRunning()
    {
        if (!File.Exists(PidPath))
        {
            return null;
        }

        var lines = File.ReadAllLines(PidPath);
        return lines.Length >= 2
            && int.TryParse(lines[0], NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
            && Uri.TryCreate(lines[1], UriKind.Absolute, out var url)
            && IsOurs(pid) ? (pid, url) : null;
    }

    public void Remember(int pid, Uri url) =>
        File.WriteAllText(PidPath, string.Create(CultureInfo.InvariantCulture, $"{pid}\n{url}\n"));

    public void Forget() => File.Delete(PidPath);

    /// <summary>The last lines of the daemon's log, for the message when it did not come up.</summary>
    public string LastLogLine() =>
        File.Exists(LogPath) ? File.ReadLines(LogPath).LastOrDefault(line => line.Length > 0) ?? "" : "";

    /// <summary>
    /// Starts a daemon in a session of its own, so that it outlives the shell, with its log at the end of the log file.
    /// </summary>
    public Process StartDaemon(IEnumerable<string> options)
    {
        // sh for the redirections, setsid for the session; both replace themselves, so the process stays the same.
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        string[] words =
        [
            "-c", "log=$1; shift; exec setsid \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", LogPath,
            FindDaemon(), "--device", DevicePath, .. options,
        ];
        foreach (var word in words)
        {
            start.ArgumentList.Add(word);
        }

        return Process.Start(start) ?? throw new CommandException("/bin/sh can't be started");
    }

    /// <summary>True when the process lives and is a cloudfsd over this folder's device.</summary>
    public bool IsOurs(int pid)
    {
        try
        {
            var commandLine = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"));
            var words = commandLine.Split('\0');
            return words.Any(word => Path.GetFileNameWithoutExtension(word) == "cloudfsd")
                && words.Contains(DevicePath);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Beside this executable, where the build leaves both, else on the path.</summary>
    private static string FindDaemon()
    {
        const string Name = "cloudfsd";
        var folder = Path.GetDirectoryName(Environment.ProcessPath) ?? AppContext.BaseDirectory;
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string[] places = [folder, AppContext.BaseDirectory, .. path];
        return places.Select(place => Path.Combine(place, Name)).FirstOrDefault(File.Exists)
            ?? throw new CommandException($"there is no {Name} beside {folder}/cloudfs and none on the PATH");
    }
}
