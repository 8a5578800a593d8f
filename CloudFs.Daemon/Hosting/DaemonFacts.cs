using System.Reflection;

namespace CloudFs.Daemon.Hosting;

/// <summary>What the daemon knows of itself, for <c>/host</c>, <c>/metrics</c> and the first line of its log.</summary>
internal sealed class DaemonFacts
{
    /// <summary>The version of this build, without the commit that the SDK adds to it.</summary>
    public static string Version { get; } = ReadVersion();

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

    private static string ReadVersion()
    {
        var text = typeof(DaemonFacts).Assembly
            .GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0.0.0";
        var plus = text.IndexOf('+', StringComparison.Ordinal);
        return plus < 0 ? text : text[..plus];
    }
}
