using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;

namespace CloudFs.Core.Scrub;

/// <summary>What a scrub reads, and whom it asks.</summary>
public sealed class ScrubSources
{
    /// <summary>The device.</summary>
    public required IBlockDevice Device { get; init; }

    /// <summary>Its label, as it is meant to be.</summary>
    public required DeviceLabel Label { get; init; }

    /// <summary>The log, its segments, and the disks.</summary>
    public required DiskServices Services { get; init; }

    /// <summary>
    /// Reads every page of the index through the device that it is given, which keeps the rate, and tells each that is damaged.
    /// Null where the index has no pages of its own.
    /// </summary>
    public Func<IBlockDevice, Action<string>, ValueTask>? Index { get; init; }

    /// <summary>Writes a checkpoint anew: that is how a damaged one is healed. False when it could not.</summary>
    public Func<Task<bool>>? Checkpoint { get; init; }
}
