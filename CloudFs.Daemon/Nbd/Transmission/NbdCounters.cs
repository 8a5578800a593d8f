using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Counts what one connection did. One object for each, so that connections on several cores don't pass one cache line
/// about; a snapshot adds them up.
/// </summary>
internal sealed class NbdCounters
{
    /// <summary>Kinds of request: the known commands, and the rest as one.</summary>
    public const int Kinds = (int)NbdCommand.BlockStatus + 2;

    private readonly long[] _requests = new long[Kinds];
    private long _bytesRead;
    private long _bytesWritten;
    private long _errors;

    public long BytesRead => Interlocked.Read(ref _bytesRead);

    public long BytesWritten => Interlocked.Read(ref _bytesWritten);

    public long Errors => Interlocked.Read(ref _errors);

    /// <summary>Requests of all kinds.</summary>
    public long TotalRequests
    {
        get
        {
            long total = 0;
            for (var i = 0; i < Kinds; i++)
            {
                total += Requests(i);
            }

            return total;
        }
    }

    /// <summary>The kind of a command.</summary>
    public static int KindOf(NbdCommand command) => Math.Min((int)command, Kinds - 1);

    /// <summary>Counts a request; the connection's own thread alone.</summary>
    public void AddRequest(NbdCommand command)
    {
        ref var count = ref _requests[KindOf(command)];
        Volatile.Write(ref count, count + 1);
    }

    public void AddRead(uint bytes) => Interlocked.Add(ref _bytesRead, bytes);

    public void AddWritten(uint bytes) => Interlocked.Add(ref _bytesWritten, bytes);

    public void AddError() => Interlocked.Increment(ref _errors);

    /// <summary>How many requests of a kind there were; kinds beyond the last known one are counted as one.</summary>
    public long Requests(int kind) => Volatile.Read(ref _requests[kind]);

    /// <summary>Adds another's counts to these.</summary>
    public void Add(NbdCounters other)
    {
        for (var i = 0; i < Kinds; i++)
        {
            Interlocked.Add(ref _requests[i], other.Requests(i));
        }

        Interlocked.Add(ref _bytesRead, other.BytesRead);
        Interlocked.Add(ref _bytesWritten, other.BytesWritten);
        Interlocked.Add(ref _errors, other.Errors);
    }
}
