using CloudFs.Core.Devices;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;

namespace CloudFs.Core.Engine;

/// <summary>What an engine is opened with. The device and its buffer belong to the engine from then on.</summary>
public sealed class EngineSettings
{
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

    /// <summary>Bytes a second that scrubbing may read; 0: no scrubbing.</summary>
    public ulong ScrubRate { get; init; } = Scrubber.DefaultRate;

    /// <summary>Time from the beginning of one scrub to the next; zero: only when asked.</summary>
    public TimeSpan ScrubInterval { get; init; }

    /// <summary>The same with another device.</summary>
    internal EngineSettings Over(IBlockDevice device) => new()
    {
        Device = device,
        OpenBuffer = OpenBuffer,
        Boot = Boot,
        HostId = HostId,
        SizeBytes = SizeBytes,
        ScrubRate = ScrubRate,
        ScrubInterval = ScrubInterval,
    };
}

/// <summary>A region for the write buffer.</summary>
/// <param name="Region">Of a size that <see cref="Log.WriteBuffer.RegionBytes"/> gives.</param>
/// <param name="Remove">Called after a clean stop, when nothing in it is needed any more.</param>
public sealed record EngineBuffer(Memory<byte> Region, Action Remove);
