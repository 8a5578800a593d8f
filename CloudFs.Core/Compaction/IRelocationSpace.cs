using CloudFs.Core.Log;

namespace CloudFs.Core.Compaction;

/// <summary>Gives segments to relocate into. Asked by whoever keeps house alone.</summary>
public interface IRelocationSpace
{
    /// <summary>
    /// Takes a free segment. Its use is a relocation use (<see cref="Primitives.LogPosition.FirstRelocationUse"/> and up) above
    /// all that were given before, and is never given again. False when there is none to be had.
    /// </summary>
    /// <param name="stream">What it is to be filled with, as the relocator was told for each entry.</param>
    /// <param name="use">The use.</param>
    /// <param name="segment">The segment's number.</param>
    bool TryBegin(int stream, out ulong use, out int segment);

    /// <summary>
    /// Nothing more will be written to that segment. What is in it is referred to only once a checkpoint has taken the
    /// plan: until then it looks dead, and must not be reclaimed.
    /// </summary>
    /// <param name="use">The use.</param>
    /// <param name="headers">What the headers in it take.</param>
    void Sealed(ulong use, HeaderTally headers);

    /// <summary>A write to the segment of a use failed: what was written to it goes on in another, which this gives.</summary>
    /// <param name="tries">How many writes failed in a row.</param>
    /// <param name="part">What goes on.</param>
    /// <param name="why">How the write failed.</param>
    /// <exception cref="Devices.DeviceException">It could not be done: nothing may be written any more.</exception>
    Task<int> MoveAsync(int tries, MovedPart part, Devices.DeviceException why);
}
