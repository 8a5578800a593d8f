using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>New views: a primary that restarted, hosts that join and leave, the right to write that goes elsewhere.</content>
public sealed partial class ReplicationHub
{
    private static readonly TimeSpan AskPatience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan CandidacyRetry = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan MovePatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan MovePoll = TimeSpan.FromMilliseconds(5);

    /// <summary>On the primary: a host may copy the disk, and is named in a new view once it has caught up. Returns at once.</summary>
    public ValueTask AddReplicaAsync(Id160 disk, Replica replica, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var group = FindGroup(disk);
        if (group is null)
        {
            // It was on this host alone.
            var here = _services.Disks.ById(disk) ?? throw new RefusalException(Refusal.NotFound, $"disk {disk} is not here");
            if (here.IsReadOnly)
            {
                throw new RefusalException(Refusal.ReadOnly, $"this host is not the primary of disk {disk}");
            }

            var (head, view) = here.Locked(state => (state.Head, state.Head.View!));
            group = AddGroup(disk, here, GroupRole.Primary);
            group.Restore([new(view.Lsn, view.Ballot, view.Body.Replicas)], head.Lsn);
            group.NoteDurable(here.DurableHere.Lsn);
            group.Open();
        }

        RequirePrimary(group);
        if (group.Replicas.FirstOrDefault(known => known.Host == replica.Host) is { } named)
        {
            throw new RefusalException(
                Refusal.Conflict, $"host {replica.Host} holds disk {disk} already, on device {named.Device}");
        }

        group.AddJoining(replica);
        return ValueTask.CompletedTask;
    }

    /// <summary>On the primary: a view without that host, committed when it returns; or it stops joining.</summary>
    public async ValueTask RemoveReplicaAsync(Id160 disk, Id160 host, CancellationToken cancellation)
    {
        var group = RequirePrimary(FindGroup(disk)
            ?? throw new RefusalException(Refusal.NotFound, $"disk {disk} is not here, or on this host alone"));
        if (group.GiveUpJoining(host))
        {
            return;
        }

        if (host == HostId)
        {
            throw new RefusalException(Refusal.Conflict, "this host is the disk's primary: move the disk first");
        }

        if (group.Replicas.All(replica => replica.Host != host))
        {
            return;
        }

        await ChangeAsync(group, [.. group.Replicas.Where(replica => replica.Host != host)], cancellation);
    }

    /// <summary>On the primary: hands the right to write over (PROTOCOL.md, 20); the new view is here when it returns.</summary>
    public async ValueTask MoveAsync(Id160 disk, Id160 to, CancellationToken cancellation)
    {
        var group = RequirePrimary(FindGroup(disk)
            ?? throw new RefusalException(Refusal.NotFound, $"disk {disk} is not here, or on this host alone"));
        var target = group.Replicas.FirstOrDefault(replica => replica.Host == to && !replica.Witness)
            ?? throw new RefusalException(Refusal.Conflict, $"host {to} does not hold disk {disk}");
        if (to == HostId)
        {
            return;
        }

        if (group.LinkOfLive(to) is not { } link)
        {
            throw new RefusalException(Refusal.Conflict, $"host {target.Host} is not in step with disk {disk}: wait until it is");
        }

        if (!group.TryBeginChange())
        {
            throw new RefusalException(Refusal.Unavailable, "the disk's view is being changed: try again in a moment");
        }

        try
        {
            await HandOverAsync(group, link, to, cancellation);
        }
        finally
        {
            group.EndChange();
        }
    }

    /// <summary>A primary was refused for a higher ballot, or does not know whether it still is one.</summary>
    internal void BecomeCandidate(Group group) => Spawn(() => RunCandidateAsync(group));

    internal Ballot PromisedOf(Id160 disk) => _services.Remembered.Of(disk).Promised;

    internal ValueTask<IoStatus> RememberViewAsync(Id160 disk, ViewMark mark) => _services.Remembered.NoteViewAsync(_services, disk, mark);

    private static Group RequirePrimary(Group group) => group.Role == GroupRole.Primary ? group
        : throw new RefusalException(Refusal.ReadOnly, $"this host is not the primary of disk {group.Id}: host {group.PrimaryHost} is");

