using CloudFs.Core.Format;

namespace CloudFs.Core.Chain;

/// <summary>
/// Whether an entry extends a chain: every rule of acceptance beyond the entry itself (FORMAT.md, "The chain"). Pure;
/// the header must have been read, and the body's pages verified and its JSON parsed, before.
/// </summary>
/// <remarks>
/// Not decided here: whether a forced view is admitted (<see cref="IsForced"/>), what the fence and the connection
/// allow, and whether earlier entries of a view were locked with its secret (<see cref="ChainVerifier"/>,
/// <see cref="ViewProof"/>).
/// </remarks>
public static class ChainRules
{
    /// <summary>The first rule that the entry breaks, or None.</summary>
    /// <param name="head">The head before it; default if this is to be a disk's first entry.</param>
    /// <param name="entry">The entry.</param>
    /// <param name="body">Its parsed body; null for an update.</param>
    /// <param name="originTimeMicros">For a branch, the time of its origin's version where the caller has it.</param>
    /// <exception cref="ArgumentException">The body is not of the entry's kind.</exception>
    public static ChainError Check(
        in ChainHead head, in EntryHeader entry, EntryBodyParsed? body, ulong originTimeMicros = 0)
    {
        var isView = entry.Kind is EntryKind.View or EntryKind.Branch;
        if (entry.HasJsonBody != (body is not null) || isView != (body?.View is not null))
        {
            throw new ArgumentException($"the body is not that of an entry of kind {entry.Kind}", nameof(body));
        }

        return head.IsNone ? CheckFirst(entry, body?.View, originTimeMicros) : CheckNext(head, entry, body?.View);
    }

    /// <summary>True if the entry is a forced view, which proves nothing by itself: report it, and take it from
    /// others only where an operator admitted its id.</summary>
    public static bool IsForced(EntryBodyParsed? body) => body?.View is { Forced: true };

    private static ChainError CheckFirst(in EntryHeader entry, ViewBody? view, ulong originTimeMicros)
    {
        if (view is null)
        {
            return ChainError.FirstKind;
        }

        if (entry.Lsn != 1)
        {
            return ChainError.FirstLsn;
        }

        if (entry.Kind == EntryKind.View && !entry.Previous.IsZero)
        {
            return ChainError.FirstPrevious;
        }

        if (!entry.Parent.IsZero)
        {
            return ChainError.FirstParent;
        }

        if (entry.Disk != entry.Id)
        {
            return ChainError.FirstDisk;
        }

        if (view.Forced || view.Revoked is not null)
        {
            return ChainError.FirstRevokesOrForced;
        }

        return entry.Kind == EntryKind.Branch ? CheckBranch(entry, view, originTimeMicros) : ChainError.None;
    }

    private static ChainError CheckBranch(in EntryHeader entry, ViewBody view, ulong originTimeMicros)
    {
        if (entry.Previous != view.Origin?.Version || entry.Previous.IsZero)
        {
            return ChainError.BranchPrevious;
        }

        return entry.TimeMicros < originTimeMicros ? ChainError.BranchTime : ChainError.None;
    }

    private static ChainError CheckNext(in ChainHead head, in EntryHeader entry, ViewBody? view)
    {
        if (head.Deleted)
        {
            return ChainError.AfterDeleted;
        }

        if (entry.Disk != head.Disk)
        {
            return ChainError.OtherDisk;
        }

        if (entry.Kind == EntryKind.Branch)
        {
            return ChainError.BranchLate;
        }

        // The head's LSN can't be the largest there is and be followed: 0 is refused when the header is read.
        if (entry.Lsn != unchecked(head.Lsn + 1))
        {
            return ChainError.Gap;
        }

        if (entry.Previous != head.Id)
        {
            return ChainError.Fork;
        }

        if (entry.TimeMicros < head.TimeMicros)
        {
            return ChainError.TimeBack;
        }

        return view is null ? CheckToken(head, entry) : CheckView(head, entry, view);
    }

    private static ChainError CheckView(in ChainHead head, in EntryHeader entry, ViewBody view)
    {
        if (view.Forced && view.Revoked is not null)
        {
            return ChainError.ViewRevokedAndForced;
        }

        if (!view.Forced && view.Revoked is null)
        {
            return ChainError.ViewNeitherRevokedNorForced;
        }

        var error = CheckRight(head, entry, view);
        if (error != ChainError.None)
        {
            return error;
        }

        if (view.Ballot <= head.Ballot)
        {
            return ChainError.BallotNotAbove;
        }

        return view.View == head.View?.Hash ? ChainError.ViewInForce : ChainError.None;
    }

    // The right to extend comes from the token, and the right to open a view from the secret before it; force has
    // neither.
    private static ChainError CheckRight(in ChainHead head, in EntryHeader entry, ViewBody view)
    {
        if (view.Revoked is not { } revoked)
        {
            return entry.Parent.IsZero ? ChainError.None : ChainError.ForcedWithParent;
        }

        var error = CheckToken(head, entry);
        if (error != ChainError.None)
        {
            return error;
        }

        return EntryHashes.ViewOf(revoked) == head.View?.Hash ? ChainError.None : ChainError.RevokedOther;
    }

    private static ChainError CheckToken(in ChainHead head, in EntryHeader entry) =>
        EntryHashes.Lock(entry.Parent) == head.Lock ? ChainError.None : ChainError.Token;
}
