namespace CloudFs.Core.Chain;

/// <summary>What was expected where an entry does not extend a chain.</summary>
public static class ChainErrorText
{
    /// <summary>One clause without a full stop, to stand after "LSN 7: ".</summary>
    public static string Text(this ChainError error) => error switch
    {
        ChainError.None => "the entry extends the chain",
        ChainError.FirstKind => "a disk begins with a view or a branch",
        ChainError.FirstLsn => "a disk begins with LSN 1",
        ChainError.FirstPrevious => "a new disk's first entry has no version before it",
        ChainError.FirstParent => "a first entry has no parent",
        ChainError.FirstDisk => "a first entry's disk is its own id",
        ChainError.FirstRevokesOrForced => "a first entry neither reveals a secret nor is forced",
        ChainError.BranchPrevious => "a branch's previous is the version that its origin names",
        ChainError.BranchTime => "a branch's time is not less than its origin's",
        ChainError.AfterDeleted => "nothing follows the entry that deleted the disk",
        ChainError.OtherDisk => "the entry is of the same disk as the one before",
        ChainError.BranchLate => "a branch is a disk's first entry or none",
        ChainError.Gap => "the LSN is one more than that of the entry before",
        ChainError.Fork => "previous is the id of the entry before: this one springs from another version",
        ChainError.TimeBack => "time does not go back",
        ChainError.ViewRevokedAndForced => "a view either reveals the secret before it or is forced, never both",
        ChainError.ViewNeitherRevokedNorForced => "a view after the first reveals the secret before it, or is forced",
        ChainError.ForcedWithParent => "a forced view has no parent",
        ChainError.Token => "parent is the token of the entry before: it hashes to that entry's lock",
        ChainError.RevokedOther => "revoked is the secret of the view in force: it hashes to that view",
        ChainError.BallotNotAbove => "a view's ballot is above the one in force",
        ChainError.ViewInForce => "a view has a secret of its own, not that of the view in force",
        ChainError.NotByTheView => "every entry of a view was locked with the secret that the next view reveals",
        _ => "unknown error",
    };
}