    private async Task HandOverAsync(Group group, PeerLink link, Id160 to, CancellationToken cancellation)
    {
        var disk = group.Disk!;
        group.BeginMove();
        var isKnown = true;
        try
        {
            // What was appended before is everywhere before the other host goes on from it.
            var lsn = disk.Newest.Lsn;
            group.WantDurable(lsn);
            var status = await disk.FlushLogAsync();
            status = status == IoStatus.Ok
                ? await group.CommittedAsync(lsn).AsTask().WaitAsync(MovePatience, _services.Runtime.Time, cancellation) : status;
            var (head, secret) = disk.Locked(state => (state.Head, state.Secret));
            if (status != IoStatus.Ok || head.Lsn != lsn)
            {
                throw new RefusalException(
                    Refusal.Unavailable, $"what was written last could not be made durable on the others ({status})");
            }

            // A majority has it; the one that goes on must, too.
            for (var tries = 0; group.DurableOn(to) < lsn; tries++)
            {
                if (tries * MovePoll > MovePatience)
                {
                    throw new RefusalException(
                        Refusal.Unavailable, $"host {to} is at LSN {group.DurableOn(to)}, not {lsn}: wait until it is in step");
                }

                await Task.Delay(MovePoll, _services.Runtime.Time, cancellation);
            }

            isKnown = false;
            var answer = await AskWithinAsync(MovePatience, link, LinkRequest.HandOver, frame =>
            {
                frame.Put(group.Id);
                frame.Put(head.Lsn);
                frame.Put(head.Id);
                frame.Put(secret);
            });
            isKnown = true;
            if (answer[0] != (byte)LinkAnswer.Ok)
            {
                throw new RefusalException(Refusal.Conflict, $"host {to} does not take it over: {ReadText(answer)}");
            }

            group.MoveTo(to);
            Tell(EventLevel.Info, "moved", $"disk {group.Id}: its primary is host {to} now");
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            throw new RefusalException(Refusal.Unavailable, $"host {to} did not answer: {e.Message}");
        }
        finally
        {
            if (!isKnown)
            {
                // Whether the other host has gone on is not known: the others must be asked (PROTOCOL.md, 20).
                group.Doubt();
                BecomeCandidate(group);
            }
            else if (group.Role == GroupRole.Primary)
            {
                group.EndMove();
            }
        }
    }

    /// <summary>The other end of a hand-over: the right to write comes here.</summary>
    private async ValueTask<string?> TakeOverAsync(Group group, ulong lsn, Id160 version, Id160 secret)
    {
        if (group.Disk is not { } disk || group.Role != GroupRole.Replica)
        {
            return "this host holds no copy of the disk";
        }

        var head = disk.Head;
        if (disk.DurableHere != new DiskVersion(lsn, version) || head.Lsn != lsn)
        {
            return $"this host is at LSN {disk.DurableHere.Lsn}, not {lsn}";
        }

        if (EntryHashes.ViewOf(secret) != head.View!.Hash)
        {
            return "the secret is not that of the view in force";
        }

        disk.TakeSecret(secret);
        return await AppendViewAsync(group, disk.Head.View!.Body.Replicas) is var status and not IoStatus.Ok
            ? $"this host can't open a view ({status})" : null;
    }

    /// <summary>Appends a view of this host's, durable here when it returns.</summary>
    private async ValueTask<IoStatus> AppendViewAsync(Group group, IReadOnlyList<Replica> replicas, ulong epoch = 0)
    {
        var disk = group.Disk!;
        epoch = Math.Max(epoch, Math.Max(group.Promised.Epoch, group.Higher.Epoch) + 1);
        var outcome = await disk.AppendWhenRoomAsync(() => disk.Appender.TryAppendView(epoch, replicas), CancellationToken.None);
        return outcome.Status == IoStatus.Ok ? await disk.FlushLogAsync() : outcome.Status;
    }

    private void JoinWhereReady()
    {
        foreach (var group in AllGroups())
        {
            if (group.Role == GroupRole.Primary && group.ReadyToJoin() is [var first, ..])
            {
                Spawn(() => JoinAsync(group, first));
            }
        }
    }

    private async Task JoinAsync(Group group, Replica replica)
    {
        try
        {
            await ChangeAsync(group, [.. group.Replicas, replica], _stopping.Token);
            Tell(EventLevel.Info, "joined", $"disk {group.Id}: host {replica.Host} holds it now");
        }
        catch (RefusalException refused)
        {
            // It is tried again: the host is still joining.
            group.Reason = refused.Message;
        }
    }

    /// <summary>
    /// A view with other replicas, committed in the old set and the new; then one more with the same, so that a host that restarts sees
    /// in the chain
    /// that the change was (PROTOCOL.md, 9).
    /// </summary>
    private async Task ChangeAsync(Group group, IReadOnlyList<Replica> replicas, CancellationToken cancellation)
    {
        if (!group.TryBeginChange())
        {
            throw new RefusalException(Refusal.Unavailable, "the disk's view is being changed: try again in a moment");
        }

        try
        {
            for (var view = 0; view < 2; view++)
            {
                var status = group.MayAppend ? await AppendViewAsync(group, replicas) : IoStatus.ReadOnly;
                status = status == IoStatus.Ok
                    ? await group.ViewCommittedAsync().AsTask().WaitAsync(cancellation) : status;
                if (status != IoStatus.Ok)
                {
                    throw new RefusalException(Refusal.Unavailable, $"the view could not be committed ({status})");
                }
            }
        }
        finally
        {
            group.EndChange();
            Changed();
        }
    }

    private static string ReadText(byte[] answer)
    {
        var reader = new FrameReader(answer.AsSpan(1));
        return reader.IsEmpty ? "" : reader.Text();
    }
}
