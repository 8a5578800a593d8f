using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>The primary's side of following: what each replica is sent.</content>
internal sealed partial class Group
{
    /// <summary>So much may be on its way to one replica of one disk.</summary>
    public const long WindowBytes = 8 << 20;

    /// <summary>A host that joins is named once it lacks no more than this: what is written meanwhile it then has in a moment.</summary>
    private const ulong JoinLagMax = 64;

    /// <summary>A replica that acknowledges nothing for so long, though it lacks something, counts as gone (PROTOCOL.md, 19).</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(10);

    /// <summary>The newest view's entry as it goes over a link: what witnesses are sent.</summary>
    private byte[] _viewEntry = [];

    /// <summary>Those whom the newest view does not name any more, until they were sent it.</summary>
    private readonly List<Feed> _leaving = [];

    void IDiskGroup.OnAppended(ulong lsn, Id160 id, ReadOnlySpan<byte> entry)
    {
        Feed? first = null;
        Feed? second = null;
        List<Feed>? more = null;
        lock (_lock)
        {
            Volatile.Write(ref _newest, lsn);
            if ((EntryKind)entry[EntryLayout.KindOffset] is EntryKind.View or EntryKind.Branch)
            {
                SetViewEntry(entry);
            }

            if (_leaving.Count > 0)
            {
                _leaving.RemoveAll(leaving => leaving.IsDetached);
                (more ??= []).AddRange(_leaving);
            }

            var any = more is not null;
            foreach (var member in _members.Values)
            {
                if (member.Feed is not { IsDetached: false } feed)
                {
                    continue;
                }

                any = true;
                if (first is null)
                {
                    first = feed;
                }
                else if (second is null)
                {
                    second = feed;
                }
                else
                {
                    (more ??= []).Add(feed);
                }
            }

            if (any)
            {
                _tail.Add(lsn, entry);
            }
        }

        if ((EntryKind)entry[EntryLayout.KindOffset] != EntryKind.Update)
        {
            _hub.Changed();
        }

        // Whoever appended waits for the others next, and sends then: not under the locks that are held here.
        first?.Link.Ready(first, isSentSoon: true);
        second?.Link.Ready(second, isSentSoon: true);
        foreach (var feed in more ?? [])
        {
            feed.Link.Ready(feed, isSentSoon: true);
        }
    }

    /// <summary>What was appended leaves now, on this thread.</summary>
    private void SendNow(bool isSync)
    {
        PeerLink? first = null;
        PeerLink? second = null;
        List<PeerLink>? more = null;
        lock (_lock)
        {
            foreach (var member in _members.Values)
            {
                if (member.Feed is not { IsDetached: false } feed)
                {
                    continue;
                }

                if (isSync)
                {
                    feed.Link.Ready(feed, isSentSoon: true);
                }

                if (first is null)
                {
                    first = feed.Link;
                }
                else if (second is null)
                {
                    second = feed.Link;
                }
                else
                {
                    (more ??= []).Add(feed.Link);
                }
            }
        }

        first?.SendNow();
        second?.SendNow();
        foreach (var link in more ?? [])
        {
            link.SendNow();
        }
    }

    public void SetViewEntry(ReadOnlySpan<byte> entry)
    {
        _viewEntry = new byte[WireEntry.LengthOf(entry)];
        WireEntry.Write(entry, _viewEntry);
    }

