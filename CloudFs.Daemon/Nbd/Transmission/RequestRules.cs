using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// What was agreed in the handshake; fixed for the life of the connection, whatever becomes of the disk.
/// </summary>
/// <param name="Size">The disk's size when the connection was made; ranges keep to it even if it grows.</param>
/// <param name="ReadOnly">The export was announced as read-only.</param>
/// <param name="Structured">Structured replies were asked for.</param>
/// <param name="Allocation">The context base:allocation was selected for this export.</param>
internal readonly record struct NbdSession(ulong Size, bool ReadOnly, bool Structured, bool Allocation)
{
    /// <summary>The id under which base:allocation was selected.</summary>
    public const uint AllocationContextId = 1;

    /// <summary>The flags that announce all this.</summary>
    public TransmissionFlags Flags
    {
        get
        {
            var flags = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush | TransmissionFlags.SendFua
                | TransmissionFlags.CanMultiConnect | TransmissionFlags.SendCache;
            flags |= ReadOnly
                ? TransmissionFlags.ReadOnly
                : TransmissionFlags.SendTrim | TransmissionFlags.SendWriteZeroes | TransmissionFlags.SendFastZero;
            return Structured ? flags | TransmissionFlags.SendDontFragment : flags;
        }
    }
}

/// <summary>What is wrong with a request, before anything is done for it.</summary>
internal enum RequestFault
{
    None = 0,
    UnknownCommand,
    UnknownFlags,
    NoContext,
    ReadOnly,
    ReservedFields,
    Empty,
    Misaligned,
    ReadTooLong,
    WriteTooLong,
    ReadBeyondEnd,
    WriteBeyondEnd,
    Stopping,
}

/// <summary>
/// Judges a request by its header and the session alone. The first rule that is broken answers; a request that passes
/// can be handed to the disk as it is.
/// </summary>
internal static class RequestRules
{
    public static RequestFault Check(in NbdRequest request, in NbdSession session)
    {
        if (!TryGetAllowedFlags(request.Command, session, out var allowed))
        {
            return RequestFault.UnknownCommand;
        }

        if ((request.Flags & ~allowed) != 0)
        {
            return RequestFault.UnknownFlags;
        }

        if (request.Command == NbdCommand.Flush)
        {
            return request is { Offset: 0, Length: 0 } ? RequestFault.None : RequestFault.ReservedFields;
        }

        if (request.Command == NbdCommand.BlockStatus && !session.Allocation)
        {
            return RequestFault.NoContext;
        }

        var writes = request.Command is NbdCommand.Write or NbdCommand.Trim or NbdCommand.WriteZeroes;
        return writes && session.ReadOnly ? RequestFault.ReadOnly : CheckRange(request, session);
    }

    // FUA is valid on every command once it was announced, as the protocol says, and means nothing where nothing is
    // written.
    private static bool TryGetAllowedFlags(NbdCommand command, in NbdSession session, out CommandFlags allowed)
    {
        (var known, allowed) = command switch
        {
            NbdCommand.Read when session.Structured => (true, CommandFlags.Fua | CommandFlags.DontFragment),
            NbdCommand.Read or NbdCommand.Write or NbdCommand.Flush or NbdCommand.Trim or NbdCommand.Cache =>
                (true, CommandFlags.Fua),
            NbdCommand.WriteZeroes => (true, CommandFlags.Fua | CommandFlags.NoHole | CommandFlags.FastZero),
            NbdCommand.BlockStatus => (true, CommandFlags.Fua | CommandFlags.ReqOne),
            _ => (false, CommandFlags.None),
        };
        return known;
    }

    private static RequestFault CheckRange(in NbdRequest request, in NbdSession session)
    {
        if (request.Length == 0)
        {
            return RequestFault.Empty;
        }

        if (request.Offset % NbdLimits.MinBlock != 0 || request.Length % NbdLimits.MinBlock != 0)
        {
            return RequestFault.Misaligned;
        }

        if (request.Length > NbdLimits.MaxPayload && request.Command is NbdCommand.Read or NbdCommand.Write)
        {
            return request.Command == NbdCommand.Read ? RequestFault.ReadTooLong : RequestFault.WriteTooLong;
        }

        // Subtracted rather than added: offset and length together may exceed 64 bits.
        if (request.Length <= session.Size && request.Offset <= session.Size - request.Length)
        {
            return RequestFault.None;
        }

        return request.Command is NbdCommand.Write or NbdCommand.WriteZeroes
            ? RequestFault.WriteBeyondEnd
            : RequestFault.ReadBeyondEnd;
    }
}
