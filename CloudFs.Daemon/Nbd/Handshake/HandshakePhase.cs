using System.Buffers;
using System.Buffers.Binary;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Handshake;

/// <summary>What the handshake came to.</summary>
internal sealed record NegotiatedExport(IBlockTarget Target, NbdSession Session);

/// <summary>What the handshake asks of the server around it.</summary>
internal interface IHandshakeHost
{
    /// <summary>True when no new connections are wanted.</summary>
    bool IsStopping { get; }

    /// <summary>The peer has answered the greeting: it is no mere open connection.</summary>
    void HasSpoken();

    /// <summary>Takes a place among the connections in transmission; false when there is none.</summary>
    bool TryEnterTransmission();
}

/// <summary>
/// The fixed newstyle handshake of one connection, on its own thread. Its time is bounded from outside: the server
/// breaks the connection, and every call here then ends.
/// <code>
///  server: NBDMAGIC IHAVEOPT flags      client: flags
///  client: IHAVEOPT option length data  server: replies     (again and again)
///  until GO or EXPORT_NAME succeeds (transmission), ABORT, or either side closes
/// </code>
/// </summary>
internal sealed class HandshakePhase(PeerSocket socket, IExportCatalog catalog, IHandshakeHost host)
{
    private readonly OptionReplies _replies = new(socket);
    private bool _noZeroes;
    private bool _structured;

    // The export, as the client spelled it, for which base:allocation was selected last.
    private string? _allocationFor;