    /// <summary>A replica asks to be sent what it lacks.</summary>
    /// <returns>Its feed; null with a line where it is refused.</returns>
    public (Feed? Feed, FollowStatus Status, string Reason) Attach(PeerLink link, in FollowAsk ask, IReadOnlyList<ViewMark> viewsHere)
    {
        Feed? old;
        Feed feed;
        lock (_lock)
        {
            if (Role != GroupRole.Primary || !_isOpen || _isMoving)
            {
                return (null, Role == GroupRole.Primary ? FollowStatus.NotYet : FollowStatus.NotPrimary, "");
            }

            if (!_members.TryGetValue(link.PeerHost, out var member) || member.Replica.Device != link.PeerDevice)
            {
                return (null, FollowStatus.NotNamed, member is null ? "the view does not name that host"
                    : $"the view names device {member.Replica.Device} of that host, not {link.PeerDevice}");
            }

            var common = member.Replica.Witness ? 0 : ForkPoint.Common(viewsHere, _newest, ask.Views, ask.Lsn);
            if (!member.Replica.Witness && (common is null || common < ask.Lsn))
            {
                member.Reason = common is null ? "it has no view in common with this disk's chain"
                    : $"its entries after LSN {common} are not in the disk's chain";
                return (null, FollowStatus.Forked, member.Reason);
            }

            old = member.Feed;
            if (old is not null)
            {
                old.Detach();
            }

            feed = new Feed(this, member, link, ask.Lsn + 1, member.Replica.Witness)
            {
                From = new DiskVersion(ask.Lsn, ask.Version),
                IsCopying = ask.IsCopying,
                AttachedAt = _hub.HeartbeatOf(link),
                Began = _hub.Now,
            };
            member.Feed = feed;
            member.Reason = null;
            member.LastHeard = member.LastProgress = _hub.Now;
            if (!feed.IsWitness)
            {
                // It is durable there, and in this chain; inside a copy it does not count (PROTOCOL.md, 4).
                member.Received = member.Durable = ask.IsCopying ? 0 : ask.Lsn;
                if (_tail.End != _newest + 1)
                {
                    _tail.Begin(_newest + 1);
                }
            }
        }

        _hub.Changed();
        return (feed, FollowStatus.Ok, "");
    }

    /// <summary>The link is gone, or the replica wants no more.</summary>
    public void Detach(PeerLink link, string reason)
    {
        lock (_lock)
        {
            foreach (var member in _members.Values)
            {
                if (member.Feed is { IsDetached: false } feed && feed.Link == link)
                {
                    feed.Detach();
                    member.Reason = reason;
                    member.LastHeard = _hub.Now;
                }
            }

            foreach (var leaving in _leaving.Where(leaving => leaving.Link == link))
            {
                leaving.Detach();
            }

            Volatile.Write(ref _leaseUntil, 0);
            if (!_members.Values.Any(member => member.IsAttached))
            {
                _tail.Clear();
            }
        }

        Advance();
        _hub.Changed();
    }

    /// <summary>Finds what a link's other end is sent.</summary>
    public Feed? FeedOf(PeerLink link)
    {
        lock (_lock)
        {
            return _members.TryGetValue(link.PeerHost, out var member) && member.Feed is { IsDetached: false } feed && feed.Link == link
                ? feed : _leaving.Find(leaving => !leaving.IsDetached && leaving.Link == link);
        }
    }

    /// <summary>What a replica is sent next; called by its link's writing loop.</summary>
    public bool Fill(Feed feed, FrameWriter into)
    {
        var hasLeft = false;
        lock (_lock)
        {
            if (feed.IsDetached)
            {
                return false;
            }

            if (feed.IsWitness)
            {
                return FillView(feed, into);
            }

            if (feed.Pump is { } pump)
            {
                return pump.Fill(into, _committed, _views[^1].Ballot, SyncFor(feed));
            }

            if (feed.Next > feed.Last)
            {
                feed.Detach();
                hasLeft = true;
            }
        }

        if (hasLeft)
        {
            // Where it has not understood the view that removed it, it asks again, and is told.
            SayUnfollow(feed, "the view does not name it any more");
            return false;
        }

        return FillLive(feed, into);
    }

    private bool FillLive(Feed feed, FrameWriter into)
    {
        var disk = Disk;
        lock (_lock)
        {
            if (feed.IsDetached || feed.Pump is not null)
            {
                return false;
            }

            var start = into.Count;
            EntriesFrame.Begin(into, Id, _committed, _views[^1].Ballot);
            var body = into.Count;
            var (next, count) = feed.UnacknowledgedBytes < WindowBytes
                ? _tail.CopyTo(into, feed.Next, Unsafe, PeerLink.SendBytes) : (feed.Next, 0);
            var sync = SyncFor(feed);
            if (count == 0 && feed.Next <= _newest && feed.Next < Unsafe && feed.UnacknowledgedBytes < WindowBytes && disk is not null)
            {
                // It is behind what is in memory.
                into.Truncate(start);
                feed.Pump = new LogPump(_hub, this, feed, disk);
                feed.Pump.Start();
                return false;
            }

            if (count == 0 && !sync && feed.CommittedSent >= _committed)
            {
                into.Truncate(start);
                return false;
            }

            EntriesFrame.End(into, start, count, sync ? EntriesFlags.Sync : EntriesFlags.None);
            if (count > 0)
            {
                feed.Next = next;
                feed.NoteSent(next - 1, into.Count - body);
                TrimTail();
            }

            feed.SyncSent = sync ? _syncWanted : feed.SyncSent;
            feed.CommittedSent = _committed;
            return feed.Next < _tail.End && feed.UnacknowledgedBytes < WindowBytes;
        }
    }

