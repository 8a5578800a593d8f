using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>
/// A primary that restarted runs as a candidate (PROTOCOL.md, 5 to 8): a ballot of its own, durable; promises from a majority; the
/// newest chain among them; then its view.
/// </content>
public sealed partial class ReplicationHub
{
    private async Task RunCandidateAsync(Group group)
    {
        if (!group.TryBecomeCandidate())
        {
            return;
        }

        try
        {
            // A restarted host promises nobody, itself included, for the longest lease.
            await UntilAsync(_startedAt + Ticks(_lease * Drift));
            while (group is { Role: GroupRole.Primary, IsOpen: false } && !await TryOpenAsync(group))
            {
                await Task.Delay(CandidacyRetry + Delay(1), _services.Runtime.Time, _stopping.Token);
            }
        }
        finally
        {
            group.EndCandidacy();
        }
    }

    private async Task<bool> TryOpenAsync(Group group)
    {
        var disk = group.Disk!;
        var ballot = new Ballot(Math.Max(group.Promised.Epoch, group.Higher.Epoch) + 1, HostId);
        var mine = group.Promised;
        if (mine.Primary == HostId && mine > group.Ballot && mine > group.Higher && group.OwnBallot == mine)
        {
            // Asked for before, by this process, and not answered by enough.
            ballot = mine;
        }

        var own = await disk.PromiseAsync(ballot, _stopping.Token);
        if (!own.Granted)
        {
            group.Reason = $"its own device does not promise {ballot}: it has promised {own.Promised}";
            return false;
        }

        group.OwnBallot = ballot;
        var sets = group.Sets;
        var others = sets.SelectMany(set => set).Where(replica => replica.Host != HostId).DistinctBy(replica => replica.Host).ToArray();
        var asked = await Task.WhenAll(others.Select(replica => AskPromiseAsync(group, replica, ballot)));
        var granted = others.Zip(asked).Where(pair => pair.Second is { Granted: true })
            .ToDictionary(pair => pair.First.Host, pair => pair.Second!.Value);
        foreach (var refused in asked.Where(answer => answer is { Granted: false }))
        {
            group.NoteRefusal(refused!.Value.Promised);
        }

        if (sets.Any(set => set.Count(replica => replica.Host == HostId || granted.ContainsKey(replica.Host))
            < Quorum.MajorityOf(set.Count)))
        {
            group.Reason = $"this host restarted, and {granted.Count} of {others.Length} other replicas promise that it may go on: "
                + "it asks again until a majority does";
            return false;
        }

        return await OpenOnNewestAsync(group, own, granted, ballot);
    }

    private async Task<bool> OpenOnNewestAsync(
        Group group, PromiseAnswer own, Dictionary<Id160, PromiseAnswer> granted, Ballot ballot)
    {
        var disk = group.Disk!;
        var witnesses = group.Replicas.Where(replica => replica.Witness).Select(replica => replica.Host).ToHashSet();
        var newest = granted.OrderByDescending(pair => pair.Value.View).ThenByDescending(pair => pair.Value.Lsn).FirstOrDefault();
        if (newest.Value.View > own.View && witnesses.Contains(newest.Key))
        {
            group.Reason = $"a view of ballot {newest.Value.View} is known to a witness, and its data to nobody within reach: "
                + "it waits for who has it";
            return false;
        }

        if (newest.Value.View > own.View
            || (newest.Value.View == own.View && newest.Value.Lsn > own.Lsn && !witnesses.Contains(newest.Key)))
        {
            if (await CopyAsync(group, newest.Key, newest.Value.Lsn, ballot) is { } why)
            {
                group.Reason = $"host {newest.Key} has more of it, up to LSN {newest.Value.Lsn}, which could not be copied: {why}";
                return false;
            }
        }

        if (group.Role != GroupRole.Primary)
        {
            // The newest view is another host's.
            return true;
        }

        var status = await AppendViewAsync(group, group.Replicas, ballot.Epoch);
        group.Reason = status == IoStatus.Ok ? null : $"its new view could not be appended ({status})";
        if (status == IoStatus.Ok)
        {
            Tell(
                EventLevel.Info, "view-opened",
                $"disk {group.Id}: this host goes on in a view of ballot {group.Ballot}, disk at LSN {disk.Newest.Lsn}");
            group.Advance();
            Changed();
        }

        return status == IoStatus.Ok;
    }

