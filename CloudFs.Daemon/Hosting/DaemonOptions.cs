using System.Net;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;

namespace CloudFs.Daemon.Hosting;

/// <summary>How log lines are written.</summary>
internal enum LogFormat
{
    /// <summary>A line for people, with key=value at its end.</summary>
    Text,

    /// <summary>A JSON object a line.</summary>
    Json,
}

/// <summary>What the daemon was told, checked: nothing in here can be refused any more.</summary>
internal sealed record DaemonOptions
{
    public const int DefaultHttpPort = 8090;

    public const int DefaultNbdPort = 10809;

    public required string DevicePath { get; init; }

    /// <summary>The size that the device's file is to have, or null for the size it has.</summary>
    public ulong? SizeBytes { get; init; }

    public ListenAddress Http { get; init; } = new(IPAddress.Loopback, DefaultHttpPort);

    /// <summary>Null: no NBD over TCP.</summary>
    public ListenAddress? Nbd { get; init; } = new(IPAddress.Loopback, DefaultNbdPort);

    /// <summary>Null: no NBD over a Unix socket.</summary>
    public string? NbdSocket { get; init; }

    /// <summary>Null: the one in the label, or a random one at the first start.</summary>
    public Id160? HostId { get; init; }

    /// <summary>
    /// Where the buffers of unflushed writes lie that outlive the process; null: the engine's own choice.
    /// </summary>
    public string? BufferDirectory { get; init; }

    /// <summary>Bytes of memory for pages of the index.</summary>
    public long IndexCacheBytes { get; init; } = EngineSettings.DefaultIndexCacheBytes;

    /// <summary>Bytes of memory for pages that were read or written lately; 0: none.</summary>
    public long ReadCacheBytes { get; init; } = EngineSettings.DefaultReadCacheBytes;

    /// <summary>How old history gets at least, where there is room for it.</summary>
    public TimeSpan HistoryMin { get; init; } = EngineSettings.DefaultHistoryMin;

    /// <summary>Bytes a second that scrubbing reads at most; 0: no scrubbing.</summary>
    public ulong ScrubRate { get; init; } = Scrubber.DefaultRate;

    /// <summary>From the beginning of one scrub to the next; zero: only when asked.</summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromDays(7);

    /// <summary>How long a primary's lease lasts (PROTOCOL.md, 18): so long a disk waits when its primary restarts.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromSeconds(3);

    public bool Insecure { get; init; }

    public LogFormat LogFormat { get; init; }
}
