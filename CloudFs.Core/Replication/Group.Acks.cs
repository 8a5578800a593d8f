using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>The primary's side of acknowledgements: frontiers, leases, and those who wait for them.</content>
internal sealed partial class Group
{
    private const int WaitersKept = 256;

    private readonly List<AckWaiter> _waiting = [];
    private readonly Stack<AckWaiter> _idle = new();
    private ulong _newest;
    private ulong _durable;
    private ulong _received;
    private ulong _committed;
    private ulong _viewCommitted;
    private ulong _syncWanted;
    private ulong _shownUpTo = ulong.MaxValue;
    private long _leaseUntil;
    private bool _isOpen;
    private bool _isServing;
    private bool _isMoving;
    private IoStatus _ended;

    /// <inheritdoc/>
    public ulong ShownUpTo => Volatile.Read(ref _shownUpTo);

    /// <inheritdoc/>
    public bool MayServe => Volatile.Read(ref _isServing) && !Volatile.Read(ref _isMoving) && Volatile.Read(ref _leaseUntil) > _hub.Now;

    public ulong Committed => Volatile.Read(ref _committed);

    public ulong Newest => Volatile.Read(ref _newest);

    public int WaitingCount
    {
        get
        {
            lock (_lock)
            {
                return _waiting.Count;
            }
        }
    }

    public ValueTask<IoStatus> ReadyAsync(CancellationToken cancellation)
    {
        if (MayServe)
        {
            return ValueTask.FromResult(IoStatus.Ok);
        }

        var waiting = WaitAsync(0, AckLevel.Serving);
        return waiting.IsCompleted ? waiting : new ValueTask<IoStatus>(waiting.AsTask().WaitAsync(cancellation));
    }

    public ValueTask<IoStatus> ReceivedAsync(ulong lsn)
    {
        SendNow(isSync: false);
        return WaitAsync(lsn, DurabilityNow == Durability.Async ? AckLevel.Serving : AckLevel.Received);
    }

    public ValueTask<IoStatus> DurableAsync(ulong lsn) =>
        WaitAsync(lsn, DurabilityNow == Durability.Async ? AckLevel.Leased : AckLevel.Committed);

    public ValueTask<IoStatus> CommittedAsync(ulong lsn) => WaitAsync(lsn, AckLevel.Committed);

    public void WantDurable(ulong lsn)
    {
        if (DurabilityNow == Durability.Async)
        {
            SendNow(isSync: false);
            return;
        }

        lock (_lock)
        {
            if (lsn <= _syncWanted)
            {
                // Whoever wanted it sends it.
                return;
            }

            _syncWanted = lsn;
        }

        SendNow(isSync: true);
    }

    void Disks.IDiskGroup.OnDurable(ulong lsn, Id160 id)
    {
        bool isView;
        lock (_lock)
        {
            isView = Unsafe <= lsn;
            _durable = Math.Max(_durable, lsn);
        }

        if (isView)
        {
            WakeFeeds();
        }

        Advance();
        _hub.OnDurable(this);
    }

    /// <summary>A replica says how far it is.</summary>
    public void OnAck(Feed feed, ulong received, ulong durable)
    {
        lock (_lock)
        {
            if (feed.IsDetached)
            {
                return;
            }

            var member = feed.Member;
            var now = _hub.Now;

            // Nobody can have what was not sent.
            received = Math.Min(received, _newest);
            durable = Math.Min(durable, received);
            if (received > member.Received || durable > member.Durable)
            {
                member.LastProgress = now;
            }

            member.Received = Math.Max(member.Received, received);
            member.Durable = Math.Max(member.Durable, durable);
            member.LastHeard = now;
            feed.NoteReceived(received);
            if (member.Durable >= _committed && feed.Pump is null)
            {
                member.LastLive = now;
            }
        }

        Advance();
        if (feed.UnacknowledgedBytes < WindowBytes / 2)
        {
            feed.Link.Ready(feed);
        }
    }

