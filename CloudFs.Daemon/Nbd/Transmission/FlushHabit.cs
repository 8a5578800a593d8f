namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Knows a client that flushes after every so many writes, always the same number: when it has written that many, its flush comes
/// next, and what that has to write can be written while the client still reads its answers. One thread.
/// </summary>
internal sealed class FlushHabit
{
    /// <summary>So often in a row makes a habit.</summary>
    private const int Times = 4;

    private int _writes;
    private int _usual;
    private int _times;

    /// <summary>True when the client is expected to flush next.</summary>
    public bool IsFlushNext => _times >= Times && _writes == _usual;

    /// <summary>A request that changes the disk.</summary>
    public void NoteWrite() => _writes++;

    /// <summary>A flush.</summary>
    public void NoteFlush()
    {
        _times = _writes > 0 && _writes == _usual ? Math.Min(_times + 1, Times) : 0;
        (_usual, _writes) = (_writes, 0);
    }
}
