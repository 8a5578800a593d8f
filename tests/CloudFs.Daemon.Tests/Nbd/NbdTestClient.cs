using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>An answer to an option.</summary>
internal sealed record OptionAnswer(uint Option, OptionReply Type, byte[] Data)
{
    public string Text => Encoding.UTF8.GetString(Data);
}

/// <summary>One message of the server in transmission.</summary>
internal sealed record Message(ulong Cookie, NbdError Error, bool IsDone, ChunkType? Type, ulong Offset, byte[] Data);

/// <summary>
/// A client written from the protocol alone, byte by byte, which can also say what no honest client would. It shares
/// the server's names for numbers, nothing else; the numbers themselves are checked against the protocol's text in
/// <see cref="WireTests"/>.
/// </summary>
internal sealed class NbdTestClient : IDisposable
{
    private readonly Dictionary<ulong, int> _readLengths = [];
    private bool _structured;
    private ulong _nextCookie = 0x1122334455667788;

    public NbdTestClient(Socket socket)
    {
        Socket = socket;
        socket.ReceiveTimeout = 20_000;
        socket.SendTimeout = 20_000;
    }

    public Socket Socket { get; }

    public ulong Size { get; private set; }

    public TransmissionFlags Flags { get; private set; }

    public static byte[] Bytes(params object[] parts)
    {
        using var to = new MemoryStream();
        Span<byte> word = stackalloc byte[8];
        foreach (var part in parts)
        {
            switch (part)
            {
                case ushort v:
                    BinaryPrimitives.WriteUInt16BigEndian(word, v);
                    to.Write(word[..2]);
                    break;
                case uint v:
                    BinaryPrimitives.WriteUInt32BigEndian(word, v);
                    to.Write(word[..4]);
                    break;
                case ulong v:
                    BinaryPrimitives.WriteUInt64BigEndian(word, v);
                    to.Write(word);
                    break;
                case string v:
                    to.Write(Encoding.UTF8.GetBytes(v));
                    break;
                case byte[] v:
                    to.Write(v);
                    break;
                default:
                    throw new ArgumentException($"can't write a {part.GetType()}");
            }
        }

        return to.ToArray();
    }

    public void Send(params object[] parts) => SendBytes(Bytes(parts));

