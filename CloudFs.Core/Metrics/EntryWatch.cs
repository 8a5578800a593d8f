namespace CloudFs.Core.Metrics;

/// <summary>
/// Measures one entry in <see cref="StageLatencies.Every"/> on its way into the log. What it measures lies apart: pages are
/// hashed before the locks are taken, the header is sealed under them. It is counted behind them. Off, a call is a comparison.
/// </summary>
internal sealed class EntryWatch
{
    private StageLatencies? _stages;
    private long _since;
    private long _seal;
    private long _index;

    /// <summary>An entry begins: the watch goes, or stays off.</summary>
    public void Begin(StageLatencies? stages)
    {
        _since = stages?.BeginEntry() ?? 0;
        _stages = _since == 0 ? null : stages;
        _seal = _index = 0;
    }

    /// <summary>What is measured stops for a while: all since the last call was sealing.</summary>
    public void Pause()
    {
        if (_stages is { } stages)
        {
            _seal += stages.Now - _since;
        }
    }

    /// <summary>It goes on.</summary>
    public void Resume()
    {
        if (_stages is { } stages)
        {
            _since = stages.Now;
        }
    }

    /// <summary>The entry is sealed and whole: what follows is the index.</summary>
    public void Sealed()
    {
        if (_stages is { } stages)
        {
            var now = stages.Now;
            _seal += now - _since;
            _since = now;
        }
    }

    /// <summary>The index has it.</summary>
    public void Applied()
    {
        if (_stages is { } stages)
        {
            _index = stages.Now - _since;
        }
    }

    /// <summary>Counts what was measured, if it came to an entry, and is off.</summary>
    public void End(bool isAppended)
    {
        if (_stages is { } stages && isAppended)
        {
            stages.Seal.Add(_seal);
            stages.Index.Add(_index);
        }

        _stages = null;
    }
}
