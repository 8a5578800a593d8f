using CommandLine;

namespace CloudFs.Cli.Options;

[Verb("top", HelpText = "Show what a daemon does, live: rates, latencies, what waits. q ends it.")]
internal sealed class TopCommand : DaemonCommand
{
    public const string DefaultInterval = "1s";

    [Option("interval", MetaValue = "TIME", Default = DefaultInterval, HelpText = "How long to look before it is shown: 1s, 10s, 1m.")]
    public string Interval { get; set; } = DefaultInterval;

    [Option("count", MetaValue = "N", HelpText = "End after so many intervals. Default: go on until interrupted.")]
    public int? Count { get; set; }
}
