using CommandLine;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// The options as they are spelled, unchecked. Each is also an environment variable (<c>--nbd-socket</c> is
/// <c>CLOUDFS_NBD_SOCKET</c>) and a key of the JSON file; <see cref="OptionSources"/> lays the three over one another.
/// </summary>
internal sealed class DaemonArguments
{
    [Option("device", MetaValue = "PATH", HelpText = "The block device or file that holds the log. Required.")]
    public string? Device { get; set; }

    [Option("size", MetaValue = "SIZE",
        HelpText = "Makes the file when it is not there, grows it when it is: 512M, 64G, 1T.")]
    public string? Size { get; set; }

    [Option("http", MetaValue = "ADDR:PORT", HelpText = "Where HTTP is served. Default 127.0.0.1:8090.")]
    public string? Http { get; set; }

    [Option("nbd", MetaValue = "ADDR:PORT",
        HelpText = "Where NBD is served over TCP, or none. Default 127.0.0.1:10809.")]
    public string? Nbd { get; set; }

    [Option("nbd-socket", MetaValue = "PATH", HelpText = "A Unix socket where NBD is served as well.")]
    public string? NbdSocket { get; set; }

    [Option("host-id", MetaValue = "HEX40",
        HelpText = "The id of this host. Default: the one on the device, random at the first start.")]
    public string? HostId { get; set; }

    [Option("buffer-dir", MetaValue = "DIR",
        HelpText = "Where unflushed writes are kept so that they outlive the process. Best on tmpfs.")]
    public string? BufferDir { get; set; }

    [Option("index-cache", MetaValue = "SIZE",
        HelpText = "Memory for pages of the index, shared by all disks. Default 64M, at least 1M.")]
    public string? IndexCache { get; set; }

    [Option("read-cache", MetaValue = "SIZE",
        HelpText = "Memory for pages that were read or written lately; 0 turns it off. Default 256M, at least 1M.")]
    public string? ReadCache { get; set; }

    [Option("history-min", MetaValue = "TIME",
        HelpText = "How long history is kept while there is any room: 30m, 1h, 2d, 0. Default 1h.")]
    public string? HistoryMin { get; set; }

    [Option("scrub-rate", MetaValue = "SIZE",
        HelpText = "Bytes a second that scrubbing reads at most; 0 turns it off. Default 8M.")]
    public string? ScrubRate { get; set; }

    [Option("scrub-interval", MetaValue = "TIME",
        HelpText = "From one scrub to the next: 12h, 7d; 0: only when asked. Default 7d.")]
    public string? ScrubInterval { get; set; }

    [Option("lease", MetaValue = "TIME",
        HelpText = "How long a primary may answer after its replicas were last heard of; so long a disk on several hosts waits when its "
            + "primary restarts. The same on all hosts. Default 3s, at least 1s.")]
    public string? Lease { get; set; }

    [Option("log-format", MetaValue = "text|json", HelpText = "How log lines look on standard error. Default text.")]
    public string? LogFormat { get; set; }

    [Option("insecure", HelpText = "Allows to listen beyond loopback, without TLS and for everybody.")]
    public bool Insecure { get; set; }

    [Option("config", MetaValue = "FILE",
        HelpText = "A JSON object with these options as keys. Environment and command line come before it.")]
    public string? Config { get; set; }

    /// <summary>Words that belong to no option; there must be none, and the first is named in the refusal.</summary>
    [Value(0, Hidden = true)]
    public IEnumerable<string> Strays { get; set; } = [];
}
