using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>Following, at both ends: who asks whom for what, heartbeats, acknowledgements.</content>
public sealed partial class ReplicationHub
{
    /// <summary>A host that was told to hold a disk, and that the primary does not want, gives up after so long.</summary>
    private static readonly TimeSpan JoinPatience = TimeSpan.FromSeconds(10);

    internal long LeaseOf(Feed feed) => feed.Link.Lease.AnsweredAfter(feed.AttachedAt) is { } sent ? sent + Ticks(_lease) : 0;

    internal ulong HeartbeatOf(PeerLink link) => link.Lease.Sent;

    /// <summary>More is durable here.</summary>
    internal void OnDurable(Group group) => group.Following?.NoteProgress();

    /// <summary>A view has changed what this host is to a disk, or who is to be followed.</summary>
    internal void OnRole(Group group)
    {
        if (group.Following is { } following
            && (group.Role is GroupRole.Primary or GroupRole.Removed || following.Link.PeerHost != group.PrimaryHost))
        {
            following.Close();
            group.Following = null;
            group.FollowState = GroupState.Disconnected;
        }

        group.RetryAt = 0;
        Changed();
    }

    /// <summary>A copy by /state has made the disk, or made it whole.</summary>
    internal void Adopt(Group group, bool isWhole)
    {
        if (group.Disk is null && _services.Disks.ById(group.Id) is { } disk)
        {
            group.Disk = disk;
            disk.Group = group;
        }

        group.FollowState = isWhole ? GroupState.Following : GroupState.Copying;
        if (isWhole && group.Disk is { } whole)
        {
            var head = whole.Head;
            group.NoteView(head.View!.Body, head.View.Lsn, head.Lsn);
        }
    }

    internal void OnFollowingEnded(Group group, Following following, string reason)
    {
        if (group.Following == following)
        {
            group.Following = null;
            group.Failures++;
            group.RetryAt = Now + Ticks(Delay(group.Failures));
        }

        TellOnce($"{group.Id} {reason}", "following-ended", $"disk {group.Id}: {reason}");
        Changed();
    }

    private void StopFollowing(Group group, string reason)
    {
        if (group.Following is { } following)
        {
            group.Following = null;
            following.End(reason);
        }
    }

    /// <summary>Every group that should follow, does, or tries again when its time has come.</summary>
    private void FollowWhereDue()
    {
        var now = Now;
        foreach (var group in AllGroups())
        {
            if (group.Role is GroupRole.Primary or GroupRole.Removed || group.Following is not null || group.RetryAt > now)
            {
                continue;
            }

            var primary = group.PrimaryHost;
            PeerLink? link;
            lock (_lock)
            {
                link = _peers.GetValueOrDefault(primary)?.Link;
            }

            if (link is not null)
            {
                BeginFollowing(group, link);
            }
        }
    }

    private void BeginFollowing(Group group, PeerLink link)
    {
        if (_services.Log.Failure is not null || group.Role is GroupRole.Primary or GroupRole.Removed || group.Following is not null)
        {
            return;
        }

        var following = new Following(this, group, link, _services);
        group.Following = following;
        following.Ask();
    }

    // The primary's end.
    private void OnFollow(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var ask = Following.ReadAsk(payload);
        var group = FindGroup(ask.Disk);
        var (status, reason) = (FollowStatus.Unknown, "the disk is not here");
        Feed? feed = null;
        var here = group?.Disk ?? _services.Disks.ById(ask.Disk);
        var ballot = group?.Ballot ?? here?.Head.Ballot ?? default;
        if (group is null && here is { IsReadOnly: false, IsDeleted: false })
        {
            (status, reason) = (FollowStatus.NotNamed, "the disk is on that host alone");
        }
        else if (group is not null && ask.Promised > ballot)
        {
            (status, reason) = (FollowStatus.Fenced, "");
            group.NoteHigher(ask.Promised);
        }
        else if (group is not null)
        {
            var views = group.Disk?.Locked(state => state.Views.ToArray()) ?? [];
            (feed, status, reason) = group.Attach(link, ask, views);
        }

        var removing = here?.Locked(state => state.Views.Count > 0 ? state.Views[^1] : default) ?? default;
        link.Say(FrameType.FollowAnswer, frame =>
        {
            frame.Put(ask.Disk);
            frame.Put((byte)status);
            frame.Put(ballot);
            frame.Put(removing.Lsn);
            frame.Put(removing.Id);
            frame.Put(removing.Previous);
            frame.Put(reason);
        });
        if (feed is not null)
        {
            link.Ready(feed);
            group!.Advance();
        }
    }

