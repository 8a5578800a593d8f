using System.Diagnostics;
using System.Globalization;

namespace CloudFs.Cli.Local;

/// <summary>
/// A program that runs in the background for a folder of this machine: its log, and a file with the id of its process and
/// where it serves HTTP. The file may be stale after a crash, so it is believed only where the process is that program with
/// this folder's own file on its command line.
/// </summary>
/// <param name="folder">The folder, as a full path.</param>
/// <param name="program">cloudfsd or replicator.</param>
/// <param name="mark">A path of this folder that stands on the command line as a word of its own.</param>
internal sealed class LocalProcess(string folder, string program, string mark)
{
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    public string LogPath => Path.Combine(folder, program + ".log");

    private string PidPath => Path.Combine(folder, program + ".pid");

    /// <summary>The running process: its id and its URL; null when there is none.</summary>
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

    /// <summary>The last line of the log, for the message when it did not come up.</summary>
    public string LastLogLine() =>
        File.Exists(LogPath) ? File.ReadLines(LogPath).LastOrDefault(line => line.Length > 0) ?? "" : "";

    /// <summary>Starts it in a session of its own, so that it outlives the shell, with its log at the end of the log file.</summary>
    public Process Start(IEnumerable<string> options)
    {
        // sh for the redirections, setsid for the session; both replace themselves, so the process stays the same.
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        string[] words =
        [
            "-c", "log=$1; shift; exec setsid \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", LogPath, Find(), .. options,
        ];
        foreach (var word in words)
        {
            start.ArgumentList.Add(word);
        }

        return Process.Start(start) ?? throw new CommandException("/bin/sh can't be started");
    }

    /// <summary>Asks it to end and waits until it has. False when it did not run.</summary>
    public async Task<bool> StopAsync(CancellationToken cancellation)
    {
        if (FindRunning() is not { } running)
        {
            Forget();
            return false;
        }

        Signals.Terminate(running.Pid);
        var waited = Stopwatch.StartNew();
        while (IsOurs(running.Pid))
        {
            if (waited.Elapsed > StopPatience)
            {
                throw new CommandException(
                    $"process {running.Pid} is still there after {StopPatience.TotalSeconds:0} s: see {LogPath}");
            }

            await Task.Delay(Poll, cancellation);
        }

        Forget();
        return true;
    }

    /// <summary>True when the process lives and is this program for this folder.</summary>
    private bool IsOurs(int pid)
    {
        try
        {
            var commandLine = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"));
            var words = commandLine.Split('\0');
            return words.Any(word => Path.GetFileNameWithoutExtension(word) == program) && words.Contains(mark);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Beside this executable, where the build leaves all of them, else on the path.</summary>
    private string Find()
    {
        var own = Path.GetDirectoryName(Environment.ProcessPath) ?? AppContext.BaseDirectory;
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string[] places = [own, AppContext.BaseDirectory, .. path];
        return places.Select(place => Path.Combine(place, program)).FirstOrDefault(File.Exists)
            ?? throw new CommandException($"there is no {program} beside {own}/cloudfs and none on the PATH");
    }
}
