namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>The magic numbers of both phases. All NBD integers are big-endian.</summary>
internal static class NbdMagic
{
    /// <summary>"NBDMAGIC", the first word of the server.</summary>
    public const ulong Greeting = 0x4e42444d41474943;

    /// <summary>"IHAVEOPT", the second word of the server and the first of each option.</summary>
    public const ulong Option = 0x49484156454f5054;

    /// <summary>The first word of each answer to an option.</summary>
    public const ulong OptionReply = 0x0003e889045565a9;

    /// <summary>The first word of a request.</summary>
    public const uint Request = 0x25609513;

    /// <summary>The first word of a simple reply.</summary>
    public const uint SimpleReply = 0x67446698;

    /// <summary>The first word of each chunk of a structured reply.</summary>
    public const uint StructuredReply = 0x668e33ef;
}

/// <summary>What the server says of itself in its greeting.</summary>
[Flags]
internal enum HandshakeFlags : ushort
{
    FixedNewstyle = 1 << 0,
    NoZeroes = 1 << 1,
}

/// <summary>What the client answers to the greeting. Any other bit ends the connection.</summary>
[Flags]
internal enum ClientFlags : uint
{
    None = 0,
    FixedNewstyle = 1 << 0,
    NoZeroes = 1 << 1,
    Known = FixedNewstyle | NoZeroes,
}

/// <summary>The options that are answered; every other one gets <see cref="OptionReply.ErrUnsupported"/>.</summary>
internal enum NbdOption : uint
{
    ExportName = 1,
    Abort = 2,
    List = 3,
    Info = 6,
    Go = 7,
    StructuredReply = 8,
    ListMetaContext = 9,
    SetMetaContext = 10,
}

/// <summary>The kinds of answer to an option; errors have the top bit set.</summary>
internal enum OptionReply : uint
{
    Ack = 1,
    Server = 2,
    Info = 3,
    MetaContext = 4,
    ErrUnsupported = 0x8000_0001,
    ErrPolicy = 0x8000_0002,
    ErrInvalid = 0x8000_0003,
    ErrUnknown = 0x8000_0006,
    ErrShutdown = 0x8000_0007,
}

/// <summary>The kinds of information about an export.</summary>
internal enum NbdInfo : ushort
{
    Export = 0,
    Name = 1,
    Description = 2,
    BlockSize = 3,
}

/// <summary>What an export can do, told when the handshake ends.</summary>
[Flags]
internal enum TransmissionFlags : ushort
{
    HasFlags = 1 << 0,
    ReadOnly = 1 << 1,
    SendFlush = 1 << 2,
    SendFua = 1 << 3,
    SendTrim = 1 << 5,
    SendWriteZeroes = 1 << 6,
    SendDontFragment = 1 << 7,
    CanMultiConnect = 1 << 8,
    SendCache = 1 << 10,
    SendFastZero = 1 << 11,
}
