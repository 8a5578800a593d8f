using System.Threading.Tasks.Sources;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>What a request waits for.</summary>
internal enum AckLevel
{
    /// <summary>A majority has received it (PROTOCOL.md, 14).</summary>
    Received,

    /// <summary>A majority has it durable.</summary>
    Committed,

    /// <summary>It is durable here, and clients may be answered: durability "async".</summary>
    Leased,

    /// <summary>Clients may be answered at all.</summary>
    Serving,

    /// <summary>The view with that LSN is committed.</summary>
    View,
}

/// <summary>
/// One request that waits for other hosts; reused. Whoever brings what it waits for goes on with it on its own thread: waking another
/// one costs as
/// much as the network does.
/// </summary>
internal sealed class AckWaiter : IValueTaskSource<IoStatus>
{
    private readonly Group _group;
    private ManualResetValueTaskSourceCore<IoStatus> _core;

    public AckWaiter(Group group) => _group = group;

    public ulong Lsn { get; private set; }

    public AckLevel Level { get; private set; }

    /// <summary>When it fails, by the group's clock; long.MaxValue for never.</summary>
    public long Deadline { get; private set; }

    public ValueTask<IoStatus> Start(ulong lsn, AckLevel level, long deadline)
    {
        (Lsn, Level, Deadline) = (lsn, level, deadline);
        return new ValueTask<IoStatus>(this, _core.Version);
    }

    public void End(IoStatus status) => _core.SetResult(status);

    public IoStatus GetResult(short token)
    {
        var result = _core.GetResult(token);
        _core.Reset();
        _group.Return(this);
        return result;
    }

    public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

    public void OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
