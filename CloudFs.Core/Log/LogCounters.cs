namespace CloudFs.Core.Log;

/// <summary>What the log has written, since it was opened. Written by the loop, read by anybody.</summary>
public sealed class LogCounters
{
    private long _commits;
    private long _bytes;
    private long _footers;
    private long _flushes;
    private long _ahead;

    public ulong Commits => (ulong)Volatile.Read(ref _commits);

    public ulong Bytes => (ulong)Volatile.Read(ref _bytes);

    /// <summary>Of the bytes, those of commits.</summary>
    public ulong NewBytes
    {
        get
        {
            var footers = FooterBytes;
            return Bytes - footers;
        }
    }

    /// <summary>Of the bytes, those of footers.</summary>
    public ulong FooterBytes => (ulong)Volatile.Read(ref _footers);

    /// <summary>Bytes of zeroes written ahead of the log, once for each place of a file; not among the others.</summary>
    public ulong AheadBytes => (ulong)Volatile.Read(ref _ahead);

    public ulong Flushes => (ulong)Volatile.Read(ref _flushes);

    internal void AddCommit(int bytes)
    {
        Volatile.Write(ref _commits, _commits + 1);
        Volatile.Write(ref _bytes, _bytes + bytes);
    }

    internal void AddFooter(int bytes)
    {
        // First the whole, then the part of it: nobody may see a part that is larger.
        Volatile.Write(ref _bytes, _bytes + bytes);
        Volatile.Write(ref _footers, _footers + bytes);
    }

    internal void AddAhead(int bytes) => Volatile.Write(ref _ahead, _ahead + bytes);

    internal void AddFlush() => Volatile.Write(ref _flushes, _flushes + 1);
}