    private void OnFollowAnswer(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var answer = new FrameReader(payload);
        var (disk, status, ballot) = (answer.Id(), (FollowStatus)answer.Byte(), answer.Ballot());
        var view = new ViewMark(ballot, answer.UInt64(), answer.Id(), answer.Id());
        var reason = answer.Text();
        if (FindGroup(disk) is not { } group || group.Following is not { } following || following.Link != link)
        {
            return;
        }

        if (status == FollowStatus.Ok)
        {
            if (ballot < group.Promised)
            {
                following.End($"the primary of ballot {ballot} is not followed: this host has promised {group.Promised}");
                return;
            }

            following.IsAgreed = true;
            group.Told = ballot;
            group.Failures = 0;
            group.FollowState = GroupState.Following;
            group.Reason = null;
            following.NoteProgress();
            Changed();
            return;
        }

        group.Following = null;
        following.Close();
        group.Failures++;
        group.RetryAt = Now + Ticks(Delay(status == FollowStatus.NotYet ? 0 : group.Failures));
        group.FollowState = GroupState.Refused;
        group.Reason = status switch
        {
            FollowStatus.NotYet => $"host {link.PeerHost} does not serve it yet",
            FollowStatus.NotPrimary => $"host {link.PeerHost} is not its primary any more",
            FollowStatus.Unknown => $"host {link.PeerHost} does not have it",
            FollowStatus.Fenced => $"host {link.PeerHost} has a lower ballot than was promised here",
            _ => reason,
        };
        if (status == FollowStatus.NotPrimary)
        {
            // The right to write went while this host was away: what is followed next is whoever has it by the newest view there.
            group.NoteElsewhere(ballot);
        }
        else if (status == FollowStatus.NotNamed && (group.Role == GroupRole.Joining
            ? Now - group.ToldAt > Ticks(JoinPatience) : view.Ballot > group.Ballot))
        {
            // Whoever wants it to join says so again and again; where nobody does, what is here is a copy too many.
            group.ToldPrimary = default;
            group.BecomeRemoved();
        }
        else if (status == FollowStatus.Forked)
        {
            group.IsForked = true;
        }

        Changed();
    }

    private async ValueTask OnEntriesAsync(PeerLink link, ReadOnlyMemory<byte> payload)
    {
        if (payload.Length < FrameLayout.EntriesPrefix)
        {
            throw new LinkProtocolException($"host {link.PeerHost} sends entries in {payload.Length} bytes");
        }

        var disk = new Id160(payload.Span[..Id160.Size]);
        if (FindGroup(disk) is { Following: { } following } && following.Link == link && !following.IsEnded)
        {
            await following.TakeAsync(payload, link.Scratch);
        }
    }

    private void OnUnfollow(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var reader = new FrameReader(payload);
        var (disk, reason) = (reader.Id(), reader.Text());
        var elsewhere = reader.IsEmpty ? default : reader.Id();
        if (FindGroup(disk) is not { } group)
        {
            return;
        }

        if (!link.IsDialler)
        {
            group.DetachOne(link, reason);
            return;
        }

        if (group.Following is not { } following || following.Link != link)
        {
            return;
        }

        following.Close();
        group.Following = null;
        group.FollowState = GroupState.Disconnected;
        group.Reason = reason;
        group.Redirect = elsewhere;
        group.Failures = elsewhere.IsZero ? group.Failures + 1 : 0;
        group.RetryAt = elsewhere.IsZero ? Now + Ticks(Delay(group.Failures)) : 0;
        Changed();
    }

    private void OnAck(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var ack = new FrameReader(payload);
        var (disk, ballot, received, durable) = (ack.Id(), ack.Ballot(), ack.UInt64(), ack.UInt64());
        if (FindGroup(disk) is not { } group || group.FeedOf(link) is not { } feed)
        {
            return;
        }

        if (ballot > group.Ballot)
        {
            group.NoteHigher(ballot);
            return;
        }

        group.OnAck(feed, received, durable);
    }

    private void OnHeartbeat(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var heartbeat = new FrameReader(payload);
        var number = heartbeat.UInt64();
        var lease = TimeSpan.FromMilliseconds(heartbeat.UInt32());
        if (_services.Log.Failure is not null)
        {
            return;
        }

        var fenced = new List<Group>();
        foreach (var group in AllGroups())
        {
            if (group.Following?.Link == link && group.Promised is var promised && promised.Primary != link.PeerHost)
            {
                fenced.Add(group);
            }
        }

        lock (_lock)
        {
            var until = Now + Ticks(lease * Drift);
            _restrained[link.PeerHost] = Math.Max(until, _restrained.GetValueOrDefault(link.PeerHost));
        }

        link.Say(FrameType.HeartbeatAnswer, frame =>
        {
            frame.Put(number);
            frame.Put((uint)fenced.Count);
            foreach (var group in fenced)
            {
                frame.Put(group.Id);
                frame.Put(group.Promised);
            }
        });
    }

    private void OnHeartbeatAnswer(PeerLink link, ReadOnlySpan<byte> payload)
    {
        var answer = new FrameReader(payload);
        var number = answer.UInt64();
        for (var count = answer.UInt32(); count > 0; count--)
        {
            var (disk, ballot) = (answer.Id(), answer.Ballot());
            if (FindGroup(disk) is { } group && ballot > group.Ballot)
            {
                group.DetachOne(link, $"it has promised {ballot}");
                group.NoteHigher(ballot);
            }
        }

        link.Lease.Answer(number);
        Group[] watched;
        lock (_lock)
        {
            watched = [.. _watched];
        }

        foreach (var group in watched)
        {
            group.Advance();
        }
    }
}
