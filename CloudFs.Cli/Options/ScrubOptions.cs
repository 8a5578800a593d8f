using CommandLine;

namespace CloudFs.Cli.Options;

[Verb("scrub", HelpText = "Have the daemon read everything on its device; exit status 1 when something is damaged.")]
internal sealed class ScrubCommand : DaemonCommand
{
    [Option("wait", HelpText = "Wait until it has ended, and show how far it is.")]
    public bool Wait { get; set; }

    [Option("json", HelpText = "Print JSON.")]
    public bool Json { get; set; }
}