    /// <summary>Something has changed that requests may wait for: frontiers are drawn anew, and who may go on does.</summary>
    public void Advance()
    {
        List<AckWaiter>? done = null;
        bool committedMoved;
        bool shown;
        bool served;
        lock (_lock)
        {
            (committedMoved, shown, served) = DrawFrontiers();
            for (var i = 0; i < _waiting.Count;)
            {
                if (Judge(_waiting[i]) is null)
                {
                    i++;
                    continue;
                }

                (done ??= []).Add(_waiting[i]);
                _waiting[i] = _waiting[^1];
                _waiting.RemoveAt(_waiting.Count - 1);
            }
        }

        if (shown)
        {
            Disk?.OnShown();
            WakeFeeds();
        }

        if (served)
        {
            _hub.Changed();
        }

        if (committedMoved)
        {
            _hub.TellCommitted(this);
        }

        End(done);
    }

    /// <summary>Requests that waited for longer than the disk is patient fail.</summary>
    /// <returns>False when nobody waits any more.</returns>
    public bool Expire(long now)
    {
        List<AckWaiter>? late = null;
        bool any;
        lock (_lock)
        {
            for (var i = 0; i < _waiting.Count;)
            {
                if (_waiting[i].Deadline > now)
                {
                    i++;
                    continue;
                }

                (late ??= []).Add(_waiting[i]);
                _waiting[i] = _waiting[^1];
                _waiting.RemoveAt(_waiting.Count - 1);
            }

            any = _waiting.Count > 0;
        }

        foreach (var waiter in late ?? [])
        {
            waiter.End(IoStatus.Unreachable);
        }

        Advance();
        return any;
    }

    /// <summary>Nobody is answered any more.</summary>
    public void End(IoStatus status)
    {
        List<AckWaiter> all;
        lock (_lock)
        {
            _ended = status;
            all = [.. _waiting];
            _waiting.Clear();
        }

        foreach (var waiter in all)
        {
            waiter.End(status);
        }
    }

    internal void Return(AckWaiter waiter)
    {
        lock (_lock)
        {
            if (_idle.Count < WaitersKept)
            {
                _idle.Push(waiter);
            }
        }
    }

    private Durability DurabilityNow => Disk?.DurabilityNow ?? Durability.Flush;

    /// <summary>Neither the disk nor the hub is asked under the lock.</summary>
    private ValueTask<IoStatus> WaitAsync(ulong lsn, AckLevel level) =>
        WaitAsync(lsn, level, Disk?.Patience ?? ReplicationHub.DefaultPatience);

    private ValueTask<IoStatus> WaitAsync(ulong lsn, AckLevel level, TimeSpan patience)
    {
        ValueTask<IoStatus> waiting;
        lock (_lock)
        {
            waiting = WaitLocked(lsn, level, patience);
        }

        if (!waiting.IsCompleted)
        {
            _hub.Watch(this);
        }

        return waiting;
    }

    private ValueTask<IoStatus> WaitLocked(ulong lsn, AckLevel level, TimeSpan patience)
    {
        if (_ended != IoStatus.Ok)
        {
            return ValueTask.FromResult(_ended);
        }

        if (Role != GroupRole.Primary)
        {
            return ValueTask.FromResult(level == AckLevel.Serving ? IoStatus.ReadOnly : IoStatus.Stopped);
        }

        if (IsReached(level, lsn))
        {
            return ValueTask.FromResult(IoStatus.Ok);
        }

        if (!_idle.TryPop(out var waiter))
        {
            waiter = new AckWaiter(this);
        }

        var waiting = waiter.Start(lsn, level, patience <= TimeSpan.Zero ? long.MaxValue : _hub.Now + _hub.Ticks(patience));
        _waiting.Add(waiter);
        return waiting;
    }

    /// <summary>What a request ends with now; null while it has to wait. Under the lock.</summary>
    private IoStatus? Judge(AckWaiter waiter) =>
        Role != GroupRole.Primary ? waiter.Level == AckLevel.Serving ? IoStatus.ReadOnly : IoStatus.Stopped
        : IsReached(waiter.Level, waiter.Lsn) ? IoStatus.Ok : null;

    private void End(List<AckWaiter>? done)
    {
        foreach (var waiter in done ?? [])
        {
            waiter.End(Role == GroupRole.Primary ? IoStatus.Ok
                : waiter.Level == AckLevel.Serving ? IoStatus.ReadOnly : IoStatus.Stopped);
        }
    }

