using CommandLine;

namespace CloudFs.Replicator.Hosting;

/// <summary>The command line as it was written.</summary>
internal sealed class ReplicatorArguments
{
    [Value(0, MetaName = "host-id",
        HelpText = "40 hex digits, or auto: the daemon's own. Then the addresses of other replicators: peer[:port] ...")]
    public IEnumerable<string> Words { get; set; } = [];

    [Option("daemon", MetaValue = "URL", HelpText = "The daemon of this host. Default http://127.0.0.1:8090.")]
    public string? Daemon { get; set; }

    [Option("listen", MetaValue = "ADDR:PORT", HelpText = "Where to listen for HTTP. Default 127.0.0.1:8091.")]
    public string? Listen { get; set; }

    [Option("db", MetaValue = "FILE", HelpText = "SQLite database of what may be lost: peers, places. Default: none.")]
    public string? Db { get; set; }

    [Option("zone", MetaValue = "NAME", HelpText = "Hosts of one zone fail together. Default: each host is a zone of its own.")]
    public string? Zone { get; set; }

    [Option("weight", MetaValue = "NUMBER", HelpText = "Share of the disks in proportion to others. Default: the capacity in TiB.")]
    public string? Weight { get; set; }

    [Option("advertise", MetaValue = "ADDR[:PORT]", HelpText = "Where others reach this replicator. Default: where it listens.")]
    public string? Advertise { get; set; }

    [Option("advertise-daemon", MetaValue = "ADDR[:PORT]", HelpText = "Where others reach this host's daemon. Default: as --daemon.")]
    public string? AdvertiseDaemon { get; set; }

    [Option("grace", MetaValue = "TIME", HelpText = "How long a replica may be away until it is replaced: 30s, 10m, 1h. Default 10m.")]
    public string? Grace { get; set; }

    [Option("witness", HelpText = "This host holds no data, only votes.")]
    public bool Witness { get; set; }

    [Option("insecure", HelpText = "Allows to listen beyond loopback, without TLS and for everybody.")]
    public bool Insecure { get; set; }
}
