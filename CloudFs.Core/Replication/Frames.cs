using System.Buffers.Binary;
using System.Text;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>What a frame says (docs/protocol/replication.md).</summary>
internal enum FrameType : byte
{
    Hello = 1,
    Follow = 2,
    FollowAnswer = 3,
    Entries = 4,
    Ack = 5,
    Heartbeat = 6,
    HeartbeatAnswer = 7,
    Unfollow = 8,
    Request = 9,
    Response = 10,
}

/// <summary>Where a frame's fields stand, and its limits. Little-endian.</summary>
internal static class FrameLayout
{
    public const int Length = 0;
    public const int Type = 4;
    public const int Zeroes = 5;
    public const int Check = 8;
    public const int HeaderSize = 16;

    /// <summary>Bytes of an Entries frame before its entries; they prove themselves, and the check is of these alone.</summary>
    public const int EntriesPrefix = 64;

    /// <summary>The largest entry, with what stands before it, and as much again for those that travel with it.</summary>
    public const int MaxPayload = 2 * (EntryLayout.MaxHeaderLength + EntryLayout.MaxBodyLength);
}

/// <summary>The other end does not speak the protocol: the link is broken off, nothing else happens.</summary>
internal sealed class LinkProtocolException(string message) : IOException(message);

/// <summary>Frames on their way out: bytes that grow, reused. One user at a time.</summary>
internal sealed class FrameWriter
{
    private const int KeptMax = 4 << 20;

    private byte[] _bytes = new byte[4096];
    private int _start;

    /// <summary>Bytes that are here.</summary>
    public int Count { get; private set; }

    /// <summary>All of them.</summary>
    public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, Count);

    /// <summary>Begins a frame; what is put until <see cref="End"/> is its payload.</summary>
    public void Begin(FrameType type)
    {
        _start = Count;
        var header = Room(FrameLayout.HeaderSize);
        header.Clear();
        header[FrameLayout.Type] = (byte)type;
    }

    /// <summary>Ends the frame.</summary>
    public void End()
    {
        var frame = _bytes.AsSpan(_start, Count - _start);
        var payload = frame[FrameLayout.HeaderSize..];
        BinaryPrimitives.WriteUInt32LittleEndian(frame, (uint)payload.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(
            frame[FrameLayout.Check..], Frames.CheckOf((FrameType)frame[FrameLayout.Type], payload));
    }

    public void Put(byte value) => Room(1)[0] = value;

    public void Put(bool value) => Put(value ? (byte)1 : (byte)0);

    public void Put(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Room(4), value);

    public void Put(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Room(8), value);

    public void Put(Id160 value) => value.WriteTo(Room(Id160.Size));

    public void Put(Ballot value)
    {
        Put(value.Epoch);
        Put(value.Primary);
    }

    public void Put(ReadOnlySpan<byte> value) => value.CopyTo(Room(value.Length));

    /// <summary>At most 64 KiB of UTF-8.</summary>
    public void Put(string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value.Length > 1000 ? value[..1000] : value);
        Put((uint)bytes.Length);
        Put(bytes);
    }

    /// <summary>Room for so many bytes, to be filled before anything else is put.</summary>
    public Span<byte> Room(int bytes)
    {
        if (_bytes.Length - Count < bytes)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Count + bytes));
        }

        var room = _bytes.AsSpan(Count, bytes);
        Count += bytes;
        return room;
    }

    /// <summary>Changes a number that was put before.</summary>
    public void Patch(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(offset), value);

    /// <summary>Empties it; what a burst needed is not kept.</summary>
    public void Clear()
    {
        Count = 0;
        if (_bytes.Length > KeptMax)
        {
            _bytes = new byte[4096];
        }
    }

    /// <summary>Takes back what was put since there were so many bytes.</summary>
    public void Truncate(int count) => Count = count;
}

/// <summary>Reads a payload field by field; what is not there breaks the link.</summary>
internal ref struct FrameReader(ReadOnlySpan<byte> payload)
{
    private ReadOnlySpan<byte> _left = payload;

    public readonly int Left => _left.Length;

    public readonly bool IsEmpty => _left.IsEmpty;

    public byte Byte() => Take(1)[0];

    public bool Bool() => Byte() != 0;

    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public Id160 Id() => new(Take(Id160.Size));

    public Ballot Ballot() => new(UInt64(), Id());

    public string Text() => Encoding.UTF8.GetString(Take((int)Math.Min(UInt32(), int.MaxValue)));

    public ReadOnlySpan<byte> Take(int bytes)
    {
        if (bytes > _left.Length)
        {
            throw new LinkProtocolException($"a frame ends within a field: {bytes} bytes are expected, {_left.Length} are there");
        }

        var taken = _left[..bytes];
        _left = _left[bytes..];
        return taken;
    }
}

/// <summary>Cuts what arrives into frames.</summary>
internal static class Frames
{
    /// <summary>The frame at the start of <paramref name="bytes"/>; false while it is not whole.</summary>
    /// <exception cref="LinkProtocolException">No frame begins there.</exception>
    public static bool TryRead(ReadOnlyMemory<byte> bytes, out FrameType type, out ReadOnlyMemory<byte> payload, out int needed)
    {
        (type, payload, needed) = (default, default, FrameLayout.HeaderSize);
        if (bytes.Length < FrameLayout.HeaderSize)
        {
            return false;
        }

        var header = bytes.Span[..FrameLayout.HeaderSize];
        var length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        type = (FrameType)header[FrameLayout.Type];
        if (length > FrameLayout.MaxPayload || type is < FrameType.Hello or > FrameType.Response
            || header[FrameLayout.Zeroes..FrameLayout.Check].IndexOfAnyExcept((byte)0) >= 0)
        {
            throw new LinkProtocolException("what arrived is no frame of a link: it is broken off");
        }

        needed = FrameLayout.HeaderSize + (int)length;
        if (bytes.Length < needed)
        {
            return false;
        }

        payload = bytes[FrameLayout.HeaderSize..needed];
        return BinaryPrimitives.ReadUInt64LittleEndian(header[FrameLayout.Check..]) == CheckOf(type, payload.Span)
            ? true
            : throw new LinkProtocolException($"a frame ({type}) arrived damaged: the link is broken off");
    }

    public static ulong CheckOf(FrameType type, ReadOnlySpan<byte> payload) => XXH64.DigestOf(
        type == FrameType.Entries ? payload[..Math.Min(payload.Length, FrameLayout.EntriesPrefix)] : payload);
}
