using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Handshake;

/// <summary>
/// Collects the answers to an option and sends them together.
/// <code>
///  0       8        12     16       20
///  | magic | option | type | length |  data
/// </code>
/// </summary>
internal sealed class OptionReplies(PeerSocket socket)
{
    // A list of thousands of disks is sent in pieces of about this size.
    private const int SendAt = 32 << 10;

    private readonly ArrayBufferWriter<byte> _bytes = new(256);
    private bool _isBroken;

    public void Add(NbdOption option, OptionReply type) => AddHeader(option, type, 0);

    /// <summary>An error with a line for people, or nothing but text.</summary>
    public void Add(NbdOption option, OptionReply type, string text)
    {
        AddHeader(option, type, Encoding.UTF8.GetByteCount(text));
        AddText(text);
    }

    public void AddServer(NbdOption option, string name, string description)
    {
        var nameBytes = Encoding.UTF8.GetByteCount(name);
        AddHeader(option, OptionReply.Server, 4 + nameBytes + Encoding.UTF8.GetByteCount(description));
        AddUInt32((uint)nameBytes);
        AddText(name);
        AddText(description);
        if (_bytes.WrittenCount >= SendAt)
        {
            Send();
        }
    }

    public void AddExport(NbdOption option, ulong size, TransmissionFlags flags)
    {
        AddHeader(option, OptionReply.Info, 12);
        AddUInt16((ushort)NbdInfo.Export);
        AddUInt64(size);
        AddUInt16((ushort)flags);
    }

    public void AddBlockSize(NbdOption option)
    {
        AddHeader(option, OptionReply.Info, 14);
        AddUInt16((ushort)NbdInfo.BlockSize);
        AddUInt32(NbdLimits.MinBlock);
        AddUInt32(NbdLimits.PreferredBlock);
        AddUInt32(NbdLimits.MaxPayload);
    }

    public void AddInfo(NbdOption option, NbdInfo info, string text)
    {
        AddHeader(option, OptionReply.Info, 2 + Encoding.UTF8.GetByteCount(text));
        AddUInt16((ushort)info);
        AddText(text);
    }

    public void AddContext(NbdOption option, uint id, string name)
    {
        AddHeader(option, OptionReply.MetaContext, 4 + Encoding.UTF8.GetByteCount(name));
        AddUInt32(id);
        AddText(name);
    }

    /// <summary>The server's first words.</summary>
    public void AddGreeting(HandshakeFlags flags)
    {
        AddUInt64(NbdMagic.Greeting);
        AddUInt64(NbdMagic.Option);
        AddUInt16((ushort)flags);
    }

    /// <summary>The answer to EXPORT_NAME, which has no header.</summary>
    public void AddExportName(ulong size, TransmissionFlags flags, bool withZeroes)
    {
        AddUInt64(size);
        AddUInt16((ushort)flags);
        if (withZeroes)
        {
            const int Reserved = 124;
            _bytes.GetSpan(Reserved)[..Reserved].Clear();
            _bytes.Advance(Reserved);
        }
    }

    /// <summary>Sends what there is; false when the peer is gone.</summary>
    public bool Send()
    {
        _isBroken = _isBroken || !socket.SendAll(_bytes.WrittenSpan);
        _bytes.ResetWrittenCount();
        return !_isBroken;
    }

    private void AddHeader(NbdOption option, OptionReply type, int length)
    {
        AddUInt64(NbdMagic.OptionReply);
        AddUInt32((uint)option);
        AddUInt32((uint)type);
        AddUInt32((uint)length);
    }

    private void AddText(string text) => _bytes.Advance(Encoding.UTF8.GetBytes(
        text, _bytes.GetSpan(Encoding.UTF8.GetMaxByteCount(text.Length))));

    private void AddUInt16(ushort value)
    {
        BinaryPrimitives.WriteUInt16BigEndian(_bytes.GetSpan(2), value);
        _bytes.Advance(2);
    }

    private void AddUInt32(uint value)
    {
        BinaryPrimitives.WriteUInt32BigEndian(_bytes.GetSpan(4), value);
        _bytes.Advance(4);
    }

    private void AddUInt64(ulong value)
    {
        BinaryPrimitives.WriteUInt64BigEndian(_bytes.GetSpan(8), value);
        _bytes.Advance(8);
    }
}
