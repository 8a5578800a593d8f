using CommandLine;

namespace CloudFs.Cli.Options;

/// <summary>What every command has.</summary>
internal abstract class Command
{
    // Behind all words that any command takes.
    private const int LastPosition = 99;

    /// <summary>Words too many; there must be none, and the first is named in the refusal.</summary>
    [Value(LastPosition, Hidden = true)]
    public IEnumerable<string> Strays { get; set; } = [];
}

/// <summary>What every command takes that talks to a daemon.</summary>
internal abstract class DaemonCommand : Command
{
    [Option("daemon", MetaValue = "URL",
        HelpText = "The daemon to talk to. Default: CLOUDFS_DAEMON, else http://127.0.0.1:8090.")]
    public string? Daemon { get; set; }
}

/// <summary>A command about one disk, named by its id, a prefix of it that is unique, or its name.</summary>
internal abstract class DiskCommand : DaemonCommand
{
    [Value(0, MetaName = "disk", Required = true, HelpText = "Id, unique prefix of the id, or name.")]
    public string Disk { get; set; } = string.Empty;
}

[Verb("newdisk", HelpText = "Make a disk; its id is printed alone on standard output.")]
internal sealed class NewDiskCommand : DaemonCommand
{
    [Value(0, MetaName = "replicas", HelpText = "On how many hosts it is kept. Default 3 in a cluster, else 1.")]
    public int? Replicas { get; set; }

    [Option("size", MetaValue = "SIZE", HelpText = "Its size: 512M, 64G, 1T. Default 8G.")]
    public string? Size { get; set; }

    [Option("name", MetaValue = "NAME", HelpText = "A name to call it by besides its id.")]
    public string? Name { get; set; }

    [Option("durability", MetaValue = "flush|write|async",
        HelpText = "When a write is acknowledged as durable. Default flush.")]
    public string? Durability { get; set; }
}

[Verb("disks", HelpText = "List the disks.")]
internal sealed class DisksCommand : DaemonCommand
{
    [Option("json", HelpText = "Print JSON.")]
    public bool Json { get; set; }
}

[Verb("info", HelpText = "Say everything about a disk; without one, about the host and the room on its device.")]
internal sealed class InfoCommand : DaemonCommand
{
    [Value(0, MetaName = "disk", HelpText = "Id, unique prefix of the id, or name. Without it: the host.")]
    public string? Disk { get; set; }

    [Option("json", HelpText = "Print JSON.")]
    public bool Json { get; set; }
}

[Verb("deletedisk", HelpText = "Delete a disk and its history.")]
internal sealed class DeleteDiskCommand : DiskCommand
{
    [Option("yes", HelpText = "Don't ask.")]
    public bool Yes { get; set; }
}

[Verb("rename", HelpText = "Give a disk another name.")]
internal sealed class RenameCommand : DiskCommand
{
    [Value(1, MetaName = "name", Required = true, HelpText = "The new name; an empty one takes the name away.")]
    public string Name { get; set; } = string.Empty;
}

[Verb("resize", HelpText = "Grow a disk, also while it is attached.")]
internal sealed class ResizeCommand : DiskCommand
{
    [Value(1, MetaName = "size", Required = true, HelpText = "The new size: 512M, 64G, 1T; not less than it has.")]
    public string Size { get; set; } = string.Empty;
}
