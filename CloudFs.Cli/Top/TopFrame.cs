namespace CloudFs.Cli.Top;

/// <summary>What an NBD command did within an interval.</summary>
internal sealed record CommandRow(string Command, double PerSecond, double? BytesPerSecond, LatencyFigures Latency);

/// <summary>What a stage took within an interval.</summary>
internal sealed record StageRow(string Stage, LatencyFigures Latency);

/// <summary>
/// What a daemon did between two scrapes, and how it stood at the second. A daemon that was started anew in between has
/// done all that it tells since its start: no rate is ever negative.
/// </summary>
internal sealed class TopFrame
{
    private const string Uptime = "cloudfs_uptime_seconds";
    private const string Started = "process_start_time_seconds";

    private static readonly string[] CommandNames = ["read", "write", "flush", "trim", "write_zeroes"];

    private static readonly string[] StageNames = ["parse", "seal", "queue", "device_write", "flush", "index", "reply"];

    private readonly MetricsScrape? _before;
    private readonly MetricsScrape _after;

    public TopFrame(MetricsScrape before, MetricsScrape after)
    {
        IsRestarted = after.Of(Started) != before.Of(Started);
        Seconds = Math.Max(0.001, IsRestarted ? after.Of(Uptime) : (after.At - before.At).TotalSeconds);
        _before = IsRestarted ? null : before;
        _after = after;
    }

    /// <summary>True when the daemon was started between the scrapes.</summary>
    public bool IsRestarted { get; }

    /// <summary>How long the interval was; of a daemon that was started in it, its part of it.</summary>
    public double Seconds { get; }

    /// <summary>How long the daemon has been up.</summary>
    public TimeSpan Up => TimeSpan.FromSeconds(_after.Of(Uptime));

    /// <summary>What /healthz says, in a word.</summary>
    public string Health => ((string[])["ok", "degraded", "failed"])
        .FirstOrDefault(status => _after.Of($"cloudfs_health{{status=\"{status}\"}}") == 1) ?? "unknown";

    public IReadOnlyList<CommandRow> Commands => [.. CommandNames.Select(command => new CommandRow(
        command,
        Rate($"cloudfs_nbd_requests_total{{kind=\"{command}\"}}"),
        command switch
        {
            "read" => Rate("cloudfs_nbd_read_bytes_total"),
            "write" => Rate("cloudfs_nbd_written_bytes_total"),
            _ => null,
        },
        Latency("cloudfs_nbd_request_seconds", $"command=\"{command}\"")))];

    public IReadOnlyList<StageRow> Stages => [.. StageNames.Select(stage => new StageRow(
        stage, Latency("cloudfs_stage_seconds", $"stage=\"{stage}\"")))];

    /// <summary>True for what tells that it can be used: a daemon, and one that measures.</summary>
    public static bool IsTold(MetricsScrape scrape) =>
        scrape.Find(Started) is not null && scrape.Buckets("cloudfs_stage_seconds", "stage=\"seal\"").Count > 0;

    /// <summary>What a value is now; 0 when it is not told.</summary>
    public double Now(string name) => _after.Of(name);

    /// <summary>What a value is now; null when it is not told.</summary>
    public double? Find(string name) => _after.Find(name);

    /// <summary>Bytes on the device of a kind.</summary>
    public double Space(string kind) => Now($"cloudfs_space_bytes{{kind=\"{kind}\"}}");

    /// <summary>How much a counter grew, per second.</summary>
    public double Rate(string name) => Growth(_before?.Of(name) ?? 0, _after.Of(name)) / Seconds;

    private LatencyFigures Latency(string name, string label)
    {
        var before = _before?.Buckets(name, label);
        var more = _after.Buckets(name, label)
            .Select(bucket => (bucket.Key, Growth(before?.GetValueOrDefault(bucket.Key) ?? 0, bucket.Value))).ToList();
        var sum = $"{name}_sum{{{label}}}";
        return LatencyFigures.Of(more, Growth(_before?.Of(sum) ?? 0, _after.Of(sum)));
    }

    // A counter that went back began anew.
    private static double Growth(double before, double after) => after >= before ? after - before : after;
}
