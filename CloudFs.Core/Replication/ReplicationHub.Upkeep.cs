using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>What is looked after from time to time, by one loop that runs while there is anything to look after.</content>
public sealed partial class ReplicationHub
{
    /// <summary>Between two looks.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    /// <summary>A link over which nothing came for so many leases, though something should, is broken off.</summary>
    private const int SilentLeases = 3;

    /// <summary>Heartbeats in the time of a lease: some may be late.</summary>
    private const int HeartbeatsPerLease = 6;

    private const int ToldMax = 256;

    private readonly HashSet<Group> _watched = [];
    private readonly HashSet<Group> _committed = [];
    private readonly Dictionary<string, long> _told = [];

    /// <summary>Somebody waits for this group.</summary>
    internal void Watch(Group group)
    {
        lock (_lock)
        {
            _watched.Add(group);
        }
    }

    /// <summary>Its replicas are told soon what is committed, if nothing else tells them before.</summary>
    internal void TellCommitted(Group group)
    {
        lock (_lock)
        {
            _committed.Add(group);
        }
    }

    /// <summary>Makes sure that the loop runs.</summary>
    private void Tick()
    {
        lock (_lock)
        {
            if (_isTicking || _stopping.IsCancellationRequested || (_groups.Count == 0 && _peers.Count == 0))
            {
                return;
            }

            _isTicking = true;
        }

        Spawn(UpkeepAsync);
    }

    private async Task UpkeepAsync()
    {
        for (var turn = 0; ; turn++)
        {
            Expire();
            TellAllCommitted();
            if (turn % 4 == 0)
            {
                DialWhereWanted();
                FollowWhereDue();
                SendHeartbeats();
                BreakSilent();
                JoinWhereReady();
            }

            await Task.Delay(Interval, _services.Runtime.Time, _stopping.Token);
        }
    }

    private void Expire()
    {
        Group[] watched;
        lock (_lock)
        {
            // Whoever begins to wait from here on puts its group in again.
            watched = [.. _watched];
            _watched.Clear();
        }

        foreach (var group in watched)
        {
            if (group.Expire(Now))
            {
                Watch(group);
            }
        }
    }

    private void TellAllCommitted()
    {
        Group[] told;
        lock (_lock)
        {
            told = [.. _committed];
            _committed.Clear();
        }

        foreach (var group in told)
        {
            group.TellCommitted();
        }
    }

    private void SendHeartbeats()
    {
        var now = Now;
        var groups = AllGroups();
        if (_services.Log.Failure is not null || groups.Any(group => group.HasHung(now, Ticks(_lease))))
        {
            // A primary whose log makes no progress lets its leases lapse (PROTOCOL.md, 19).
            return;
        }

        PeerLink[] links;
        lock (_lock)
        {
            links = [.. _dialled.Values];
        }

        foreach (var link in links)
        {
            if (link.Lease.LastSentAt > now - Ticks(_lease / HeartbeatsPerLease) && link.Lease.AnsweredAfter(0) is not null)
            {
                continue;
            }

            if (groups.Any(group => group.FeedOf(link) is not null))
            {
                var number = link.Lease.Send(now);
                link.Say(FrameType.Heartbeat, frame =>
                {
                    frame.Put(number);
                    frame.Put((uint)_lease.TotalMilliseconds);
                });
            }
        }
    }

    /// <summary>Where disks are followed heartbeats come, and answers to them: a host that is stopped, or cut off, sends neither.</summary>
    private void BreakSilent()
    {
        PeerLink[] links;
        lock (_lock)
        {
            links = [.. _dialled.Values, .. _peers.Values.Where(peer => peer.Link is not null).Select(peer => peer.Link!)];
        }

        var (now, groups) = (Now, AllGroups());
        foreach (var link in links)
        {
            var isUsed = groups.Any(group => link.IsDialler
                ? group.Following is { IsAgreed: true } following && following.Link == link : group.FeedOf(link) is not null);
            if (!isUsed || link.ReceivedBytes != link.Seen.Received)
            {
                link.Seen = (link.ReceivedBytes, now);
            }
            else if (now - link.Seen.At > Ticks(_lease * SilentLeases))
            {
                TellOnce($"silent {link.PeerHost}", "link-silent", $"host {link.PeerHost} says nothing any more: its link is broken off");
                link.Break();
            }
        }
    }

    /// <summary>One line for each thing that went wrong, and not again before a minute has passed.</summary>
    private void TellOnce(string what, string code, string message, EventLevel level = EventLevel.Warning)
    {
        lock (_lock)
        {
            var now = Now;
            if (_told.TryGetValue(what, out var last) && now - last < Ticks(TimeSpan.FromMinutes(1)))
            {
                return;
            }

            if (_told.Count >= ToldMax)
            {
                _told.Clear();
            }

            _told[what] = now;
        }

        Tell(level, code, message);
    }
}
