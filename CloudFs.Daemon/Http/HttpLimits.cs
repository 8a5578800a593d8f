using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace CloudFs.Daemon.Http;

/// <summary>Every limit of the HTTP face, and what breaks if it were bigger or smaller.</summary>
internal static class HttpLimits
{
    /// <summary>Bigger: a flood holds more memory, about 10 KiB each. Smaller: streams run out of places.</summary>
    public const int MaxConnections = 1024;

    /// <summary>Where Kestrel itself turns connections away: those that are pushed out take a moment to go.</summary>
    public const int MaxSockets = 2 * MaxConnections;

    /// <summary>
    /// Streams hold an entry (1.1 MiB at most) each, states three times as much and a list of places. A host follows a
    /// few dozen disks in this way.
    /// </summary>
    public const int MaxStreams = 256;

    /// <summary>Uploads of a log hold an entry each, twice where it lies in pieces.</summary>
    public const int MaxLogUploads = 64;

    /// <summary>The most that one GET /blocks answers.</summary>
    public const ulong MaxReadBytes = 64UL << 20;

    /// <summary>
    /// The most that one PUT /blocks takes: it is held in memory so that it applies whole or not at all.
    /// </summary>
    public const ulong MaxWriteBytes = 32UL << 20;

    /// <summary>A read goes out in pieces of this size; smaller pieces cost more checks of the same page.</summary>
    public const int PieceBytes = 1 << 20;

    /// <summary>Bodies of writes that are in memory at once.</summary>
    public const long UploadMemory = 128L << 20;

    /// <summary>Pieces of reads that are in memory at once.</summary>
    public const long DownloadMemory = 64L << 20;

    /// <summary>
    /// A stream is flushed at this size even when more entries are at hand: it bounds Kestrel's buffer.
    /// </summary>
    public const int StreamFlushBytes = 128 << 10;

    /// <summary>JSON bodies are small; more than this is a mistake or an attack.</summary>
    public const int MaxJsonBytes = 64 << 10;

    /// <summary>Runs that one call of Describe is asked for: it bounds the time under the disk's lock.</summary>
    public const int RangesAtOnce = 1024;

    /// <summary>How long a request waits in line for memory before it is told to come again.</summary>
    public static readonly TimeSpan MemoryPatience = TimeSpan.FromSeconds(30);

    /// <summary>How long a connection that is about to be broken off may take what was proven.</summary>
    public static readonly TimeSpan LastWords = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// How long, and how many bytes, a client that was refused may go on sending before it is cut off.
    /// </summary>
    public static readonly TimeSpan DrainPatience = TimeSpan.FromSeconds(2);

    public const long DrainBytes = 64L << 20;

    /// <summary>
    /// A client that holds a body or a piece in memory must move: 16 KiB/s after ten seconds. Streams and PUT /log are
    /// exempt; their readers and writers may pause for as long as they like.
    /// </summary>
    public static MinDataRate BlockRate { get; } = new(bytesPerSecond: 16 << 10, gracePeriod: TimeSpan.FromSeconds(10));
}
