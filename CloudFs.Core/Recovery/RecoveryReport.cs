namespace CloudFs.Core.Recovery;

/// <summary>One decision of a recovery.</summary>
/// <param name="Code">A short fixed word: "checkpoint", "torn-tail", "hole", "replayed"…</param>
/// <param name="Message">What was found and what was done.</param>
/// <param name="IsDamage">True when something was lost or damaged; false for what a crash leaves behind.</param>
public sealed record RecoveryDecision(string Code, string Message, bool IsDamage);

/// <summary>What recovery did, decision by decision. Tests assert on it, the daemon logs it, /healthz shows the damage.</summary>
public sealed class RecoveryReport
{
    private readonly List<RecoveryDecision> _decisions = [];

    /// <summary>In the order in which they were made.</summary>
    public IReadOnlyList<RecoveryDecision> Decisions => _decisions;

    /// <summary>Entries applied from the log, behind the checkpoint.</summary>
    public long EntriesRolledForward { get; set; }

    /// <summary>Entries that a process which died had acknowledged but not yet written, and that were appended again.</summary>
    public long EntriesReplayed { get; set; }

    /// <summary>Segments read behind the checkpoint.</summary>
    public int SegmentsRead { get; set; }

    /// <summary>Notes a decision.</summary>
    public void Add(string code, string message) => _decisions.Add(new RecoveryDecision(code, message, false));

    /// <summary>Notes damage.</summary>
    public void AddDamage(string code, string message) => _decisions.Add(new RecoveryDecision(code, message, true));
}
