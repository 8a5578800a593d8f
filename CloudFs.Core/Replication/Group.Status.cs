using CloudFs.Core.Format;

namespace CloudFs.Core.Replication;

/// <content>How it stands, for people and for those who look after disks.</content>
internal sealed partial class Group
{
    /// <summary>True on a primary that has a replica which is not in step.</summary>
    public bool IsUnsettled
    {
        get
        {
            lock (_lock)
            {
                return Role == GroupRole.Primary && _members.Values.Any(member =>
                    member.Replica.Host != _hub.HostId && member is not { IsAttached: true, Feed.Pump: null });
            }
        }
    }

    public GroupStatus GetStatus()
    {
        var disk = Disk;
        var status = disk is { IsDeleted: false } && disk.DurableHere.Lsn > 0 ? disk.GetStatus() : null;
        var (role, state) = (Role, GetState(out var reason));
        lock (_lock)
        {
            return new GroupStatus
            {
                Disk = Id,
                Name = status?.Name,
                SizeBytes = status?.SizeBytes ?? 0,
                Durability = status?.Durability ?? Durability.Flush,
                Role = role,
                State = state,
                Reason = reason,
                Ballot = _views.Count == 0 ? default : _views[^1].Ballot,
                Durable = status?.Durable ?? default,
                Committed = _committed,
                LiveBytes = status?.LiveBytes ?? 0,
                Replicas = [.. _members.Values.OrderBy(member => member.IsJoining).ThenBy(member => member.Replica.Host).Select(Describe)],
            };
        }
    }

    private GroupReplica Describe(Member member)
    {
        var now = _hub.Now;
        if (member.Replica.Host == _hub.HostId)
        {
            var own = Role == GroupRole.Primary ? ReplicaState.Primary : ReplicaState.Unknown;
            return new GroupReplica(member.Replica, member.IsJoining, own) { Lsn = _durable };
        }

        if (Role != GroupRole.Primary)
        {
            return new GroupReplica(member.Replica, member.IsJoining, ReplicaState.Unknown);
        }

        var feed = member.IsAttached ? member.Feed : null;
        var lag = _newest > member.Durable && !member.Replica.Witness ? _newest - member.Durable : 0;
        var isSilent = lag > 0 && feed is not null && now - member.LastProgress > _hub.Ticks(SilenceMax);
        var state = feed is null ? member.Reason is not null && member.Feed is null ? ReplicaState.Refused : ReplicaState.Away
            : isSilent ? ReplicaState.Away
            : feed.Pump is not { } pump ? ReplicaState.Live
            : pump.IsState ? ReplicaState.Copying : ReplicaState.CatchingUp;
        var began = feed is null ? 0 : feed.First;
        var done = feed?.Pump is null || _newest < began ? (double?)null
            : Math.Clamp((double)(member.Durable - (began - 1)) / (_newest - (began - 1)), 0, 1);
        var took = feed is null ? 0 : _hub.Seconds(now - feed.Began);
        return new GroupReplica(member.Replica, member.IsJoining, state)
        {
            Reason = isSilent ? "it acknowledges nothing" : feed is null ? member.Reason ?? "it is not connected" : null,
            Lsn = member.Durable,
            LagEntries = lag,
            LagBytes = lag == 0 ? 0 : (ulong)Math.Max(feed?.UnacknowledgedBytes ?? 0, 0),
            Lag = lag == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(_hub.Seconds(now - member.LastLive)),
            Away = feed is null ? TimeSpan.FromSeconds(_hub.Seconds(now - member.LastHeard))
                : isSilent ? TimeSpan.FromSeconds(_hub.Seconds(now - member.LastProgress)) : TimeSpan.Zero,
            Progress = done,
            Left = done is > 0.001 ? TimeSpan.FromSeconds(took * (1 - done.Value) / done.Value) : null,
            SentBytes = (ulong)(feed?.SentBytes ?? 0),
        };
    }

    private GroupState GetState(out string? reason)
    {
        reason = Reason;
        lock (_lock)
        {
            if (Role != GroupRole.Primary)
            {
                return FollowState;
            }

            if (_isMoving)
            {
                return GroupState.Moving;
            }

            if (!_isOpen)
            {
                reason ??= "this host restarted, and asks the others before it goes on";
                return GroupState.Candidate;
            }

            if (_isServing && HasLease())
            {
                reason = null;
                return GroupState.Serving;
            }

            reason ??= $"{_members.Values.Count(member => member.IsAttached)} of {_members.Count - 1} other replicas are within reach, "
                + "and a majority of all must be: requests wait until one is back";
            return GroupState.Waiting;
        }
    }

    /// <summary>How following stands, where this host is not the primary.</summary>
    public GroupState FollowState { get; set; } = GroupState.Disconnected;
}
