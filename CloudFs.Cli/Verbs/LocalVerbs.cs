using System.Diagnostics;
using System.Globalization;
using CloudFs.Cli.Local;
using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary><c>up</c>, <c>down</c> and <c>status</c>: one host on this machine.</summary>
internal static class LocalVerbs
{
    private const string DefaultSize = "64G";

    private const string DefaultHttp = "127.0.0.1:8090";

    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    public static async Task UpAsync(UpCommand command, CommandIo io, CancellationToken cancellation)
    {
        var host = new LocalHost(command.Directory);
        if (host.FindRunning() is { } running)
        {
            io.Say($"up already: {running.Url}, process {running.Pid}");
            return;
        }

        Directory.CreateDirectory(host.Folder);
        var http = command.Http ?? DefaultHttp;
        if (!Uri.TryCreate("http://" + http, UriKind.Absolute, out var url) || url.Port == 0)
        {
            throw new CommandException($"--http {http}: expected an address and a port", ExitStatus.Usage);
        }

        await RefuseTakenAsync(url, cancellation);
        List<string> options = ["--http", http];
        Add("--nbd", command.Nbd);
        Add("--nbd-socket", command.NbdSocket is null ? host.SocketPath : Path.GetFullPath(command.NbdSocket));
        Add("--index-cache", command.IndexCache);
        Add("--read-cache", command.ReadCache);
        Add("--history-min", command.HistoryMin);

        // A device that is there keeps its size unless another is asked for.
        Add("--size", command.Size ?? (File.Exists(host.DevicePath) ? null : DefaultSize));
        using var process = host.StartDaemon(options);
        var answer = await WaitUntilUpAsync(host, process, url, cancellation);
        host.Remember(process.Id, url);
        var nbd = string.Join(", ", answer.Nbd);
        io.Say($"up: HTTP {answer.Http}, NBD {nbd}, process {process.Id}, log {host.LogPath}");

        void Add(string option, string? value)
        {
            if (value is not null)
            {
                options.AddRange([option, value]);
            }
        }
    }

    public static async Task DownAsync(DownCommand command, CommandIo io, CancellationToken cancellation)
    {
        var host = new LocalHost(command.Directory);
        if (host.FindRunning() is not { } running)
        {
            host.Forget();
            io.Say("not up");
            return;
        }

        Signals.Terminate(running.Pid);
        var waited = Stopwatch.StartNew();
        while (host.IsOurs(running.Pid))
        {
            if (waited.Elapsed > StopPatience)
            {
                throw new CommandException(
                    $"process {running.Pid} is still there after {StopPatience.TotalSeconds:0} s: see {host.LogPath}");
            }

            await Task.Delay(Poll, cancellation);
        }

        host.Forget();
        io.Say(string.Create(CultureInfo.InvariantCulture, $"down, in {waited.Elapsed.TotalSeconds:0.0} s"));
    }

    public static async Task StatusAsync(StatusCommand command, CommandIo io, CancellationToken cancellation)
    {
        var host = new LocalHost(command.Directory);
        if (host.FindRunning() is not { } running)
        {
            throw new CommandException($"not up: start it with cloudfs up --dir {command.Directory}");
        }

        using var daemon = new DaemonClient(running.Url);
        await DiskVerbs.HostAsync(daemon, command.Json, io, cancellation);
    }

    /// <summary>Another daemon on the same address would answer in place of ours.</summary>
    private static async Task RefuseTakenAsync(Uri url, CancellationToken cancellation)
    {
        using var daemon = new DaemonClient(url);
        if (await daemon.TryGetHostAsync(cancellation) is { } other)
        {
            throw new CommandException(
                $"{url.Authority} is served by process {other.Pid} over {other.DevicePath} already: "
                + "choose another --http");
        }
    }

    private static async Task<HostJson> WaitUntilUpAsync(
        LocalHost host, Process process, Uri url, CancellationToken cancellation)
    {
        using var daemon = new DaemonClient(url);
        var waited = Stopwatch.StartNew();
        while (waited.Elapsed < StartPatience)
        {
            if (await daemon.TryGetHostAsync(cancellation) is { } answer && answer.Pid == process.Id)
            {
                return answer;
            }

            if (process.HasExited)
            {
                throw new CommandException($"the daemon did not come up: {host.LastLogLine()}");
            }

            await Task.Delay(Poll, cancellation);
        }

        throw new CommandException(
            $"the daemon does not answer after {StartPatience.TotalSeconds:0} s: see {host.LogPath}");
    }
}