    private async Task<PromiseAnswer?> AskPromiseAsync(Group group, Replica replica, Ballot ballot)
    {
        try
        {
            var link = await LinkToAsync(replica.Host, null, _stopping.Token);
            var answer = await AskWithinAsync(AskPatience, link, LinkRequest.Promise, frame =>
            {
                frame.Put(group.Id);
                frame.Put(ballot);
            });
            if (answer[0] != (byte)LinkAnswer.Ok || link.PeerDevice != replica.Device)
            {
                return null;
            }

            var reader = new FrameReader(answer.AsSpan(1));
            return new PromiseAnswer(reader.Bool(), reader.Ballot(), reader.Ballot(), reader.UInt64(), reader.Id());
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return null;
        }
    }

    /// <summary>The other end: whether this host may promise, and its promise.</summary>
    private async ValueTask<(PromiseAnswer? Answer, string Reason)> PromiseAsync(Id160 id, Ballot ballot)
    {
        if (FindGroup(id) is not { } group)
        {
            return (null, "the disk is not here");
        }

        var now = Now;
        if (now < _startedAt + Ticks(_lease * Drift))
        {
            return (null, "this host restarted, and promises nobody before the longest lease is over");
        }

        // A group's lock and this one are never held together.
        var primary = group.Ballot.Primary;
        lock (_lock)
        {
            // Who holds the lease may run above itself: nobody else answers clients meanwhile.
            if (primary != ballot.Primary && _restrained.GetValueOrDefault(primary) > now)
            {
                return (null, $"host {primary} has a lease");
            }
        }

        if (_services.Log.Failure is not null)
        {
            return (null, "this host's device takes nothing more");
        }

        if (!group.IsWitness && !Quorum.Names(group.Replicas, HostId, DeviceId))
        {
            return (null, "the view here does not name this host and device");
        }

        var answer = group.Disk is { } disk ? await disk.PromiseAsync(ballot, _stopping.Token)
            : await _services.Remembered.PromiseAsync(_services, id, ballot);
        if (answer.Granted)
        {
            // From now on nothing of a lower ballot is taken: whom to follow is another question.
            OnRole(group);
        }

        return (answer, "");
    }

    /// <summary>Copies what a promiser has more, entry by entry; null when all of it is here.</summary>
    private async Task<string?> CopyAsync(Group group, Id160 host, ulong upTo, Ballot ballot)
    {
        try
        {
            var link = await LinkToAsync(host, null, _stopping.Token);
            var following = new Following(this, group, link, _services);
            var scratch = new byte[link.Scratch.Length];
            while (group.Disk!.Newest.Lsn < upTo)
            {
                var after = group.Disk.Newest.Lsn;
                var answer = await AskWithinAsync(
                    AskPatience * 5,
                    link,
                    LinkRequest.Entries,
                    frame =>
                    {
                        frame.Put(group.Id);
                        frame.Put(after);
                    },
                    PieceMax);
                if (answer[0] != (byte)LinkAnswer.Ok)
                {
                    return ReadText(answer);
                }

                if (await following.TakeCopiedAsync(answer.AsMemory(1), ballot, scratch) is { } refused)
                {
                    return refused;
                }

                if (group.Disk.Newest.Lsn == after)
                {
                    return "it sent nothing";
                }
            }

            var status = await group.Disk.FlushLogAsync();
            return status == IoStatus.Ok ? null : $"this host's device takes nothing more ({status})";
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return e.Message;
        }
    }

    private async Task UntilAsync(long at)
    {
        var left = Seconds(at - Now);
        if (left > 0)
        {
            await Task.Delay(TimeSpan.FromSeconds(left), _services.Runtime.Time, _stopping.Token);
        }
    }
}
