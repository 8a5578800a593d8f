using CommandLine;

namespace CloudFs.Cli.Options;

/// <summary>A command about one host, named by its id or a prefix of it that is unique.</summary>
internal abstract class HostCommand : DaemonCommand
{
    [Value(0, MetaName = "host", Required = true, HelpText = "Id of the host, or a unique prefix of it; see cloudfs hosts.")]
    public string Host { get; set; } = string.Empty;
}

[Verb("hosts", HelpText = "List the hosts of the cluster: state, space, what each holds, and how even that is.")]
internal sealed class HostsCommand : DaemonCommand
{
    [Option("json", HelpText = "Print JSON.")]
    public bool Json { get; set; }
}

[Verb("drain", HelpText = "Have everything that a host holds go to other hosts.")]
internal sealed class DrainCommand : HostCommand
{
    [Option("undo", HelpText = "Take it back: the host may hold disks again.")]
    public bool Undo { get; set; }

    [Option("wait", HelpText = "End only when the host holds nothing any more.")]
    public bool Wait { get; set; }
}

[Verb("forget", HelpText = "Have the cluster know a host no more that is down for good.")]
internal sealed class ForgetCommand : HostCommand
{
    [Option("yes", HelpText = "Don't ask.")]
    public bool Yes { get; set; }
}

[Verb("move", HelpText = "Give the right to write a disk to another host.")]
internal sealed class MoveCommand : DiskCommand
{
    [Value(1, MetaName = "host", Required = true, HelpText = "Id of the host, or a unique prefix of it; see cloudfs hosts.")]
    public string Host { get; set; } = string.Empty;
}

[Verb("replicas", HelpText = "Say on how many hosts a disk is to be kept from now on.")]
internal sealed class ReplicasCommand : DiskCommand
{
    [Value(1, MetaName = "replicas", Required = true, HelpText = "How many, at least 1.")]
    public int Replicas { get; set; }
}

[Verb("set", HelpText = "Change when a disk's writes are acknowledged, also while it is attached.")]
internal sealed class SetCommand : DiskCommand
{
    [Option("durability", MetaValue = "flush|write|async", HelpText = "When a write is acknowledged as durable.")]
    public string? Durability { get; set; }

    [Option("patience", MetaValue = "TIME",
        HelpText = "How long a request waits for too few replicas before it fails: 30s, 5m; 0: for ever.")]
    public string? Patience { get; set; }
}
