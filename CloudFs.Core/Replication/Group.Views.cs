using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>The primary's side of views: stopping, going on, handing over.</content>
internal sealed partial class Group
{
    private int _isChanging;
    private int _isCandidate;
    private Ballot _higher;
    private long _lagSince;

    /// <inheritdoc/>
    public bool MayAppend => Role == GroupRole.Primary && Volatile.Read(ref _isOpen) && !Volatile.Read(ref _isMoving);

    /// <summary>The highest ballot that any replica named.</summary>
    public Ballot Higher
    {
        get
        {
            lock (_lock)
            {
                return _higher;
            }
        }
    }

    /// <summary>The ballot that this process promised itself last, to run for.</summary>
    public Ballot OwnBallot { get; set; }

    /// <summary>A replica refused a promise for this ballot.</summary>
    public void NoteRefusal(Ballot ballot)
    {
        lock (_lock)
        {
            _higher = ballot > _higher ? ballot : _higher;
        }
    }

    /// <summary>Waits until the newest view is committed.</summary>
    public ValueTask<IoStatus> ViewCommittedAsync()
    {
        ulong lsn;
        lock (_lock)
        {
            lsn = _views[^1].Lsn;
        }

        return WaitAsync(lsn, AckLevel.View, Timeout.InfiniteTimeSpan);
    }

    /// <summary>What was durable here before this group was.</summary>
    public void NoteDurable(ulong lsn)
    {
        lock (_lock)
        {
            _durable = Math.Max(_durable, lsn);
        }
    }

    /// <summary>One change of the view at a time: true for who may make it.</summary>
    public bool TryBeginChange() => Interlocked.CompareExchange(ref _isChanging, 1, 0) == 0;

    public void EndChange() => Volatile.Write(ref _isChanging, 0);

    public bool TryBecomeCandidate() => Interlocked.CompareExchange(ref _isCandidate, 1, 0) == 0;

    public void EndCandidacy() => Volatile.Write(ref _isCandidate, 0);

    /// <summary>A replica has promised or accepted more than this primary's ballot: it stops, and runs above it (PROTOCOL.md, 2).</summary>
    public void NoteHigher(Ballot ballot)
    {
        lock (_lock)
        {
            _higher = ballot > _higher ? ballot : _higher;
            if (Role != GroupRole.Primary)
            {
                return;
            }

            _isOpen = _isServing = false;
            Volatile.Write(ref _leaseUntil, 0);
        }

        _hub.BecomeCandidate(this);
    }

    /// <summary>Requests wait from here on, and nothing is appended.</summary>
    public void BeginMove() => Volatile.Write(ref _isMoving, true);

    /// <summary>It stays here after all.</summary>
    public void EndMove()
    {
        Volatile.Write(ref _isMoving, false);
        Advance();
    }

    /// <summary>The right to write went to another host: its replicas are told, and this host follows.</summary>
    public void MoveTo(Id160 host)
    {
        List<Feed> feeds;
        lock (_lock)
        {
            Role = GroupRole.Replica;
            _isOpen = _isServing = _isMoving = false;
            Redirect = host;
            feeds = [.. _members.Values.Where(member => member.IsAttached).Select(member => member.Feed!), .. _leaving];
            feeds.ForEach(feed => feed.Detach());
            _leaving.Clear();
            _tail.Clear();
        }

        foreach (var feed in feeds)
        {
            SayUnfollow(feed, $"its primary is host {host} now", host);
        }

        _hub.OnRole(this);
        Advance();
    }

    /// <summary>It is not known whether the right to write went: the others must be asked.</summary>
    public void Doubt()
    {
        lock (_lock)
        {
            _isOpen = _isServing = _isMoving = false;
            Volatile.Write(ref _leaseUntil, 0);
        }
    }

    /// <summary>The link to a replica that is in step; null where it is not.</summary>
    public PeerLink? LinkOfLive(Id160 host)
    {
        lock (_lock)
        {
            return _members.TryGetValue(host, out var member) && member is { IsAttached: true, IsJoining: false, Feed: { Pump: null } feed }
                ? feed.Link : null;
        }
    }

    /// <summary>The newest entry that is durable on a replica.</summary>
    public ulong DurableOn(Id160 host)
    {
        lock (_lock)
        {
            return _members.GetValueOrDefault(host)?.Durable ?? 0;
        }
    }

    /// <summary>True when entries lie here that the device has not made durable for so long: the log hangs.</summary>
    public bool HasHung(long now, long limit)
    {
        lock (_lock)
        {
            if (Role != GroupRole.Primary || _durable >= _newest)
            {
                _lagSince = 0;
                return false;
            }

            if (_lagSince == 0 || _lagDurable != _durable)
            {
                (_lagSince, _lagDurable) = (now, _durable);
            }

            return now - _lagSince > limit;
        }
    }

    private ulong _lagDurable;
}
