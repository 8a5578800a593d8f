namespace CloudFs.Core.Log;

/// <summary>What the log has written, since it was opened. Written by the loop, read by anybody.</summary>
public sealed class LogCounters
{
    private long _commits;
    private long _bytes;
    private long _flushes;

    public ulong Commits => (ulong)Volatile.Read(ref _commits);

    public ulong Bytes => (ulong)Volatile.Read(ref _bytes);

    public ulong Flushes => (ulong)Volatile.Read(ref _flushes);

    internal void AddCommit(int bytes)
    {
        Volatile.Write(ref _commits, _commits + 1);
        Volatile.Write(ref _bytes, _bytes + bytes);
    }

    internal void AddFooter(int bytes) => Volatile.Write(ref _bytes, _bytes + bytes);

    internal void AddFlush() => Volatile.Write(ref _flushes, _flushes + 1);
}
