namespace CloudFs.Core.Primitives;

/// <summary>
/// Bugs that tests plant to see whether they are found (docs/testing/fault-model.md). Each is consulted at one place; an
/// engine that is opened by anybody but a test has <see cref="None"/>.
/// </summary>
internal enum PlantedBug
{
    None = 0,

    /// <summary>The log says that it was flushed, and the device was never asked.</summary>
    SkipFlush,

    /// <summary>Roll-forward applies the contents of two entries in the wrong order.</summary>
    IndexOutOfOrder,

    /// <summary>A checkpoint is written over the newest one, which still stands.</summary>
    CheckpointInPlace,

    /// <summary>Compaction drops a page that a snapshot, a branch or the history still reads.</summary>
    DropPinnedPage,

    /// <summary>A reference to a segment is taken back twice, so that it counts as dead while something in it is live.</summary>
    StaleLiveness,
}
