using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Serialization;
using CloudFs.Cli.Local;
using CloudFs.Cli.Options;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary><c>up --hosts</c>, and <c>down</c> and <c>status</c> of what it made: several hosts on this machine.</summary>
internal static class LocalClusterVerbs
{
    private static readonly TimeSpan MeetPatience = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

    public static async Task UpAsync(
        UpCommand command, IReadOnlyList<PlannedHost> plan, CommandIo io, CancellationToken cancellation)
    {
        foreach (var planned in plan)
        {
            await StartDaemonAsync(command, planned, cancellation);
        }

        foreach (var planned in plan)
        {
            StartReplicator(command, planned, plan);
        }

        await WaitUntilMetAsync(command, plan, cancellation);
        foreach (var planned in plan)
        {
            var host = HostOf(command, planned);
            io.Say(string.Create(
                CultureInfo.InvariantCulture,
                $"{planned.Name} up: daemon {planned.Url.Authority} (process {host.Daemon.FindRunning()?.Pid}), "
                + $"replicator {planned.Replicator} (process {host.Replicator.FindRunning()?.Pid}), nbd://{planned.Nbd}, "
                + $"{(planned.Witness ? "witness, " : "")}in {host.Folder}"));
        }
    }

    public static async Task DownAsync(
        DownCommand command, IReadOnlyList<PlannedHost> plan, CommandIo io, CancellationToken cancellation)
    {
        // Replicators first: one that saw its neighbours go would try to mend what is meant.
        var stopped = 0;
        foreach (var planned in plan)
        {
            stopped += await HostOf(command, planned).Replicator.StopAsync(cancellation) ? 1 : 0;
        }

        foreach (var planned in plan)
        {
            stopped += await HostOf(command, planned).Daemon.StopAsync(cancellation) ? 1 : 0;
        }

        io.Say(stopped == 0 ? "not up" : $"down: {stopped} of {plan.Count * 2} processes were running");
    }

    public static async Task StatusAsync(
        StatusCommand command, IReadOnlyList<PlannedHost> plan, CommandIo io, CancellationToken cancellation)
    {
        List<LocalClusterHostJson> hosts = [];
        foreach (var planned in plan)
        {
            hosts.Add(await AskAsync(HostOf(command, planned), planned, cancellation));
        }

        if (command.Json)
        {
            Listing.Json(io.Out, hosts, LocalClusterJson.Default.ListLocalClusterHostJson);
        }
        else
        {
            Listing.Table(io.Out, ["HOST", "DAEMON", "REPLICATOR", "HEALTH", "USED", "FREE", "DISKS"], [.. hosts.Select(Row)]);
        }

        var missing = hosts.Sum(host => (host.DaemonPid is null ? 1 : 0) + (host.ReplicatorPid is null ? 1 : 0));
        if (missing > 0)
        {
            throw new CommandException(
                $"{missing} of {plan.Count * 2} processes are not running: cloudfs up --dir {command.Directory} starts them");
        }
    }

    private static LocalHost HostOf(LocalCommand command, PlannedHost planned) =>
        new(Path.Combine(command.Directory, planned.Name));

    private static async Task StartDaemonAsync(UpCommand command, PlannedHost planned, CancellationToken cancellation)
    {
        var host = HostOf(command, planned);
        if (host.Daemon.FindRunning() is null)
        {
            Directory.CreateDirectory(host.Folder);
            await LocalVerbs.StartAsync(host, command, planned.Http, planned.Nbd, host.SocketPath, cancellation);
        }
    }

    private static void StartReplicator(UpCommand command, PlannedHost planned, IReadOnlyList<PlannedHost> plan)
    {
        var host = HostOf(command, planned);
        if (host.Replicator.FindRunning() is not null)
        {
            return;
        }

        List<string> words =
        [
            "auto", .. plan.Where(other => other != planned).Select(other => other.Replicator),
            "--daemon", planned.Url.GetLeftPart(UriPartial.Authority), "--listen", planned.Replicator,
            "--db", host.DatabasePath, "--zone", planned.Name,
        ];
        if (planned.Witness)
        {
            words.Add("--witness");
        }

        using var process = host.Replicator.Start(words);
        host.Replicator.Remember(process.Id, planned.ReplicatorUrl);
    }

