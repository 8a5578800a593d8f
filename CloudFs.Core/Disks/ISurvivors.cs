using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>A run of sectors that is not to be had here, and the LSN of what set it; 0 where nobody knows.</summary>
public readonly record struct LostRun(ulong Lba, ulong Sectors, ulong Lsn);

/// <summary>
/// What is left of a disk's history: the entries that its present version still reads, or that state its view and attributes.
/// A picture that may change between two calls: an entry that is superseded drops out, one that is relocated has another
/// place. What superseded it always has a higher LSN.
/// </summary>
public interface ISurvivors
{
    /// <summary>
    /// The surviving entries with an LSN above <paramref name="afterLsn"/> and below <paramref name="belowLsn"/>: the lowest
    /// ones, ascending and distinct, as many as there is room for. Memory is bounded by <paramref name="into"/>.
    /// </summary>
    /// <returns>How many; 0 when there is none.</returns>
    ValueTask<int> NextAsync(ulong afterLsn, ulong belowLsn, Memory<(ulong Lsn, LogPosition Position)> into);

    /// <summary>The runs of sectors from <paramref name="fromLba"/> on that are mapped as lost, in order.</summary>
    /// <returns>How many; fewer than there is room for when these were the last.</returns>
    ValueTask<int> LostAsync(ulong fromLba, Memory<LostRun> into);
}

/// <summary>Gives out entries one after another: a stream, or a state and then a stream.</summary>
public interface IEntrySource
{
    /// <summary>The entry's bytes, header and body; valid until the next call of <see cref="MoveNextAsync"/>.</summary>
    ReadOnlyMemory<byte> Current { get; }

    /// <summary>
    /// Moves to the next. False at the durable head when <paramref name="wait"/> is false, and after the last entry of a
    /// deleted disk.
    /// </summary>
    /// <exception cref="UnprovableEntryException">The log is damaged here: the connection must be broken off.</exception>
    /// <exception cref="RefusalException">Gone: space was reclaimed under it. Unavailable: the engine stops.</exception>
    ValueTask<bool> MoveNextAsync(bool wait, CancellationToken cancellation);
}