    private bool IsReached(AckLevel level, ulong lsn)
    {
        if (level == AckLevel.View)
        {
            return _viewCommitted >= lsn;
        }

        if (!_isServing || (level == AckLevel.Serving && _isMoving) || !HasLease())
        {
            return false;
        }

        return level switch
        {
            AckLevel.Received => _received >= lsn || _committed >= lsn || DrawReceived() >= lsn,
            AckLevel.Committed => _committed >= lsn || (_hub.Planted == PlantedBug.AckBeforeMajority && _newest >= lsn),
            AckLevel.Leased => _durable >= lsn,
            _ => true,
        };
    }

    /// <summary>Under the lock. Of one set after the other, the majority that answered heartbeats last (PROTOCOL.md, 18).</summary>
    private bool HasLease()
    {
        var now = _hub.Now;
        if (_leaseUntil > now)
        {
            return true;
        }

        var until = ulong.MaxValue;
        foreach (var view in _views)
        {
            until = Math.Min(until, Quorum.ReachedBy(view.Replicas, withWitnesses: true, LeaseOf));
        }

        Volatile.Write(ref _leaseUntil, (long)Math.Min(until, long.MaxValue));
        return _leaseUntil > now;
    }

    private ulong LeaseOf(Replica replica) => replica.Host == _hub.HostId || _hub.Planted == PlantedBug.ServeWithoutLease
        ? (ulong)long.MaxValue
        : _members.TryGetValue(replica.Host, out var member) && member is { IsAttached: true, Feed: { } feed }
            && member.Replica.Device == replica.Device
        ? (ulong)_hub.LeaseOf(feed)
        : 0;

    /// <summary>Under the lock.</summary>
    private (bool CommittedMoved, bool Shown, bool Served) DrawFrontiers()
    {
        if (Role != GroupRole.Primary || _views.Count == 0 || !_isOpen)
        {
            return default;
        }

        var before = _committed;
        var shown = false;
        var wasServing = _isServing;
        CommitViews();
        var data = ulong.MaxValue;
        foreach (var view in _views)
        {
            data = Math.Min(data, Quorum.ReachedBy(view.Replicas, withWitnesses: false, DurableOf));
        }

        var pending = _views.FindIndex(view => view.Lsn > _viewCommitted);
        DrawReceived();
        _committed = Math.Max(_committed, pending < 0 ? data : Math.Min(data, _views[pending].Lsn - 1));
        if (pending < 0)
        {
            shown = _shownUpTo != ulong.MaxValue;
            Volatile.Write(ref _shownUpTo, ulong.MaxValue);
            Volatile.Write(ref _isServing, true);
        }

        return (_committed > before, shown, _isServing != wasServing);
    }

    /// <summary>What a majority has received, this host included, whose newest entry nobody has to tell. Under the lock.</summary>
    private ulong DrawReceived()
    {
        var received = ulong.MaxValue;
        foreach (var view in _views)
        {
            received = Math.Min(received, Quorum.ReachedBy(view.Replicas, withWitnesses: false, ReceivedOf));
        }

        _received = Math.Max(_received, received);
        return _received;
    }

    /// <summary>
    /// A view is committed once its entry is durable here, with all before it, and on a majority of every set up to its own, witnesses
    /// counted; what came
    /// before it has no say then.
    /// </summary>
    private void CommitViews()
    {
        for (var i = _views.FindIndex(view => view.Lsn > _viewCommitted); i >= 0 && i < _views.Count; i = 1)
        {
            var lsn = _views[i].Lsn;
            if (_durable < lsn || _views.Take(i + 1).Any(view =>
                Quorum.ReachedBy(view.Replicas, withWitnesses: true, DurableOf) < lsn))
            {
                return;
            }

            _viewCommitted = lsn;
            _views.RemoveRange(0, i);
        }
    }

    private ulong DurableOf(Replica replica) => replica.Host == _hub.HostId ? _durable
        : _members.TryGetValue(replica.Host, out var member) && member.Replica.Device == replica.Device ? member.Durable : 0;

    private ulong ReceivedOf(Replica replica) => replica.Host == _hub.HostId ? _newest
        : _members.TryGetValue(replica.Host, out var member) && member.Replica.Device == replica.Device ? member.Received : 0;
}
