using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// All that this host has to do with others: the links to them, and a group for each disk that lies on several. Any thread.
/// Refusals are <see cref="RefusalException"/>, one line each.
/// </summary>
public sealed partial class ReplicationHub : IAsyncDisposable
{
    /// <summary>How long requests wait for too few replicas unless the disk says otherwise.</summary>
    public static readonly TimeSpan DefaultPatience = Disk.DefaultPatience;

    /// <summary>Memory for the newest entries of all disks together.</summary>
    private const long TailBytesMax = 64 << 20;

    /// <summary>What a lease and a promise allow clocks to differ by (PROTOCOL.md, 18).</summary>
    private const double Drift = 1.01;

    private readonly DiskServices _services;
    private readonly IPeerDialer? _dialer;
    private readonly TimeSpan _lease;
    private readonly long _startedAt;
    private readonly Lock _lock = new();
    private readonly Dictionary<Id160, Group> _groups = [];
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Task> _running = [];
    private ulong _revision = 1;
    private bool _isTicking;

    internal ReplicationHub(DiskServices services, IPeerDialer? dialer, TimeSpan lease)
    {
        _services = services;
        _dialer = dialer;
        _lease = lease;
        _startedAt = Now;
        _stop = _stopping.Token;
        services.NoteChange = Changed;
        services.Healer = this;
    }

    /// <summary>Changes whenever <see cref="GetGroups"/> would show other views, roles or states; not with each entry.</summary>
    public ulong Revision => Volatile.Read(ref _revision);

    /// <summary>True while a replica of a disk whose primary this host is is away or behind.</summary>
    public bool IsUnsettled => AllGroups().Any(group => group.IsUnsettled);

    /// <summary>What came of replication since the engine was opened.</summary>
    public ReplicationCounters Counters { get; } = new();

    internal Id160 HostId => _services.HostId;

    internal Id160 DeviceId => _services.DeviceId;

    internal PlantedBug Planted => _services.Runtime.Planted;

    /// <summary>How long a primary may serve after it sent the heartbeats that a majority answered.</summary>
    internal TimeSpan Lease => _lease;

    internal TailBudget TailBudget { get; } = new(TailBytesMax);

    internal CancellationToken Stopping => _stopping.Token;

    internal long Now => _services.Runtime.Time.GetTimestamp();

    internal long Ticks(TimeSpan span) => (long)(span.TotalSeconds * _services.Runtime.Time.TimestampFrequency);

    internal double Seconds(long ticks) => (double)ticks / _services.Runtime.Time.TimestampFrequency;

    /// <summary>
    /// Takes the first entry of a disk that this host is to hold, durable when it returns; with the view's secret where this host is its
    /// primary. Taken already: nothing happens. Refused: Invalid, Conflict (the entry does not name this host and device, another entry),
    /// NoSpace, Unavailable.
    /// </summary>
    public async ValueTask CreateAsync(ReadOnlyMemory<byte> firstEntry, Id160? secret, CancellationToken cancellation)
    {
        if (!Ingest.TryProve(firstEntry.Span, out var fields, out var body, out var reason))
        {
            throw new RefusalException(Refusal.Invalid, reason);
        }

        if (fields.Lsn != 1 || body?.View is not { } view
            || Chain.ChainRules.Check(default, fields, body) is not Chain.ChainError.None)
        {
            throw new RefusalException(Refusal.Invalid, $"LSN {fields.Lsn} of disk {fields.Disk} is no first entry of a disk");
        }

        var replica = view.Replicas.FirstOrDefault(replica => replica.Host == HostId && replica.Device == DeviceId)
            ?? throw new RefusalException(
                Refusal.Conflict, $"the entry does not name this host, {HostId}, with its device, {DeviceId}");
        if (view.Primary == HostId != secret is not null || (secret is { } given && EntryHashes.ViewOf(given) != view.View))
        {
            throw new RefusalException(Refusal.Invalid, "the secret of the view goes to its primary, and must be the one of the view");
        }

        if (_services.Disks.ById(fields.Disk) is not null || FindGroup(fields.Disk) is { Role: not GroupRole.Joining })
        {
            return;
        }

        var group = AddGroup(fields.Disk, null, GroupRole.Joining);
        if (replica.Witness)
        {
            var refusal = await group.TakeViewAsync(view, new ViewMark(view.Ballot, fields.Lsn, fields.Id, fields.Previous));
            RemoveIf(group, refusal is not null);
            Changed();
            if (refusal is not null)
            {
                throw new RefusalException(Refusal.Unavailable, refusal);
            }

            return;
        }

        var disk = group.DiskOrNew(_services);
        var outcome = await disk.AppendWhenRoomAsync(() => disk.TakeFirst(firstEntry.Span, fields, body, secret), cancellation);
        var status = outcome.Status == IoStatus.Ok ? await _services.Log.FlushAsync() : outcome.Status;
        RemoveIf(group, outcome.Status != IoStatus.Ok);
        DiskRanges.RequireOk(status, disk);
        if (secret is not null)
        {
            group.Open();
        }

        Changed();
    }

