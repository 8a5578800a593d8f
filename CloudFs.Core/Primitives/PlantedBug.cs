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

    /// <summary>Pages of the index are overwritten that the checkpoint before still leads to.</summary>
    CheckpointInPlace,

    /// <summary>Compaction frees a segment with pages that are still read.</summary>
    DropPinnedPage,

    /// <summary>References to a segment are taken back too often, so that it counts as dead while something in it is live.</summary>
    StaleLiveness,

    /// <summary>A flush is acknowledged though the other replicas may not have what it covers.</summary>
    AckBeforeMajority,

    /// <summary>A promise is written down, and entries of lower ballots are taken all the same.</summary>
    IgnoreFence,

    /// <summary>A primary serves whether or not a majority answers its heartbeats.</summary>
    ServeWithoutLease,
}