    /// <summary>Negotiates; null when the peer ended it.</summary>
    /// <exception cref="NbdProtocolException">The peer must be disconnected, for the reason given.</exception>
    public NegotiatedExport? Negotiate()
    {
        if (!TryGreet())
        {
            return null;
        }

        var header = new byte[OptionHeader.Size];
        for (var i = 0; i < NbdLimits.MaxOptions; i++)
        {
            if (!socket.ReceiveAll(header))
            {
                return null;
            }

            var (option, length) = OptionHeader.Read(header);
            var data = ArrayPool<byte>.Shared.Rent((int)length);
            try
            {
                var received = data.AsSpan(0, (int)length);
                if (!socket.ReceiveAll(received))
                {
                    return null;
                }

                var isOver = Answer(option, received, out var export);
                if (!_replies.Send() || isOver)
                {
                    return export;
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(data);
            }
        }

        throw new NbdProtocolException($"more than {NbdLimits.MaxOptions} options in one handshake");
    }

    private bool TryGreet()
    {
        _replies.AddGreeting(HandshakeFlags.FixedNewstyle | HandshakeFlags.NoZeroes);
        var answer = new byte[4];
        if (!_replies.Send() || !socket.ReceiveAll(answer))
        {
            return false;
        }

        var flags = (ClientFlags)BinaryPrimitives.ReadUInt32BigEndian(answer);
        if ((flags & ~ClientFlags.Known) != 0)
        {
            throw new NbdProtocolException($"unknown client flags 0x{(uint)flags:x8}");
        }

        _noZeroes = (flags & ClientFlags.NoZeroes) != 0;
        host.HasSpoken();
        return true;
    }

    // True ends the handshake, with an export for transmission.
    private bool Answer(NbdOption option, ReadOnlySpan<byte> data, out NegotiatedExport? export)
    {
        export = null;
        if (option == NbdOption.Abort)
        {
            _replies.Add(option, OptionReply.Ack);
            return true;
        }

        if (option == NbdOption.ExportName)
        {
            export = EnterByName(data);
            return true;
        }

        if (host.IsStopping)
        {
            _replies.Add(option, OptionReply.ErrShutdown, "the server is shutting down");
            return false;
        }

        switch (option)
        {
            case NbdOption.List or NbdOption.StructuredReply when data.Length > 0:
                _replies.Add(option, OptionReply.ErrInvalid, "this option has no data");
                break;
            case NbdOption.List:
                AnswerList();
                break;
            case NbdOption.StructuredReply:
                _structured = true;
                _replies.Add(option, OptionReply.Ack);
                break;
            case NbdOption.Info or NbdOption.Go:
                export = AnswerInfo(option, data);
                break;
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                AnswerMetaContext(option, data);
                break;
            default:
                _replies.Add(option, OptionReply.ErrUnsupported, $"option {(uint)option} is not supported");
                break;
        }

        return export is not null;
    }

    // EXPORT_NAME has no way to say no but to close the connection.
    private NegotiatedExport EnterByName(ReadOnlySpan<byte> data)
    {
        if (host.IsStopping)
        {
            throw new NbdProtocolException("the server is shutting down");
        }

        if (!OptionCodec.TryReadString(data, out var name))
        {
            throw new NbdProtocolException("the export name is no string by the protocol's rule");
        }

        var target = ExportNames.Find(catalog, name, out var reason) ?? throw new NbdProtocolException(reason);
        if (!host.TryEnterTransmission())
        {
            throw new NbdProtocolException("there are too many connections");
        }

        var session = Describe(target, name);
        _replies.AddExportName(session.Size, session.Flags, withZeroes: !_noZeroes);
        return new NegotiatedExport(target, session);
    }

    private void AnswerList()
    {
        foreach (var target in catalog.List())
        {
            if (target.Name is { } name)
            {
                _replies.AddServer(NbdOption.List, name, target.Description);
            }

            _replies.AddServer(NbdOption.List, target.Id, target.Description);
        }

        _replies.Add(NbdOption.List, OptionReply.Ack);
    }

    private NegotiatedExport? AnswerInfo(NbdOption option, ReadOnlySpan<byte> data)
    {
        if (!OptionCodec.TryReadExportQuery(data, out var query))
        {
            _replies.Add(option, OptionReply.ErrInvalid, "the lengths in this option do not fit its data");
            return null;
        }

        var target = ExportNames.Find(catalog, query.Name, out var reason);
        if (target is null)
        {
            _replies.Add(option, OptionReply.ErrUnknown, reason);
            return null;
        }

        if (option == NbdOption.Go && !host.TryEnterTransmission())
        {
            _replies.Add(option, OptionReply.ErrPolicy, "there are too many connections; try again later");
            return null;
        }

        var session = Describe(target, query.Name);
        _replies.AddExport(option, session.Size, session.Flags);
        if (query.WantsBlockSize)
        {
            _replies.AddBlockSize(option);
        }

        if (query.WantsName)
        {
            // Name and id are equally good names, so the one that was used stands; LIST shows both.
            _replies.AddInfo(option, NbdInfo.Name, query.Name.Length > 0 ? query.Name : target.Name ?? target.Id);
        }

        if (query.WantsDescription)
        {
            _replies.AddInfo(option, NbdInfo.Description, target.Description);
        }

        _replies.Add(option, OptionReply.Ack);
        return option == NbdOption.Go ? new NegotiatedExport(target, session) : null;
    }

    private void AnswerMetaContext(NbdOption option, ReadOnlySpan<byte> data)
    {
        var isSet = option == NbdOption.SetMetaContext;
        if (isSet)
        {
            // Whatever comes of it, it replaces what was selected before.
            _allocationFor = null;
        }

        if (!_structured)
        {
            _replies.Add(option, OptionReply.ErrInvalid, "structured replies must be agreed on first");
            return;
        }

        if (!OptionCodec.TryReadMetaQuery(data, out var query))
        {
            _replies.Add(option, OptionReply.ErrInvalid, "the lengths in this option do not fit its data");
            return;
        }

        if (ExportNames.Find(catalog, query.Name, out var reason) is null)
        {
            _replies.Add(option, OptionReply.ErrUnknown, reason);
            return;
        }

        if (query.NamesAllocation || (!isSet && (query.NamesBase || query.Queries == 0)))
        {
            _allocationFor = isSet ? query.Name : _allocationFor;
            _replies.AddContext(
                option, isSet ? NbdSession.AllocationContextId : 0, OptionCodec.AllocationContext);
        }

        _replies.Add(option, OptionReply.Ack);
    }

    private NbdSession Describe(IBlockTarget target, string name) =>
        new(target.SizeBytes, target.IsReadOnly, _structured, _structured && _allocationFor == name);
}
