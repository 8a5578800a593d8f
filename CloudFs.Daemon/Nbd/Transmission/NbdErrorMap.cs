using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>An error as a client is told it: the number, and a line that goes with it in a structured reply.</summary>
internal readonly ref struct NbdFailure(NbdError error, ReadOnlySpan<byte> text)
{
    public NbdError Error { get; } = error;

    public ReadOnlySpan<byte> Text { get; } = text;
}

/// <summary>
/// The one table from faults and statuses to the errors of the protocol; docs/protocol/nbd.md shows it.
/// </summary>
internal static class NbdErrorMap
{
    /// <summary>Stands for an exception where a status was due: a defect, logged where it was caught.</summary>
    public const IoStatus Unexpected = (IoStatus)int.MaxValue;

    /// <summary>The longest text in the table; replies reserve room for it.</summary>
    public const int MaxText = 96;

    /// <summary>What is told for a request that was refused before anything was done.</summary>
    public static NbdFailure Of(RequestFault fault, bool structured) => fault switch
    {
        RequestFault.UnknownCommand => new(NbdError.Invalid, "unknown command"u8),
        RequestFault.UnknownFlags => new(NbdError.Invalid, "a flag that this command does not take here"u8),
        RequestFault.NoContext => new(NbdError.Invalid, "no metadata context was selected for this export"u8),
        RequestFault.ReadOnly => new(NbdError.NotPermitted, "the export is read-only"u8),
        RequestFault.ReservedFields => new(NbdError.Invalid, "offset and length of a flush must be zero"u8),
        RequestFault.Empty => new(NbdError.Invalid, "the length is zero"u8),
        RequestFault.Misaligned => new(NbdError.Invalid, "offset and length must be multiples of 512"u8),

        // EOVERFLOW is only for clients that know of DF, which came with structured replies.
        RequestFault.ReadTooLong when structured => new(NbdError.Overflow, "a read may be 32 MiB long"u8),
        RequestFault.ReadTooLong => new(NbdError.Invalid, "a read may be 32 MiB long"u8),
        RequestFault.WriteTooLong => new(NbdError.Invalid, "a write may be 32 MiB long"u8),
        RequestFault.ReadBeyondEnd => new(NbdError.Invalid, "the range ends beyond the export"u8),
        RequestFault.WriteBeyondEnd => new(NbdError.NoSpace, "the range ends beyond the export"u8),
        RequestFault.Stopping => new(NbdError.Shutdown, "the server is shutting down"u8),
        _ => throw new ArgumentOutOfRangeException(nameof(fault), fault, "not a fault"),
    };

    /// <summary>What is told for a request that the disk did not carry out.</summary>
    public static NbdFailure Of(IoStatus status, NbdCommand command) => status switch
    {
        IoStatus.Misaligned => new(NbdError.Invalid, "offset and length must be multiples of 512"u8),
        IoStatus.OutOfRange when command is NbdCommand.Write or NbdCommand.WriteZeroes =>
            new(NbdError.NoSpace, "the range ends beyond the disk"u8),
        IoStatus.OutOfRange => new(NbdError.Invalid, "the range ends beyond the disk"u8),
        IoStatus.NoSpace => new(NbdError.NoSpace, "the device is full"u8),
        IoStatus.ReadOnly => new(NbdError.NotPermitted, "the disk can't be written on this host"u8),
        IoStatus.Damaged => new(NbdError.Io, "the range is damaged on the device until it is overwritten"u8),
        IoStatus.Poisoned => new(NbdError.Io, "the device failed; nothing is written until it is opened again"u8),
        IoStatus.Stopped => new(NbdError.Shutdown, "the server is shutting down"u8),
        IoStatus.Deleted => new(NbdError.Shutdown, "the disk was deleted"u8),
        IoStatus.Unreachable => new(NbdError.Io, "too few replicas are within reach"u8),
        IoStatus.Fenced => new(NbdError.Shutdown, "this host has promised another primary"u8),
        IoStatus.VersionMismatch => new(NbdError.Io, "the disk has another version"u8),
        IoStatus.Ok => throw new ArgumentOutOfRangeException(nameof(status), status, "not a failure"),
        _ => new(NbdError.Io, "internal error; the server's log has more"u8),
    };
}