    /// <summary>This host is to hold a disk, and has it from that host: from nothing, or from where it is.</summary>
    public ValueTask FollowAsync(Id160 disk, Id160 primary, bool asWitness, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (primary == HostId)
        {
            throw new RefusalException(Refusal.Invalid, "this host can't have the disk from itself");
        }

        var group = FindGroup(disk);
        if (group is { Role: GroupRole.Primary } || (_services.Disks.ById(disk) is { } here && group is null && !here.IsReadOnly))
        {
            throw new RefusalException(Refusal.Conflict, $"this host is the primary of disk {disk}");
        }

        group ??= AddGroup(disk, _services.Disks.ById(disk), asWitness ? GroupRole.Witness : GroupRole.Joining);
        group.ToldPrimary = primary;
        group.ToldAt = Now;
        group.BecomeJoining();
        group.RetryAt = 0;
        Changed();
        return ValueTask.CompletedTask;
    }

    /// <summary>Drops this host's copy. Refused (Conflict) while the view names this host.</summary>
    public async ValueTask DropAsync(Id160 disk, CancellationToken cancellation)
    {
        var group = FindGroup(disk)
            ?? throw new RefusalException(Refusal.NotFound, $"no copy of disk {disk} that others hold too is here");
        if (group.Role is not (GroupRole.Removed or GroupRole.Joining)
            && !(group.Disk is { Newest.Lsn: 1 } && group.Committed == 0))
        {
            throw new RefusalException(Refusal.Conflict, $"the view names this host as one that holds disk {disk}: remove it there first");
        }

        StopFollowing(group, "its copy is dropped");
        group.End(IoStatus.Stopped);
        if (group.Disk is { } copy)
        {
            await _services.DropAsync(copy, cancellation);
        }

        lock (_lock)
        {
            _groups.Remove(disk);
        }

        Changed();
    }

    /// <summary>Every group, in the order of ids.</summary>
    public IReadOnlyList<GroupStatus> GetGroups() => [.. AllGroups().OrderBy(group => group.Id).Select(group => group.GetStatus())];

    /// <summary>One group; null for a disk on one host, a mirror, or one that is not here.</summary>
    public GroupStatus? GetGroup(Id160 disk) => FindGroup(disk)?.GetStatus();

    /// <summary>What is there already becomes groups, once, before anybody is served.</summary>
    internal async Task StartAsync()
    {
        foreach (var disk in _services.Disks.Live())
        {
            await RestoreAsync(disk);
        }

        foreach (var known in _services.Remembered.WithViews())
        {
            if (FindGroup(known.Disk) is null && known.DroppedUse == 0)
            {
                AddGroup(known.Disk, null, GroupRole.Witness).RestoreWitnessed(known.View);
            }
        }
    }

    /// <summary>Ends links, loops, and whoever waits. Once.</summary>
    public async ValueTask DisposeAsync()
    {
        EndLoops();
        _services.Log.RoomMayHaveChanged();
        foreach (var group in AllGroups())
        {
            group.End(IoStatus.Stopped);
        }

        Task[] running;
        lock (_lock)
        {
            running = [.. _running];
        }

        foreach (var loop in running)
        {
            await loop;
        }

        await EndFetchesAsync();
        _stopping.Dispose();
    }

    private void EndLoops() => _stopping.Cancel();

    internal void Changed() => Interlocked.Increment(ref _revision);

    internal Group? FindGroup(Id160 disk)
    {
        lock (_lock)
        {
            return _groups.GetValueOrDefault(disk);
        }
    }

