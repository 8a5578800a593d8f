using CommandLine;

namespace CloudFs.Cli.Options;

[Verb("nuke", HelpText = "Make a device empty; everything on it is lost.")]
internal sealed class NukeCommand : Command
{
    [Value(0, MetaName = "device", Required = true, HelpText = "The block device or file.")]
    public string Device { get; set; } = string.Empty;

    [Option("yes", HelpText = "Don't ask, even where it is mounted or holds something.")]
    public bool Yes { get; set; }
}

[Verb("verify", HelpText = "Check every hash of every entry of a device or of a stream, without a daemon.")]
internal sealed class VerifyCommand : Command
{
    [Value(0, MetaName = "path", Required = true,
        HelpText = "A device, a file that holds a stream, or - for a stream on standard input.")]
    public string Path { get; set; } = string.Empty;

    [Option("rebuild-index", HelpText = "First make a device's index anew from its log. No daemon may run on it.")]
    public bool RebuildIndex { get; set; }

    [Option("buffer-dir", MetaValue = "DIR",
        HelpText = "With --rebuild-index: where the daemon had its write buffer, if it was told.")]
    public string? BufferDir { get; set; }
}

/// <summary>A command about the host on this machine that lives in a folder.</summary>
internal abstract class LocalCommand : Command
{
    public const string DefaultDirectory = "./data";

    [Option("dir", MetaValue = "DIR", Default = DefaultDirectory, HelpText = "The folder of the host or cluster.")]
    public string Directory { get; set; } = DefaultDirectory;
}

[Verb("up", HelpText = "Start a host or a cluster on this machine, in the background; starts what is not up.")]
internal sealed class UpCommand : LocalCommand
{
    [Option("hosts", MetaValue = "N",
        HelpText = "A cluster of N hosts in DIR/host1 to DIR/hostN, ports higher by 100 each; later starts know it.")]
    public int? Hosts { get; set; }

    [Option("witness-host", HelpText = "With --hosts: the last one holds no data, only votes.")]
    public bool WitnessHost { get; set; }

    [Option("size", MetaValue = "SIZE", HelpText = "The size of its device, made at the first start. Default 64G.")]
    public string? Size { get; set; }

    [Option("http", MetaValue = "ADDR:PORT", HelpText = "Where HTTP is served. Default 127.0.0.1:8090.")]
    public string? Http { get; set; }

    [Option("nbd", MetaValue = "ADDR:PORT", HelpText = "Where NBD is served. Default 127.0.0.1:10809.")]
    public string? Nbd { get; set; }

    [Option("nbd-socket", MetaValue = "PATH",
        HelpText = "A Unix socket where NBD is served as well. Default DIR/nbd.sock.")]
    public string? NbdSocket { get; set; }

    [Option("index-cache", MetaValue = "SIZE", HelpText = "Memory for pages of the index. Default 64M.")]
    public string? IndexCache { get; set; }

    [Option("read-cache", MetaValue = "SIZE",
        HelpText = "Memory for pages that were read or written lately; 0: none. Default 256M.")]
    public string? ReadCache { get; set; }

    [Option("history-min", MetaValue = "TIME",
        HelpText = "How long history is kept while there is any room: 30m, 2d, 0. Default 1h.")]
    public string? HistoryMin { get; set; }
}

[Verb("down", HelpText = "Stop what up started.")]
internal sealed class DownCommand : LocalCommand
{
    [Option("destroy", HelpText = "Then remove its data.")]
    public bool Destroy { get; set; }

    [Option("yes", HelpText = "With --destroy: don't ask.")]
    public bool Yes { get; set; }
}

[Verb("status", HelpText = "Say what is up, and how it is.")]
internal sealed class StatusCommand : LocalCommand
{
    [Option("json", HelpText = "Print JSON.")]
    public bool Json { get; set; }
}
