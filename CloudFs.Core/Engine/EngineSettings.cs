using CloudFs.Core.Devices;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Scrub;

namespace CloudFs.Core.Engine;

/// <summary>What an engine is opened with. The device and its buffer belong to the engine from then on.</summary>
public sealed class EngineSettings
{
    /// <summary>Pages of the index in memory unless told otherwise: 64 MiB.</summary>
    public const long DefaultIndexCacheBytes = 64L << 20;

    /// <summary>Less than this would have every lookup read every level of a tree anew.</summary>
    public const long MinIndexCacheBytes = 1L << 20;

    /// <summary>Pages of entries in memory unless told otherwise: 256 MiB.</summary>
    public const long DefaultReadCacheBytes = 256L << 20;

    /// <summary>Less than this, but nothing at all, is a slip.</summary>
    public const long MinReadCacheBytes = 1L << 20;

    /// <summary>How old history gets at least unless told otherwise: an hour.</summary>
    public static readonly TimeSpan DefaultHistoryMin = TimeSpan.FromHours(1);

    /// <summary>The device, held exclusively.</summary>
    public required IBlockDevice Device { get; init; }

    /// <summary>
    /// Gives the region of the write buffer for a device id: memory that outlives the process, so that what was
    /// acknowledged survives its death. Null: ordinary memory (tests, tools).
    /// </summary>
    public Func<Id160, EngineBuffer>? OpenBuffer { get; init; }

    /// <summary>Differs from one boot of the machine to the next.</summary>
    public Id160 Boot { get; init; }

    /// <summary>The host's id for a device that is formatted now; random when null. One that is given must match the label.</summary>
    public Id160? HostId { get; init; }

    /// <summary>Bytes of the device to use; all of it when null. A label grows to it, and never shrinks.</summary>
    public ulong? SizeBytes { get; init; }

    /// <summary>Bytes of memory for pages of the index, which all disks share.</summary>
    public long IndexCacheBytes { get; init; } = DefaultIndexCacheBytes;

    /// <summary>Bytes of memory for pages of entries that were read or written lately, which all disks share; 0: none.</summary>
    public long ReadCacheBytes { get; init; } = DefaultReadCacheBytes;

    /// <summary>
    /// How old history gets at least before its space is used again. Room that is short overrules it: history is given up,
    /// oldest first, before a write is refused.
    /// </summary>
    public TimeSpan HistoryMin { get; init; } = DefaultHistoryMin;

    /// <summary>True to believe no checkpoint, and to rebuild the index from the log.</summary>
    public bool RebuildIndex { get; init; }

    /// <summary>Bytes a second that scrubbing may read; 0: no scrubbing.</summary>
    public ulong ScrubRate { get; init; } = Scrubber.DefaultRate;

    /// <summary>Time from the beginning of one scrub to the next; zero: only when asked.</summary>
    public TimeSpan ScrubInterval { get; init; }

    /// <summary>Connects to other hosts; null for an engine that never does.</summary>
    public IPeerDialer? Dialer { get; init; }

    /// <summary>For how long an answer to a primary's heartbeat holds this host back, and a lease lasts (PROTOCOL.md, 18).</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>The same with another device.</summary>
    internal EngineSettings Over(IBlockDevice device) => new()
    {
        Device = device,
        OpenBuffer = OpenBuffer,
        Boot = Boot,
        HostId = HostId,
        SizeBytes = SizeBytes,
        IndexCacheBytes = IndexCacheBytes,
        ReadCacheBytes = ReadCacheBytes,
        HistoryMin = HistoryMin,
        RebuildIndex = RebuildIndex,
        ScrubRate = ScrubRate,
        ScrubInterval = ScrubInterval,
        Dialer = Dialer,
        Lease = Lease,
    };
}

/// <summary>A region for the write buffer.</summary>
/// <param name="Region">Of a size that <see cref="Log.WriteBuffer.RegionBytes"/> gives.</param>
/// <param name="Remove">Called after a clean stop, when nothing in it is needed any more.</param>
public sealed record EngineBuffer(Memory<byte> Region, Action Remove);
