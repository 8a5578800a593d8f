using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// A disk that lies on several hosts, as this one sees it: who holds it by which views, how far each is, and what its requests wait
/// for. Any thread.
/// Its lock is a leaf: nothing else is taken under it, and no disk is called.
/// <para>
/// On the primary: an entry that took its place in the chain goes into the tail and from there to each replica that is in step
/// (Group.Feeds.cs); what
/// they acknowledge moves the frontiers received and committed, and whoever waits for these goes on (Group.Acks.cs).
/// </para>
/// </summary>
internal sealed partial class Group : IDiskGroup
{
    private readonly ReplicationHub _hub;
    private readonly Lock _lock = new();
    private readonly Dictionary<Id160, Member> _members = [];

    /// <summary>
    /// The view that is committed, or was there when this host began, and every one after it: until the last is committed, each must
    /// agree (PROTOCOL.md, 9).
    /// </summary>
    private readonly List<GroupView> _views = [];
    private readonly Tail _tail;
    private string? _reason;

    public Group(ReplicationHub hub, Id160 id, Disk? disk, GroupRole role)
    {
        _hub = hub;
        Id = id;
        Disk = disk;
        Role = role;
        _tail = new Tail(hub.TailBudget);
        _began = hub.Now;
    }

    private readonly long _began;

    public Id160 Id { get; }

    /// <summary>Null until its first entry is here, and on a witness.</summary>
    public Disk? Disk { get; set; }

    public GroupRole Role { get; private set; }

    /// <summary>Why it is as it is, where that needs a word.</summary>
    public string? Reason
    {
        get => Volatile.Read(ref _reason);
        set
        {
            if (Volatile.Read(ref _reason) != value)
            {
                Volatile.Write(ref _reason, value);
                _hub.Changed();
            }
        }
    }

    /// <summary>The ballot of the newest view here; default where there is none.</summary>
    public Ballot Ballot
    {
        get
        {
            lock (_lock)
            {
                return _views.Count == 0 ? default : _views[^1].Ballot;
            }
        }
    }

    /// <summary>The replicas of the newest view.</summary>
    public IReadOnlyList<Replica> Replicas
    {
        get
        {
            lock (_lock)
            {
                return _views.Count == 0 ? [] : _views[^1].Replicas;
            }
        }
    }

    /// <summary>Every set of replicas whose majority is needed now.</summary>
    public IReadOnlyList<IReadOnlyList<Replica>> Sets
    {
        get
        {
            lock (_lock)
            {
                return [.. _views.Select(view => view.Replicas)];
            }
        }
    }

    /// <summary>True once this process opened a view: from then on replicas are sent what they lack.</summary>
    public bool IsOpen
    {
        get
        {
            lock (_lock)
            {
                return _isOpen;
            }
        }
    }

    /// <summary>Takes what recovery found: the views that may not be committed, newest last, and the entries that are here.</summary>
    public void Restore(IEnumerable<GroupView> views, ulong newest)
    {
        lock (_lock)
        {
            _views.Clear();
            _views.AddRange(views);
            _newest = _durable = newest;
            if (_views.Count > 0)
            {
                // Whether it was committed is not known yet.
                _shownUpTo = _views[^1].Lsn - 1;
                SetMembers(_views[^1].Replicas);
            }
        }
    }

    /// <summary>A view that this process did not make is the one to go on from: creation, and disks that were on this host alone.</summary>
    public void Open()
    {
        lock (_lock)
        {
            _isOpen = true;
        }

        Advance();
    }

    void IDiskGroup.OnView(ViewBody view, ulong lsn, Id160 id, Id160 previous, bool isOwn)
    {
        lock (_lock)
        {
            _views.Add(new GroupView(lsn, view.Ballot, view.Replicas));
            _shownUpTo = Math.Min(_shownUpTo, lsn - 1);
            Redirect = default;
            SetMembers(view.Replicas);
            var isNamed = Quorum.Names(view.Replicas, _hub.HostId, _hub.DeviceId);
            // An old view that comes again, with what was missed, makes nobody a primary.
            var isPrimary = isOwn && view.Primary == _hub.HostId && isNamed;
            if (!isPrimary)
            {
                // A follower takes a view as it comes: whether it is committed the primary says.
                _views.RemoveRange(0, _views.Count - 1);
                _isOpen = _isServing = false;
            }
            else if (!_isMoving)
            {
                _isOpen |= lsn > 1;
            }

            Role = isPrimary ? GroupRole.Primary : isNamed ? GroupRole.Replica
                : ToldPrimary.IsZero ? GroupRole.Removed : GroupRole.Joining;
        }

        _hub.OnRole(this);
    }

