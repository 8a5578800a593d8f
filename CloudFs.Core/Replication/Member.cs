using CloudFs.Core.Disks;
using CloudFs.Core.Format;

namespace CloudFs.Core.Replication;

/// <summary>A replica as its primary knows it. Guarded by its group's lock.</summary>
internal sealed class Member(Replica replica, bool isJoining)
{
    public Replica Replica { get; set; } = replica;

    /// <summary>Not named in the view yet.</summary>
    public bool IsJoining { get; set; } = isJoining;

    /// <summary>What it is sent; null while it is not connected.</summary>
    public Feed? Feed { get; set; }

    /// <summary>The newest LSN that it has received, and that is durable there.</summary>
    public ulong Received { get; set; }

    public ulong Durable { get; set; }

    /// <summary>When it was last connected, or the group began.</summary>
    public long LastHeard { get; set; }

    /// <summary>When it was last in step.</summary>
    public long LastLive { get; set; }

    /// <summary>When it last acknowledged anything that it lacked.</summary>
    public long LastProgress { get; set; }

    /// <summary>Why it is not there.</summary>
    public string? Reason { get; set; }

    /// <summary>True while it is connected and was told what it lacks.</summary>
    public bool IsAttached => Feed is { IsDetached: false };
}

/// <summary>What one replica of one disk is sent over one link.</summary>
internal sealed class Feed(Group group, Member member, PeerLink link, ulong next, bool isWitness) : LinkSource
{
    private readonly Queue<(ulong Lsn, long Sent)> _unacknowledged = new();
    private long _acknowledged;

    public Member Member { get; } = member;

    public PeerLink Link { get; } = link;

    public bool IsWitness { get; } = isWitness;

    /// <summary>True once it is sent nothing more.</summary>
    public bool IsDetached { get; private set; }

    /// <summary>The next LSN to send.</summary>
    public ulong Next { get; set; } = next;

    /// <summary>Where it began.</summary>
    public ulong First { get; } = next;

    /// <summary>The version that the other end had then.</summary>
    public DiskVersion From { get; init; }

    /// <summary>True when the other end is inside a copy of what is left of a long history, and goes on with that.</summary>
    public bool IsCopying { get; init; }

    /// <summary>Bytes that were sent of this disk.</summary>
    public long SentBytes { get; private set; }

    /// <summary>Bytes that the other end has not received, as far as is known.</summary>
    public long UnacknowledgedBytes => SentBytes - _acknowledged;

    /// <summary>What is being read from the log for it; null while it is in step.</summary>
    public LogPump? Pump { get; set; }

    /// <summary>What was sent last of each.</summary>
    public ulong SyncSent { get; set; }

    public ulong CommittedSent { get; set; }

    /// <summary>The heartbeat after which answers over this link cover the disk.</summary>
    public ulong AttachedAt { get; init; }

    /// <summary>When it began, by the hub's clock.</summary>
    public long Began { get; init; }

    /// <summary>The last LSN that it is sent: of the view that does not name it any more.</summary>
    public ulong Last { get; private set; } = ulong.MaxValue;

    public override bool Fill(FrameWriter into) => group.Fill(this, into);

    /// <summary>It is sent nothing more, and nobody reads the log for it any longer. Under the group's lock.</summary>
    public void Detach()
    {
        IsDetached = true;
        Pump?.Wake();
    }

    public void EndAfter(ulong lsn) => Last = Math.Min(Last, lsn);

    public void NoteSent(ulong lastLsn, long bytes)
    {
        SentBytes += bytes;
        _unacknowledged.Enqueue((lastLsn, SentBytes));
    }

    public void NoteReceived(ulong lsn)
    {
        while (_unacknowledged.TryPeek(out var first) && first.Lsn <= lsn)
        {
            _acknowledged = first.Sent;
            _unacknowledged.Dequeue();
        }
    }
}
