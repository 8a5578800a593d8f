using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// An NBD client of the tests' own, written from the protocol's text and from nothing of the server: blocking, simple
/// replies, with as many requests under way as the caller likes.
/// </summary>
internal sealed class NbdPeer : IDisposable
{
    public const ushort Read = 0;
    public const ushort Write = 1;
    public const ushort Disconnect = 2;
    public const ushort Flush = 3;
    public const ushort Trim = 4;
    public const ushort WriteZeroes = 6;
    public const ushort Fua = 1;

    public const uint Eperm = 1;
    public const uint Eio = 5;
    public const uint Einval = 22;
    public const uint Enospc = 28;

    private const ulong OptionMagic = 0x49484156454F5054;
    private const ulong OptionReplyMagic = 0x0003e889045565a9;
    private const uint OptionGo = 7;
    private const uint ReplyAck = 1;
    private const uint ReplyInfo = 3;

    private readonly Socket _socket;
    private readonly NetworkStream _out;
    private readonly BufferedStream _in;

    private NbdPeer(Socket socket)
    {
        _socket = socket;
        _out = new NetworkStream(socket);
        _in = new BufferedStream(_out, 1 << 16);
    }

    public ulong Size { get; private set; }

    public ushort Flags { get; private set; }

    public static NbdPeer Connect(string socketPath, string export)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        {
            ReceiveTimeout = 30_000,
            SendTimeout = 30_000,
        };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            var peer = new NbdPeer(socket);
            peer.Negotiate(export);
            return peer;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request; <paramref name="cookie"/> comes back with its reply.</summary>
    public void Send(ushort type, ushort flags, ulong cookie, long offset, int length, ReadOnlySpan<byte> data = default)
    {
        Span<byte> header = stackalloc byte[28];
        BinaryPrimitives.WriteUInt32BigEndian(header, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], flags);
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], type);
        BinaryPrimitives.WriteUInt64BigEndian(header[8..], cookie);
        BinaryPrimitives.WriteInt64BigEndian(header[16..], offset);
        BinaryPrimitives.WriteInt32BigEndian(header[24..], length);
        _out.Write(header);
        _out.Write(data);
    }

    /// <summary>Receives the next reply, without the data that follows that of a read.</summary>
    public (ulong Cookie, uint Error) Receive()
    {
        Span<byte> reply = stackalloc byte[16];
        _in.ReadExactly(reply);
        Assert.Equal(0x67446698u, BinaryPrimitives.ReadUInt32BigEndian(reply));
        return (BinaryPrimitives.ReadUInt64BigEndian(reply[8..]), BinaryPrimitives.ReadUInt32BigEndian(reply[4..]));
    }

    /// <summary>One request and its reply; gives the error, 0 for none.</summary>
    public uint Do(ushort type, long offset, int length, ReadOnlySpan<byte> data = default, ushort flags = 0)
    {
        Send(type, flags, 1, offset, length, data);
        return Receive().Error;
    }

    /// <summary>Reads; the bytes mean something only when the error is 0.</summary>
    public uint TryRead(long offset, Span<byte> into)
    {
        Send(Read, 0, 1, offset, into.Length);
        var (_, error) = Receive();
        if (error == 0)
        {
            _in.ReadExactly(into);
        }

        return error;
    }

    /// <summary>Reads all of a disk, which must be readable.</summary>
    public byte[] ReadAll()
    {
        var all = new byte[Size];
        for (var at = 0; at < all.Length; at += 1 << 20)
        {
            var part = all.AsSpan(at, Math.Min(1 << 20, all.Length - at));
            Assert.Equal(0u, TryRead(at, part));
        }

        return all;
    }

    public void Dispose()
    {
        try
        {
            Send(Disconnect, 0, 0, 0, 0);
        }
        catch (IOException)
        {
            // The server is gone already.
        }

        _socket.Dispose();
    }

    private void Negotiate(string export)
    {
        var greeting = new byte[18];
        _in.ReadExactly(greeting);
        Assert.Equal("NBDMAGICIHAVEOPT", Encoding.ASCII.GetString(greeting, 0, 16));
        Assert.Equal(3, BinaryPrimitives.ReadUInt16BigEndian(greeting.AsSpan(16)) & 3);
        var name = Encoding.UTF8.GetBytes(export);
        var option = new byte[4 + 16 + 4 + name.Length + 2];
        BinaryPrimitives.WriteUInt32BigEndian(option, 3);
        BinaryPrimitives.WriteUInt64BigEndian(option.AsSpan(4), OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), OptionGo);
        BinaryPrimitives.WriteInt32BigEndian(option.AsSpan(16), 4 + name.Length + 2);
        BinaryPrimitives.WriteInt32BigEndian(option.AsSpan(20), name.Length);
        name.CopyTo(option, 24);
        _out.Write(option);
        var header = new byte[20];
        while (true)
        {
            _in.ReadExactly(header);
            Assert.Equal(OptionReplyMagic, BinaryPrimitives.ReadUInt64BigEndian(header));
            var type = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            var body = new byte[BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16))];
            _in.ReadExactly(body);
            if (type == ReplyAck)
            {
                return;
            }

            Assert.True(type == ReplyInfo, $"the option was answered with {type:x}: {Encoding.UTF8.GetString(body)}");
            if (BinaryPrimitives.ReadUInt16BigEndian(body) == 0)
            {
                Size = BinaryPrimitives.ReadUInt64BigEndian(body.AsSpan(2));
                Flags = BinaryPrimitives.ReadUInt16BigEndian(body.AsSpan(10));
            }
        }
    }
}