    /// <summary>The newest view of a witness, or of a disk that was copied.</summary>
    public void NoteView(ViewBody view, ulong lsn, ulong newest)
    {
        lock (_lock)
        {
            _views.Clear();
            _views.Add(new GroupView(lsn, view.Ballot, view.Replicas));
            _newest = _durable = newest;
            _shownUpTo = Math.Min(_shownUpTo, lsn - 1);
            SetMembers(view.Replicas);
            var named = view.Replicas.FirstOrDefault(replica => replica.Host == _hub.HostId && replica.Device == _hub.DeviceId);
            Role = named is not null ? named.Witness ? GroupRole.Witness : GroupRole.Replica
                : ToldPrimary.IsZero ? GroupRole.Removed : GroupRole.Joining;
        }

        _hub.OnRole(this);
    }

    /// <summary>The primary says that its view does not name this host.</summary>
    public void BecomeRemoved()
    {
        lock (_lock)
        {
            Role = GroupRole.Removed;
        }

        _hub.OnRole(this);
    }

    /// <summary>This host is to hold the disk, and is not named yet.</summary>
    public void BecomeJoining()
    {
        lock (_lock)
        {
            Role = Role is GroupRole.Removed ? GroupRole.Joining : Role;
        }

        _hub.OnRole(this);
    }

    /// <summary>On the primary: another host may copy the disk.</summary>
    public void AddJoining(Replica replica)
    {
        List<Feed> leaving;
        lock (_lock)
        {
            if (_members.TryGetValue(replica.Host, out var known) && !known.IsJoining)
            {
                return;
            }

            // It comes back before it was sent the view that removed it: it asks anew.
            leaving = _leaving.FindAll(feed => !feed.IsDetached && feed.Link.PeerHost == replica.Host);
            leaving.ForEach(feed => feed.Detach());

            _members[replica.Host] = known ?? new Member(replica, isJoining: true) { LastHeard = _hub.Now };
            _members[replica.Host].Replica = replica;
        }

        leaving.ForEach(feed => SayUnfollow(feed, "it joins again"));
        _hub.Changed();
    }

    /// <summary>It joins no more. False where it was not joining.</summary>
    public bool GiveUpJoining(Id160 host)
    {
        Feed? feed;
        lock (_lock)
        {
            if (!_members.TryGetValue(host, out var member) || !member.IsJoining)
            {
                return false;
            }

            feed = member.Feed;
            _members.Remove(host);
            if (feed is not null)
            {
                feed.Detach();
            }
        }

        if (feed is not null)
        {
            SayUnfollow(feed, "it is to hold the disk no more");
        }

        _hub.Changed();
        return true;
    }

    /// <summary>Those who join and have caught up.</summary>
    public IReadOnlyList<Replica> ReadyToJoin()
    {
        lock (_lock)
        {
            return _isServing && !_isMoving && _views.Count == 1
                ? [.. _members.Values.Where(IsCaughtUp).Select(member => member.Replica)] : [];
        }

        bool IsCaughtUp(Member member) => member.IsJoining && member.IsAttached && (member.Replica.Witness
            || (member.Feed!.Pump is null && member.Durable > 0 && member.Durable + JoinLagMax >= _newest));
    }

    private void SetMembers(IReadOnlyList<Replica> replicas)
    {
        foreach (var replica in replicas)
        {
            if (_members.TryGetValue(replica.Host, out var member))
            {
                (member.Replica, member.IsJoining) = (replica, false);
            }
            else
            {
                _members.Add(replica.Host, new Member(replica, isJoining: false) { LastHeard = _hub.Now, LastLive = _hub.Now });
            }
        }

        foreach (var (host, member) in _members.ToArray())
        {
            if (!member.IsJoining && !replicas.Any(replica => replica.Host == host))
            {
                // It is sent the view that removed it, and then nothing.
                if (member.Feed is { IsDetached: false } feed)
                {
                    feed.EndAfter(_newest + 1);
                    _leaving.Add(feed);
                }

                _members.Remove(host);
            }
        }
    }
}

/// <summary>A view, and who holds the disk by it.</summary>
internal sealed record GroupView(ulong Lsn, Ballot Ballot, IReadOnlyList<Replica> Replicas);
