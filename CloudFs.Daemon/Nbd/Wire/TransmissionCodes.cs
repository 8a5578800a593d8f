namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>The commands of the transmission phase.</summary>
internal enum NbdCommand : ushort
{
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    Cache = 5,
    WriteZeroes = 6,
    BlockStatus = 7,
}

/// <summary>The flags of a command.</summary>
[Flags]
internal enum CommandFlags : ushort
{
    None = 0,
    Fua = 1 << 0,
    NoHole = 1 << 1,
    DontFragment = 1 << 2,
    ReqOne = 1 << 3,
    FastZero = 1 << 4,
}

/// <summary>The flags of a chunk.</summary>
[Flags]
internal enum ChunkFlags : ushort
{
    None = 0,

    /// <summary>The last chunk of its reply.</summary>
    Done = 1 << 0,
}

/// <summary>The kinds of chunk in a structured reply.</summary>
internal enum ChunkType : ushort
{
    None = 0,
    OffsetData = 1,
    OffsetHole = 2,
    BlockStatus = 5,
    Error = 0x8001,
}

/// <summary>The only errors that the protocol allows.</summary>
internal enum NbdError : uint
{
    None = 0,

    /// <summary>EPERM: the export is read-only.</summary>
    NotPermitted = 1,

    /// <summary>EIO.</summary>
    Io = 5,

    /// <summary>EINVAL.</summary>
    Invalid = 22,

    /// <summary>ENOSPC: no room, or a write beyond the end.</summary>
    NoSpace = 28,

    /// <summary>EOVERFLOW: a read too long for one reply.</summary>
    Overflow = 75,

    /// <summary>ESHUTDOWN: the client must disconnect.</summary>
    Shutdown = 108,
}

/// <summary>The bits of <c>base:allocation</c>.</summary>
[Flags]
internal enum AllocationState : uint
{
    Data = 0,
    Hole = 1 << 0,
    Zero = 1 << 1,
}
