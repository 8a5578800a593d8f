namespace CloudFs.Core.Index;

/// <summary>A disk's entries within one use of a segment.</summary>
public readonly record struct LsnRun(ulong Use, ulong FirstLsn, ulong LastLsn, long Bytes);

/// <summary>
/// In which segments a disk's entries lie: a run of LSNs for each use, in ascending order. Guarded by the disk's lock.
/// </summary>
public sealed class LsnIndex
{
    private readonly List<LsnRun> _runs = [];

    /// <summary>The runs, ascending in use and LSN.</summary>
    public IReadOnlyList<LsnRun> Runs => _runs;

    /// <summary>The oldest LSN from which on everything is in the log.</summary>
    public ulong OldestLsn { get; private set; } = 1;

    /// <summary>Bytes of entries within the history.</summary>
    public long HistoryBytes { get; private set; }

    /// <summary>Notes an entry that was appended; LSNs and uses only grow.</summary>
    public void Note(ulong use, ulong lsn, int bytes)
    {
        HistoryBytes += bytes;
        if (_runs.Count > 0 && _runs[^1].Use == use)
        {
            var run = _runs[^1];
            _runs[^1] = run with { LastLsn = lsn, Bytes = run.Bytes + bytes };
            return;
        }

        _runs.Add(new LsnRun(use, lsn, lsn, bytes));
    }

    /// <summary>Takes back what a checkpoint kept.</summary>
    public void Restore(ulong oldestLsn, IEnumerable<LsnRun> runs)
    {
        OldestLsn = oldestLsn;
        _runs.AddRange(runs);
        HistoryBytes = _runs.Sum(run => run.Bytes);
    }

    /// <summary>A segment was reclaimed: the history now begins behind what it held of this disk.</summary>
    public void Drop(ulong use)
    {
        var index = _runs.FindIndex(run => run.Use == use);
        if (index < 0)
        {
            return;
        }

        // What lies before the gap can't be streamed either, but may still be read: it stays where it is.
        OldestLsn = Math.Max(OldestLsn, _runs[index].LastLsn + 1);
        HistoryBytes -= _runs[index].Bytes;
        _runs.RemoveAt(index);
    }

    /// <summary>What came before an LSN is not in the log any more.</summary>
    public void ForgetBefore(ulong lsn) => OldestLsn = Math.Max(OldestLsn, lsn);

    /// <summary>The use that holds an LSN, or the next one after it that is held; null beyond the last.</summary>
    public ulong? UseOf(ulong lsn)
    {
        foreach (var run in _runs)
        {
            if (run.LastLsn >= lsn)
            {
                return run.Use;
            }
        }

        return null;
    }
}
