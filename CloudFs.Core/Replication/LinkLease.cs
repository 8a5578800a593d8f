namespace CloudFs.Core.Replication;

/// <summary>
/// Heartbeats over one link, at the primary's end (PROTOCOL.md, 18 and 19): a lease runs from the moment in which the heartbeat was
/// sent that was answered. Any thread.
/// </summary>
internal sealed class LinkLease
{
    private const int Kept = 64;

    private readonly Lock _lock = new();
    private readonly long[] _sentAt = new long[Kept];
    private ulong _sent;
    private ulong _answered;
    private long _answeredSentAt;

    /// <summary>The newest heartbeat that was sent; 0 for none.</summary>
    public ulong Sent
    {
        get
        {
            lock (_lock)
            {
                return _sent;
            }
        }
    }

    /// <summary>When the newest one was sent.</summary>
    public long LastSentAt
    {
        get
        {
            lock (_lock)
            {
                return _sent == 0 ? long.MinValue : _sentAt[_sent % Kept];
            }
        }
    }

    /// <summary>Another one is sent now; gives its number.</summary>
    public ulong Send(long now)
    {
        lock (_lock)
        {
            _sent++;
            _sentAt[_sent % Kept] = now;
            return _sent;
        }
    }

    /// <summary>One was answered. An answer to none that is remembered counts for nothing.</summary>
    public void Answer(ulong number)
    {
        lock (_lock)
        {
            if (number > _answered && number <= _sent && number + Kept > _sent)
            {
                _answered = number;
                _answeredSentAt = _sentAt[number % Kept];
            }
        }
    }

    /// <summary>When the newest heartbeat was sent that was answered, if it was sent after that one; else null.</summary>
    public long? AnsweredAfter(ulong number)
    {
        lock (_lock)
        {
            return _answered > number ? _answeredSentAt : null;
        }
    }
}
