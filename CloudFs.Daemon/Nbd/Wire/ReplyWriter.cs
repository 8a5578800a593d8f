using System.Buffers.Binary;

namespace CloudFs.Daemon.Nbd.Wire;

/// <summary>
/// Writes the replies of the transmission phase.
/// <code>
///  simple  0       4       8        16
///          | magic | error | cookie |  data of a read
///  chunk   0       4       6      8        16       20
///          | magic | flags | type | cookie | length |  payload
/// </code>
/// </summary>
internal static class ReplyWriter
{
    /// <summary>Bytes of a simple reply, without data.</summary>
    public const int SimpleSize = 16;

    /// <summary>Bytes of a chunk's header.</summary>
    public const int ChunkSize = 20;

    /// <summary>Bytes before the data in an OFFSET_DATA chunk.</summary>
    public const int DataHeaderSize = ChunkSize + 8;

    /// <summary>Bytes of an OFFSET_HOLE chunk.</summary>
    public const int HoleSize = ChunkSize + 12;

    /// <summary>Bytes before the text in an ERROR chunk.</summary>
    public const int ErrorHeaderSize = ChunkSize + 6;

    /// <summary>Bytes before the descriptors in a BLOCK_STATUS chunk.</summary>
    public const int BlockStatusHeaderSize = ChunkSize + 4;

    /// <summary>Bytes of one descriptor.</summary>
    public const int DescriptorSize = 8;

    public static void WriteSimple(Span<byte> to, NbdError error, ulong cookie)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, NbdMagic.SimpleReply);
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], (uint)error);
        BinaryPrimitives.WriteUInt64BigEndian(to[8..], cookie);
    }

    public static void WriteChunk(Span<byte> to, ChunkFlags flags, ChunkType type, ulong cookie, uint length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, NbdMagic.StructuredReply);
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], (ushort)flags);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], (ushort)type);
        BinaryPrimitives.WriteUInt64BigEndian(to[8..], cookie);
        BinaryPrimitives.WriteUInt32BigEndian(to[16..], length);
    }

    public static void WriteDataHeader(Span<byte> to, ChunkFlags flags, ulong cookie, ulong offset, uint length)
    {
        WriteChunk(to, flags, ChunkType.OffsetData, cookie, length + 8);
        BinaryPrimitives.WriteUInt64BigEndian(to[ChunkSize..], offset);
    }

    public static void WriteHole(Span<byte> to, ChunkFlags flags, ulong cookie, ulong offset, uint length)
    {
        WriteChunk(to, flags, ChunkType.OffsetHole, cookie, 12);
        BinaryPrimitives.WriteUInt64BigEndian(to[ChunkSize..], offset);
        BinaryPrimitives.WriteUInt32BigEndian(to[(ChunkSize + 8)..], length);
    }

    /// <summary>Writes an ERROR chunk, which always ends its reply here.</summary>
    public static void WriteError(Span<byte> to, NbdError error, ulong cookie, ReadOnlySpan<byte> text)
    {
        WriteChunk(to, ChunkFlags.Done, ChunkType.Error, cookie, (uint)text.Length + 6);
        BinaryPrimitives.WriteUInt32BigEndian(to[ChunkSize..], (uint)error);
        BinaryPrimitives.WriteUInt16BigEndian(to[(ChunkSize + 4)..], (ushort)text.Length);
        text.CopyTo(to[ErrorHeaderSize..]);
    }

    public static void WriteBlockStatusHeader(Span<byte> to, ulong cookie, uint context, int descriptors)
    {
        WriteChunk(
            to, ChunkFlags.Done, ChunkType.BlockStatus, cookie, 4 + (uint)(descriptors * DescriptorSize));
        BinaryPrimitives.WriteUInt32BigEndian(to[ChunkSize..], context);
    }

    public static void WriteDescriptor(Span<byte> to, uint length, AllocationState state)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, length);
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], (uint)state);
    }
}
