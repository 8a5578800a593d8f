namespace CloudFs.Core.Chain;

/// <summary>
/// Why a well-made entry does not extend a chain, in the order in which it is checked; <see cref="ChainErrorText"/>
/// says what was expected.
/// </summary>
public enum ChainError
{
    None = 0,

    // A disk's first entry.
    FirstKind,
    FirstLsn,
    FirstPrevious,
    FirstParent,
    FirstDisk,
    FirstRevokesOrForced,
    BranchPrevious,
    BranchTime,

    // Every other.
    AfterDeleted,
    OtherDisk,
    BranchLate,
    Gap,
    Fork,
    TimeBack,
    ViewRevokedAndForced,
    ViewNeitherRevokedNorForced,
    ForcedWithParent,
    Token,
    RevokedOther,
    BallotNotAbove,
    ViewInForce,

    /// <summary>Found by <see cref="ChainVerifier"/> only, which has the view's entries at hand.</summary>
    NotByTheView,
}