    /// <summary>The pump has reached what is in memory: from here on the replica is in step. False while it has not.</summary>
    public bool TryGoLive(Feed feed, ulong next)
    {
        lock (_lock)
        {
            if (!feed.IsDetached && next <= feed.Last && next < _tail.First && next <= _newest)
            {
                return false;
            }

            feed.Next = next;
            feed.Pump = null;
        }

        feed.Link.Ready(feed);
        _hub.Changed();
        return true;
    }

    /// <summary>What was missed can't be had here.</summary>
    public void FailFeed(Feed feed, string reason)
    {
        lock (_lock)
        {
            feed.Detach();
            feed.Member.Reason = reason;
        }

        SayUnfollow(feed, reason);
        _hub.Changed();
    }

    /// <summary>The other end of a link wants no more of this disk, or can't have it.</summary>
    public void DetachOne(PeerLink link, string reason)
    {
        if (FeedOf(link) is not { } feed)
        {
            return;
        }

        lock (_lock)
        {
            feed.Detach();
            feed.Member.Reason = reason;
            feed.Member.LastHeard = _hub.Now;
            Volatile.Write(ref _leaseUntil, 0);
        }

        _hub.Changed();
    }

    private void SayUnfollow(Feed feed, string reason, Id160 elsewhere = default) => feed.Link.Say(FrameType.Unfollow, frame =>
    {
        frame.Put(Id);
        frame.Put(reason);
        frame.Put(elsewhere);
    });

    /// <summary>
    /// The first view that is not durable here yet: nobody else may have it before, for its secret is nowhere else. Under the lock.
    /// </summary>
    private ulong Unsafe
    {
        get
        {
            for (var i = 0; i < _views.Count; i++)
            {
                if (_views[i].Lsn > _durable)
                {
                    return _views[i].Lsn;
                }
            }

            return ulong.MaxValue;
        }
    }

    private bool SyncFor(Feed feed) => _syncWanted > feed.SyncSent && _syncWanted > feed.Member.Durable;

    private bool FillView(Feed feed, FrameWriter into)
    {
        var lsn = _views[^1].Lsn;
        if (feed.Next > lsn || lsn > _durable || _viewEntry.Length == 0)
        {
            return false;
        }

        var start = into.Count;
        EntriesFrame.Begin(into, Id, _committed, _views[^1].Ballot);
        into.Put(_viewEntry);
        EntriesFrame.End(into, start, 1, EntriesFlags.Views);
        feed.Next = lsn + 1;
        feed.NoteSent(lsn, into.Count - start);
        return false;
    }

    private void TrimTail()
    {
        var needed = ulong.MaxValue;
        foreach (var member in _members.Values)
        {
            if (member.Feed is { IsDetached: false, IsWitness: false } feed)
            {
                // Those who read the log will want it soon: what there is room for stays.
                needed = Math.Min(needed, feed.Pump is null ? feed.Next : 0);
            }
        }

        _tail.DropBefore(Math.Min(needed, _tail.End));
    }

    private void WakeFeeds()
    {
        List<Feed> feeds;
        lock (_lock)
        {
            feeds = [.. _members.Values.Where(member => member.IsAttached).Select(member => member.Feed!), .. _leaving];
        }

        foreach (var feed in feeds)
        {
            feed.Link.Ready(feed);
        }
    }

    /// <summary>Replicas that were told less than what is committed now are told.</summary>
    public void TellCommitted()
    {
        if (Role == GroupRole.Primary)
        {
            WakeFeeds();
        }
    }
}
