using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>How relocating a victim ended. Whatever it is but <see cref="Done"/>, the plan has nothing of the victim.</summary>
public enum RelocationOutcome
{
    /// <summary>All that is live in it is copied, and in the plan.</summary>
    Done,

    /// <summary>No segment has that use any more.</summary>
    Gone,

    /// <summary>
    /// Not all that may be in it can be told (its catalog is damaged), or something that must stay can't be read: it must be
    /// kept as it is.
    /// </summary>
    Unreadable,

    /// <summary>The index can't be read: what is live can't be told.</summary>
    IndexDamaged,

    /// <summary>No segment was to be had for the copies. What was copied of other victims stands.</summary>
    NoRoom,

    /// <summary>
    /// The plan would have too many moves. Try again in a plan of its own; one that is too much even for that has to wait
    /// until less of it is live.
    /// </summary>
    TooMuch,
}

/// <summary>
/// Looks into a disk's tree as the last checkpoint has it: copies the extents that overlap [lba, end) in order, clipped to it,
/// until <paramref name="into"/> is full, and gives their number. A disk that is not there has none.
/// </summary>
public delegate ValueTask<(TreeRead Status, int Count)> TreeLookup(
    Id160 disk, ulong lba, ulong end, Memory<MappedExtent> into);
