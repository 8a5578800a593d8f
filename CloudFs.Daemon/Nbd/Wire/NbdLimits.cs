namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>Sizes that belong to the protocol as it is served here; what may be tuned is in NbdServerOptions.</summary>
internal static class NbdLimits
{
    /// <summary>A sector. Smaller requests would need a read-modify-write in the log.</summary>
    public const uint MinBlock = 512;

    /// <summary>A page: smaller writes cost as much log and index as one of this size.</summary>
    public const uint PreferredBlock = 4096;

    /// <summary>
    /// What a read or a write may carry: the size that the protocol wants every server to take. A larger one would let
    /// one request claim more of the memory that all connections share.
    /// </summary>
    public const uint MaxPayload = 32 << 20;

    /// <summary>
    /// A write that is too long is received and thrown away up to here, so that the client gets an error; beyond, the
    /// length is thought to be garbage and the connection ends.
    /// </summary>
    public const uint MaxDiscard = 64 << 20;

    /// <summary>
    /// The most that is read or written as one piece: what the engine takes as one atomic entry. It is also what each
    /// connection may use when the shared memory is used up, so a larger one makes that reserve larger.
    /// </summary>
    public const int Piece = 1 << 20;

    /// <summary>
    /// Option data. The largest sensible option is a name with queries; a flood of options must stay cheap.
    /// </summary>
    public const uint MaxOptionData = 64 << 10;

    /// <summary>The protocol's limit on any string.</summary>
    public const int MaxString = 4096;

    /// <summary>
    /// Options in one handshake. Clients send about six; nbdinfo and nbdsh a few more. Without a limit a client could
    /// keep its place among the handshakes busy until its time is over.
    /// </summary>
    public const int MaxOptions = 256;

    /// <summary>
    /// Runs in one BLOCK_STATUS reply (64 KiB). More would hold the index for longer; clients ask on from where the
    /// reply ends.
    /// </summary>
    public const int MaxExtents = 8192;
}
