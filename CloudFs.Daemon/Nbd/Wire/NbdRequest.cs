using System.Buffers.Binary;

namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>
/// A request header.
/// <code>
///  0      4       6      8        16       24       28
///  | magic | flags | type | cookie | offset | length |  payload of a write
/// </code>
/// </summary>
internal readonly record struct NbdRequest(
    CommandFlags Flags, NbdCommand Command, ulong Cookie, ulong Offset, uint Length)
{
    /// <summary>Bytes of a header.</summary>
    public const int Size = 28;

    /// <summary>When it was parsed, if it is one that is measured; else 0. Not on the wire.</summary>
    public long ParsedAt { get; init; }

    /// <summary>True when the client asks that the change be durable before the reply.</summary>
    public bool IsFua => (Flags & CommandFlags.Fua) != 0;

    /// <summary>Reads a header; there must be <see cref="Size"/> bytes.</summary>
    /// <exception cref="NbdProtocolException">The magic is wrong, so the stream is out of step.</exception>
    public static NbdRequest Read(ReadOnlySpan<byte> bytes)
    {
        var magic = BinaryPrimitives.ReadUInt32BigEndian(bytes);
        if (magic != NbdMagic.Request)
        {
            throw new NbdProtocolException($"expected a request (0x{NbdMagic.Request:x8}), found 0x{magic:x8}");
        }

        return new NbdRequest(
            (CommandFlags)BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]),
            (NbdCommand)BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
            BinaryPrimitives.ReadUInt32BigEndian(bytes[24..]));
    }
}