    /// <summary>Every replicator must know every host as one that answers.</summary>
    private static async Task WaitUntilMetAsync(
        UpCommand command, IReadOnlyList<PlannedHost> plan, CancellationToken cancellation)
    {
        var waited = Stopwatch.StartNew();
        foreach (var planned in plan)
        {
            var host = HostOf(command, planned);
            using var replicator = new DaemonClient(planned.ReplicatorUrl, "replicator");
            while (await CountUpAsync(replicator, cancellation) is var up && up < plan.Count)
            {
                if (waited.Elapsed > MeetPatience)
                {
                    throw new CommandException(
                        $"{planned.Name} has found {up} of {plan.Count} hosts after {MeetPatience.TotalSeconds:0} s: "
                        + $"see {host.Replicator.LogPath}");
                }

                // Between fork and exec the process is not a replicator yet; a second is ample.
                if (waited.Elapsed > TimeSpan.FromSeconds(1) && host.Replicator.FindRunning() is null)
                {
                    throw new CommandException(
                        $"the replicator of {planned.Name} did not come up: {host.Replicator.LastLogLine()}");
                }

                await Task.Delay(Poll, cancellation);
            }
        }
    }

    private static async Task<int> CountUpAsync(DaemonClient replicator, CancellationToken cancellation)
    {
        try
        {
            var cluster = await replicator.GetAsync("/hosts", ReplicatorContractsJson.Default.HostsJson, cancellation);
            return cluster.Hosts.Count(host => host.State is not ("down" or "suspect"));
        }
        catch (CommandException)
        {
            // Not up yet: the caller asks again, and has the last word about how long.
            return 0;
        }
    }

    private static async Task<LocalClusterHostJson> AskAsync(LocalHost host, PlannedHost planned, CancellationToken cancellation)
    {
        var told = new LocalClusterHostJson
        {
            Name = planned.Name,
            Folder = host.Folder,
            Http = planned.Http,
            ReplicatorHttp = planned.Replicator,
            Nbd = planned.Nbd,
            DaemonPid = host.Daemon.FindRunning()?.Pid,
            ReplicatorPid = host.Replicator.FindRunning()?.Pid,
        };
        if (told.DaemonPid is null)
        {
            return told;
        }

        using var daemon = new DaemonClient(planned.Url);
        try
        {
            var self = await daemon.GetAsync("/host", HttpContractsJson.Default.HostJson, cancellation);
            var disks = await daemon.GetAsync("/disks", HttpContractsJson.Default.IReadOnlyListDiskJson, cancellation);
            return told with { Health = await daemon.GetHealthAsync(cancellation), Space = self.Space, Disks = disks.Count };
        }
        catch (CommandException silent)
        {
            return told with { Problem = silent.Message };
        }
    }

    private static string[] Row(LocalClusterHostJson host) =>
    [
        host.Name, Process(host.DaemonPid, host.Http), Process(host.ReplicatorPid, host.ReplicatorHttp),
        host.Problem ?? host.Health?.Status ?? "-",
        host.Space is { } space ? SizeText.Format(space.Capacity - Math.Min(space.Free, space.Capacity)) : "-",
        host.Space is { } room ? SizeText.Format(room.Free) : "-",
        host.Disks?.ToString(CultureInfo.InvariantCulture) ?? "-",
    ];

    private static string Process(int? pid, string address) =>
        pid is null ? "not running" : string.Create(CultureInfo.InvariantCulture, $"{address} ({pid})");
}

/// <summary>One host in <c>status --json</c>; what is missing is not running or does not answer.</summary>
internal sealed record LocalClusterHostJson
{
    public required string Name { get; init; }

    public required string Folder { get; init; }

    public required string Http { get; init; }

    public required string ReplicatorHttp { get; init; }

    public required string Nbd { get; init; }

    public int? DaemonPid { get; init; }

    public int? ReplicatorPid { get; init; }

    public HealthJson? Health { get; init; }

    public SpaceJson? Space { get; init; }

    public int? Disks { get; init; }

    public string? Problem { get; init; }
}

/// <summary>Source-generated JSON of <see cref="LocalClusterHostJson"/>.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(List<LocalClusterHostJson>))]
internal sealed partial class LocalClusterJson : JsonSerializerContext;
