using System.Diagnostics;
using System.Globalization;
using CloudFs.Cli.Local;
using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary><c>up</c>, <c>down</c> and <c>status</c>: one host on this machine, or the cluster of a folder.</summary>
internal static class LocalVerbs
{
    private const string DefaultSize = "64G";

    private const string DefaultHttp = "127.0.0.1:8090";

    private const string DefaultNbd = "127.0.0.1:10809";

    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    public static async Task UpAsync(UpCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (PlanFor(command) is { } plan)
        {
            await LocalClusterVerbs.UpAsync(command, plan, io, cancellation);
            return;
        }

        var host = new LocalHost(command.Directory);
        if (host.Daemon.FindRunning() is { } running)
        {
            io.Say($"up already: {running.Url}, process {running.Pid}");
            return;
        }

        Directory.CreateDirectory(host.Folder);
        var socket = command.NbdSocket is null ? host.SocketPath : Path.GetFullPath(command.NbdSocket);
        var answer = await StartAsync(host, command, command.Http ?? DefaultHttp, command.Nbd, socket, cancellation);
        var nbd = string.Join(", ", answer.Nbd);
        io.Say($"up: HTTP {answer.Http}, NBD {nbd}, process {answer.Pid}, log {host.Daemon.LogPath}");
    }

    public static async Task DownAsync(DownCommand command, CommandIo io, CancellationToken cancellation)
    {
        var plan = ClusterPlan.TryRead(command.Directory);
        IReadOnlyList<LocalHost> hosts = plan is null
            ? [new LocalHost(command.Directory)]
            : [.. plan.Select(planned => new LocalHost(Path.Combine(command.Directory, planned.Name)))];
        if (command.Destroy)
        {
            io.Confirm($"everything that {string.Join(", ", hosts.Select(host => host.Folder))} hold will be lost", command.Yes);
        }

        if (plan is null)
        {
            var waited = Stopwatch.StartNew();
            var stopped = await hosts[0].Daemon.StopAsync(cancellation);
            io.Say(stopped ? string.Create(CultureInfo.InvariantCulture, $"down, in {waited.Elapsed.TotalSeconds:0.0} s") : "not up");
        }
        else
        {
            await LocalClusterVerbs.DownAsync(command, plan, io, cancellation);
        }

        if (command.Destroy)
        {
            foreach (var host in hosts)
            {
                host.Destroy();
            }

            ClusterPlan.Delete(command.Directory);
            io.Say("destroyed");
        }
    }

    public static async Task StatusAsync(StatusCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (ClusterPlan.TryRead(command.Directory) is { } plan)
        {
            await LocalClusterVerbs.StatusAsync(command, plan, io, cancellation);
            return;
        }

        var host = new LocalHost(command.Directory);
        if (host.Daemon.FindRunning() is not { } running)
        {
            throw new CommandException($"not up: start it with cloudfs up --dir {command.Directory}");
        }

        using var daemon = new DaemonClient(running.Url);
        await DiskVerbs.HostAsync(daemon, command.Json, io, cancellation);
    }

    /// <summary>Starts a host's daemon and waits until it answers.</summary>
    public static async Task<HostJson> StartAsync(
        LocalHost host, UpCommand command, string http, string? nbd, string? socket, CancellationToken cancellation)
    {
        if (!Uri.TryCreate("http://" + http, UriKind.Absolute, out var url) || url.Port == 0)
        {
            throw new CommandException($"--http {http}: expected an address and a port", ExitStatus.Usage);
        }

        await RefuseTakenAsync(url, cancellation);
        List<string> options = ["--device", host.DevicePath, "--http", http];
        Add("--nbd", nbd);
        Add("--nbd-socket", socket);
        Add("--index-cache", command.IndexCache);
        Add("--read-cache", command.ReadCache);
        Add("--history-min", command.HistoryMin);

        // A device that is there keeps its size unless another is asked for.
        Add("--size", command.Size ?? (File.Exists(host.DevicePath) ? null : DefaultSize));
        using var process = host.Daemon.Start(options);
        var answer = await WaitUntilUpAsync(host, process, url, cancellation);
        host.Daemon.Remember(process.Id, url);
        return answer;

        void Add(string option, string? value)
        {
            if (value is not null)
            {
                options.AddRange([option, value]);
            }
        }
    }

    /// <summary>The cluster to bring up: the folder's, or one that --hosts asks for; null for a single host.</summary>
    private static IReadOnlyList<PlannedHost>? PlanFor(UpCommand command)
    {
        var known = ClusterPlan.TryRead(command.Directory);
        if (command.Hosts is not { } count)
        {
            return !command.WitnessHost ? known
                : throw new CommandException("--witness-host is one of --hosts N: say how many", ExitStatus.Usage);
        }

        if (known is not null)
        {
            return known.Count == count ? known : throw new CommandException(
                $"{command.Directory} holds a cluster of {known.Count} hosts, not {count}: leave --hosts out, or give another --dir");
        }

        if (File.Exists(new LocalHost(command.Directory).DevicePath))
        {
            throw new CommandException($"{command.Directory} holds a single host: give another --dir for a cluster");
        }

        if (command.NbdSocket is not null)
        {
            throw new CommandException("--nbd-socket is for one host: each of --hosts has nbd.sock in its folder", ExitStatus.Usage);
        }

        var plan = ClusterPlan.Make(count, command.Http ?? DefaultHttp, command.Nbd ?? DefaultNbd, command.WitnessHost);
        Directory.CreateDirectory(command.Directory);
        ClusterPlan.Write(command.Directory, plan);
        return plan;
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
                throw new CommandException($"the daemon did not come up: {host.Daemon.LastLogLine()}");
            }

            await Task.Delay(Poll, cancellation);
        }

        throw new CommandException(
            $"the daemon does not answer after {StartPatience.TotalSeconds:0} s: see {host.Daemon.LogPath}");
    }
}
