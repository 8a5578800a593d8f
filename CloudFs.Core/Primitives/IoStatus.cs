namespace CloudFs.Core.Primitives;

/// <summary>
/// How a request for a disk's sectors ended. Everything but <see cref="Ok"/> is an expected refusal, told as a value:
/// each face (NBD, HTTP) maps it to its own code in one table.
/// </summary>
public enum IoStatus
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>Offset or length is not a multiple of a sector (512 bytes).</summary>
    Misaligned,

    /// <summary>The range ends beyond the disk.</summary>
    OutOfRange,

    /// <summary>The device has no room for it. Reads, flushes, trims and deletes go on.</summary>
    NoSpace,

    /// <summary>The disk can't be written here: a mirror, or a disk whose head can't be had.</summary>
    ReadOnly,

    /// <summary>Some of the range is damaged on the device, or was never received: EIO until it is overwritten.</summary>
    Damaged,

    /// <summary>The device failed a write or a flush and takes nothing more until it is opened again.</summary>
    Poisoned,

    /// <summary>The engine is shutting down.</summary>
    Stopped,

    /// <summary>The disk was deleted.</summary>
    Deleted,

    /// <summary>The condition of a conditional write does not hold: the disk has a newer version.</summary>
    VersionMismatch,

    /// <summary>Too few replicas, or not the primary, could be reached for as long as the disk is patient: EIO.</summary>
    Unreachable,

    /// <summary>This host has promised a higher ballot, and takes nothing of a lower one (PROTOCOL.md, 1).</summary>
    Fenced,
}
