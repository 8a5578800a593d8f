namespace CloudFs.Core.Scrub;

/// <summary>What one pass has done and found so far. Any thread.</summary>
internal sealed class ScrubTally(ulong pass, ulong startedMicros, Action<ScrubFinding> tell)
{
    /// <summary>More than this are counted, not listed.</summary>
    private const int ListedMax = 1000;

    private readonly Lock _lock = new();
    private readonly List<ScrubFinding> _findings = [];
    private ulong _count;
    private ulong _done;
    private ulong _total;
    private ScrubFinding? _unknown;
    private ulong _unknowns;

    /// <summary>Passes count from 1.</summary>
    public ulong Pass { get; } = pass;

    public ulong StartedMicros { get; } = startedMicros;

    public ulong Count
    {
        get
        {
            lock (_lock)
            {
                return _count;
            }
        }
    }

    public (ulong Done, ulong Total) Bytes
    {
        get
        {
            lock (_lock)
            {
                return (_done, _total);
            }
        }
    }

    /// <summary>Findings of which nobody knows whether they cost anything: how many, and the first.</summary>
    public (ulong Count, ScrubFinding? First) Unknown
    {
        get
        {
            lock (_lock)
            {
                return (_unknowns, _unknown);
            }
        }
    }

    /// <summary>The findings that are listed, as of now.</summary>
    public IReadOnlyList<ScrubFinding> List()
    {
        lock (_lock)
        {
            return [.. _findings];
        }
    }

    public void Begin(ulong total)
    {
        lock (_lock)
        {
            _total = total;
        }
    }

    public void Reach(ulong done)
    {
        lock (_lock)
        {
            _done = done;
        }
    }

    public void Add(ScrubFinding finding)
    {
        lock (_lock)
        {
            _count++;
            if (_findings.Count < ListedMax)
            {
                _findings.Add(finding);
            }

            if (finding.Verdict == ScrubVerdict.Unknown)
            {
                _unknowns++;
                _unknown ??= finding;
            }
        }

        tell(finding);
    }
}
