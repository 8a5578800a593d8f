namespace CloudFs.Daemon.Hosting;

/// <summary>What the daemon knows of itself, for <c>/host</c>, <c>/metrics</c> and the first line of its log.</summary>
internal sealed class DaemonFacts
{
    public required TimeProvider Time { get; init; }

    public required string DevicePath { get; init; }

    /// <summary>Where HTTP is served, as <c>address:port</c>; set once it listens.</summary>
    public string Http { get; set; } = string.Empty;

    /// <summary>Where NBD is served: <c>address:port</c>, <c>unix:/path</c>; set once it listens.</summary>
    public IReadOnlyList<string> Nbd { get; set; } = [];

    /// <summary>When this process started, by the kernel's account: the runtime's own start-up is in it.</summary>
    public DateTimeOffset Started { get; } = ProcessStart();

    /// <summary>Since the start of the process.</summary>
    public TimeSpan Uptime => Time.GetUtcNow() - Started;

    private static DateTimeOffset ProcessStart()
    {
        using var self = System.Diagnostics.Process.GetCurrentProcess();
        return self.StartTime.ToUniversalTime();
    }
}