    internal IReadOnlyList<Group> AllGroups()
    {
        lock (_lock)
        {
            return [.. _groups.Values];
        }
    }

    /// <summary>Starts a loop that ends with the hub.</summary>
    internal void Spawn(Func<Task> loop)
    {
        if (_stopping.IsCancellationRequested)
        {
            return;
        }

        var task = _services.Runtime.Spawn(async () =>
        {
            try
            {
                await loop();
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                // The hub stops.
                Counters.AddStopped();
            }
            catch (Exception defect)
            {
                // Whoever started the loop hears of it too; what it did for a disk is not done any more, and that must be seen.
                Tell(EventLevel.Error, "replication-died", $"a loop of replication ended by an error: {defect}");
                throw;
            }
        });
        lock (_lock)
        {
            _running.RemoveAll(running => running.IsCompletedSuccessfully);
            _running.Add(task);
        }
    }

    internal void Tell(EventLevel level, string code, string message) =>
        _services.Runtime.Report(new EngineEvent(level, code, message));

    private Group AddGroup(Id160 id, Disk? disk, GroupRole role)
    {
        Group group;
        lock (_lock)
        {
            if (_groups.TryGetValue(id, out var known))
            {
                return known;
            }

            _groups.Add(id, group = new Group(this, id, disk, role));
        }

        if (disk is not null)
        {
            disk.Group = group;
        }

        Tick();
        return group;
    }

    private void RemoveIf(Group group, bool isNothing)
    {
        if (isNothing)
        {
            lock (_lock)
            {
                _groups.Remove(group.Id);
            }
        }
    }

    private async Task RestoreAsync(Disk disk)
    {
        var (head, marks) = disk.Locked(state => (state.Head, state.Views.TakeLast(2).ToArray()));
        var inForce = head.View!.Body;
        var named = Quorum.Names(inForce.Replicas, HostId, DeviceId);
        if (!named)
        {
            if (await disk.WasNamedAsync(HostId, DeviceId))
            {
                AddGroup(disk.Id, disk, GroupRole.Removed).Restore([new(head.View.Lsn, inForce.Ballot, inForce.Replicas)], head.Lsn);
            }

            return;
        }

        var views = new List<GroupView>();
        if (marks.Length == 2 && await disk.ReadViewAsync(marks[0].Lsn) is { } before
            && !before.Replicas.Select(replica => (replica.Host, replica.Device)).ToHashSet()
                .SetEquals(inForce.Replicas.Select(replica => (replica.Host, replica.Device))))
        {
            // Whether the newest view was committed is not known: until it is, the one before has its say.
            views.Add(new GroupView(marks[0].Lsn, before.Ballot, before.Replicas));
        }

        if (inForce.Replicas.Count == 1 && views.Count == 0)
        {
            // It is on this host alone, and nobody else is to be asked.
            return;
        }

        views.Add(new GroupView(head.View.Lsn, inForce.Ballot, inForce.Replicas));
        // With what was missed old views come again, which may name this host: what counts is whether their secret is here.
        var isPrimary = inForce.Primary == HostId && disk.Locked(state => EntryHashes.ViewOf(state.Secret) == inForce.View);
        var group = AddGroup(disk.Id, disk, isPrimary ? GroupRole.Primary : GroupRole.Replica);
        group.Restore(views, head.Lsn);
        if (await disk.ReadEntryAsync(head.View.Lsn) is { } entry)
        {
            group.SetViewEntry(entry);
        }

        if (isPrimary)
        {
            Spawn(() => RunCandidateAsync(group));
        }
    }
}

/// <summary>What replication has done, since the engine was opened. Any thread.</summary>
public sealed class ReplicationCounters
{
    private long _sent;
    private long _received;
    private long _healed;
    private long _stopped;

    /// <summary>Bytes over all links.</summary>
    public long SentBytes => Volatile.Read(ref _sent);

    public long ReceivedBytes => Volatile.Read(ref _received);

    /// <summary>Pages that were damaged here, fetched from another host, and written again.</summary>
    public long HealedPages => Volatile.Read(ref _healed);

    internal void AddLink(long sent, long received)
    {
        Interlocked.Add(ref _sent, sent);
        Interlocked.Add(ref _received, received);
    }

    internal void AddHealed(int pages) => Interlocked.Add(ref _healed, pages);

    internal void AddStopped() => Interlocked.Increment(ref _stopped);
}
