using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Chain;

/// <summary>What <see cref="ChainVerifier"/> says of one entry.</summary>
public readonly record struct EntryVerdict
{
    /// <summary>The entry's disk; zero where the header can't be trusted.</summary>
    public Id160 Disk { get; init; }

    /// <summary>The entry's LSN; where the header can't be trusted, what stands in its place, or 0.</summary>
    public ulong Lsn { get; init; }

    /// <summary>The entry's id; zero where the header can't be trusted.</summary>
    public Id160 Id { get; init; }

    /// <summary>What is wrong with the entry itself.</summary>
    public FormatFault Fault { get; init; }

    /// <summary>What is wrong with it as the next of its disk.</summary>
    public ChainError ChainError { get; init; }

    /// <summary>Where the chain error is <see cref="ChainError.NotByTheView"/>: the LSN that another secret
    /// locked.</summary>
    public ulong ForeignLsn { get; init; }

    /// <summary>In a view that reveals: entries of the view before that were not checked against its secret, because
    /// they were not seen or were more than are kept.</summary>
    public ulong Unproved { get; init; }

    /// <summary>True for a forced view, accepted in form only.</summary>
    public bool Forced { get; init; }

    /// <summary>True if the entry extends its disk's chain.</summary>
    public bool Accepted => Fault.Error == FormatError.None && ChainError == ChainError.None;

    /// <summary>The verdict as one line.</summary>
    public override string ToString()
    {
        if (Accepted)
        {
            return Forced
                ? $"LSN {Lsn}: accepted in form, but a forced view: an operator must admit {Id}"
                : $"LSN {Lsn}: accepted";
        }

        var reason = Fault.Error != FormatError.None ? Fault.ToString() : ChainError.Text();
        return ForeignLsn == 0 ? $"LSN {Lsn}: {reason}" : $"LSN {Lsn}: {reason}; LSN {ForeignLsn} was not";
    }
}
