namespace CloudFs.Core.Primitives;

/// <summary>Why the engine refused a request about disks as such (not about their sectors).</summary>
public enum Refusal
{
    /// <summary>No such disk.</summary>
    NotFound,

    /// <summary>The request is malformed: a bad name, size or option.</summary>
    Invalid,

    /// <summary>It contradicts what is there: a name that is taken, a disk that would shrink, a fork.</summary>
    Conflict,

    /// <summary>The device has no room.</summary>
    NoSpace,

    /// <summary>The disk can't be extended by this host.</summary>
    ReadOnly,

    /// <summary>The point is no longer within the history.</summary>
    Gone,

    /// <summary>The point lies beyond the head.</summary>
    BeyondHead,

    /// <summary>The device failed, or the engine is stopping.</summary>
    Unavailable,
}

/// <summary>A refusal with one clear line: what was expected, what was found, what to do.</summary>
public sealed class RefusalException(Refusal reason, string message) : Exception(message)
{
    /// <summary>The kind of refusal, which each face maps to its own code.</summary>
    public Refusal Reason { get; } = reason;
}

/// <summary>The device holds something that can't be opened, or can't be used: told to the operator as one line.</summary>
public sealed class DeviceRefusedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>An entry of the log can't be proved: its bytes on the device are damaged or missing.</summary>
public sealed class UnprovableEntryException(Id160 disk, ulong lsn, string message) : Exception(message)
{
    /// <summary>The disk whose entry it is.</summary>
    public Id160 Disk { get; } = disk;

    /// <summary>The LSN of the entry.</summary>
    public ulong Lsn { get; } = lsn;
}