    public void SendBytes(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[Socket.Send(bytes)..];
        }
    }

    public byte[] Receive(int count)
    {
        var bytes = new byte[count];
        for (var at = 0; at < count;)
        {
            var got = Socket.Receive(bytes, at, count - at, SocketFlags.None);
            at += got > 0 ? got : throw new EndOfStreamException($"closed after {at} of {count} bytes");
        }

        return bytes;
    }

    /// <summary>True when the server closes the connection without another byte.</summary>
    public bool IsClosed()
    {
        try
        {
            return Socket.Receive(new byte[1]) == 0;
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset)
        {
            return true;
        }
    }

    public void Greet(uint flags = 3)
    {
        var greeting = Receive(18);
        Xunit.Assert.Equal(Bytes(0x4e42444d41474943UL, 0x49484156454f5054UL, (ushort)3), greeting);
        Send(flags);
    }

    public void SendOption(uint option, params object[] data)
    {
        var bytes = Bytes(data);
        Send(0x49484156454f5054UL, option, (uint)bytes.Length, bytes);
    }

    public OptionAnswer ReceiveAnswer()
    {
        var header = Receive(20);
        Xunit.Assert.Equal(0x3e889045565a9UL, BinaryPrimitives.ReadUInt64BigEndian(header));
        var length = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16));
        return new OptionAnswer(
            BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(8)),
            (OptionReply)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12)),
            Receive(length));
    }

    /// <summary>Sends an option; all answers up to the one that ends it.</summary>
    public List<OptionAnswer> Ask(uint option, params object[] data)
    {
        SendOption(option, data);
        List<OptionAnswer> answers = [];
        do
        {
            answers.Add(ReceiveAnswer());
            Xunit.Assert.Equal(option, answers[^1].Option);
        }
        while (answers[^1].Type != OptionReply.Ack && (uint)answers[^1].Type < 0x8000_0000);
        return answers;
    }

    public void Attach(string export, bool structured)
    {
        Greet();
        _structured = structured;
        var name = Encoding.UTF8.GetBytes(export);
        if (structured)
        {
            Xunit.Assert.Equal(OptionReply.Ack, Ask(8)[^1].Type);
            var query = Bytes((uint)"base:allocation".Length, "base:allocation");
            Xunit.Assert.Equal(OptionReply.Ack, Ask(10, (uint)name.Length, name, 1U, query)[^1].Type);
        }

        var answers = Ask(7, (uint)name.Length, name, (ushort)0);
        Xunit.Assert.Equal(OptionReply.Ack, answers[^1].Type);
        Size = BinaryPrimitives.ReadUInt64BigEndian(answers[0].Data.AsSpan(2));
        Flags = (TransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(answers[0].Data.AsSpan(10));
    }

    /// <summary>Sends a request, with data for a write; the cookie.</summary>
    public ulong SendRequest(
        NbdCommand command, ulong offset, uint length, CommandFlags flags = 0, ReadOnlySpan<byte> data = default)
    {
        var cookie = unchecked(_nextCookie++);
        if (command == NbdCommand.Read)
        {
            _readLengths[cookie] = (int)length;
        }

        SendBytes([.. Bytes(0x25609513U, (ushort)flags, (ushort)command, cookie, offset, length), .. data]);
        return cookie;
    }

    public Message ReceiveMessage()
    {
        var magic = BinaryPrimitives.ReadUInt32BigEndian(Receive(4));
        if (magic == 0x67446698)
        {
            var error = (NbdError)BinaryPrimitives.ReadUInt32BigEndian(Receive(4));
            var cookie = BinaryPrimitives.ReadUInt64BigEndian(Receive(8));
            var isRead = _readLengths.Remove(cookie, out var length);
            Xunit.Assert.False(isRead && _structured, "a simple reply to a read where structured ones were agreed on");
            return new Message(cookie, error, true, null, 0, isRead && error == 0 ? Receive(length) : []);
        }

        Xunit.Assert.Equal(0x668e33efU, magic);
        return ReceiveChunk(Receive(16));
    }

    /// <summary>Everything up to the end of one request's reply; there must be no other under way.</summary>
    public List<Message> ReceiveReply(ulong cookie)
    {
        List<Message> messages = [];
        do
        {
            messages.Add(ReceiveMessage());
            Xunit.Assert.Equal(cookie, messages[^1].Cookie);
        }
        while (!messages[^1].IsDone);
        return messages;
    }

    /// <summary>Sends a request and gives the error that ends it.</summary>
    public NbdError Do(
        NbdCommand command, ulong offset, uint length, CommandFlags flags = 0, ReadOnlySpan<byte> data = default) =>
        ReceiveReply(SendRequest(command, offset, length, flags, data)) is var reply ? reply[^1].Error : default;

    public NbdError Write(ulong offset, ReadOnlySpan<byte> data, CommandFlags flags = 0) =>
        Do(NbdCommand.Write, offset, (uint)data.Length, flags, data);

    /// <summary>Reads and puts the chunks together; every byte must have come exactly once.</summary>
    public byte[] Read(ulong offset, int length, CommandFlags flags = 0)
    {
        var reply = ReceiveReply(SendRequest(NbdCommand.Read, offset, (uint)length, flags));
        Xunit.Assert.Equal(NbdError.None, reply[^1].Error);
        if (!_structured)
        {
            return Xunit.Assert.Single(reply).Data;
        }

        var bytes = new byte[length];
        var seen = 0;
        foreach (var chunk in reply.Where(c => c.Type != ChunkType.None))
        {
            chunk.Data.CopyTo(bytes, (int)(chunk.Offset - offset));
            seen += chunk.Data.Length;
        }

        Xunit.Assert.Equal(length, seen);
        return bytes;
    }

    public void Dispose() => Socket.Dispose();

    private Message ReceiveChunk(byte[] header)
    {
        var isDone = (BinaryPrimitives.ReadUInt16BigEndian(header) & 1) != 0;
        var type = (ChunkType)BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(2));
        var cookie = BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(4));
        var payload = Receive(BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(12)));
        var first = payload.Length >= 8 ? BinaryPrimitives.ReadUInt64BigEndian(payload) : 0;
        return type switch
        {
            ChunkType.OffsetData => new(cookie, 0, isDone, type, first, payload[8..]),
            ChunkType.OffsetHole => new(
                cookie, 0, isDone, type, first, new byte[BinaryPrimitives.ReadInt32BigEndian(payload.AsSpan(8))]),
            ChunkType.Error => new(
                cookie, (NbdError)BinaryPrimitives.ReadUInt32BigEndian(payload), isDone, type, 0, payload[6..]),
            _ => new(cookie, 0, isDone, type, 0, payload),
        };
    }
}
