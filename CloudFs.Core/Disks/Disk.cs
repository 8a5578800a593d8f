using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// One disk: its chain, its contents, its history. All methods may be called from any thread, concurrently.
/// Offsets and lengths are bytes. A cancelled caller stops waiting; what it asked for may still happen.
/// </summary>
public sealed partial class Disk : IDurableSink
{
    private readonly DiskServices _services;
    private readonly DiskState _state;
    private readonly Lock _gate = new();
    private readonly DiskAppender _appender;
    private readonly DiskReader _reader;
    private readonly AsyncBroadcast _durableChanged = new();
    private DiskVersion _durable;
    private DiskVersion _shown;
    private volatile bool _stopped;
    private volatile IDiskGroup? _group;

    /// <summary>A disk over what recovery found, all of it durable; or over nothing, to be created.</summary>
    internal Disk(DiskServices services, DiskState state)
    {
        _services = services;
        _state = state;
        _durable = _shown = new DiskVersion(state.Head.Lsn, state.Head.Id);
        _appender = new DiskAppender(services, state, _gate, this);
        _reader = new DiskReader(services, state, _gate);
    }

    /// <summary>The base id.</summary>
    public Id160 Id => Locked(state => state.Head.Disk);

    /// <summary>The name, or null. Changes with a rename.</summary>
    public string? Name => Locked(state => state.Head.Attributes?.Name);

    /// <summary>The size in bytes, as of now: it may grow while attached.</summary>
    public ulong SizeBytes => Locked(state => state.Head.Attributes!.Size);

    /// <summary>True when this host can't extend the disk.</summary>
    public bool IsReadOnly =>
        Locked(state => state.Suspect is not null || state.IsCopying || !state.IsPrimary(_services.HostId, _services.DeviceId));

    /// <summary>True once deleted: everything answers <see cref="IoStatus.Deleted"/>.</summary>
    public bool IsDeleted => Locked(state => state.Head.Deleted || state.IsDropped);

    /// <summary>
    /// The newest version that is durable here, and may be shown: of several hosts' disks a view only once it is committed.
    /// </summary>
    public DiskVersion Durable
    {
        get
        {
            var group = _group;
            lock (_gate)
            {
                return group is not null && group.ShownUpTo < _durable.Lsn ? _shown : _durable;
            }
        }
    }

    /// <summary>The newest version, durable or not.</summary>
    public DiskVersion Newest => Locked(state => new DiskVersion(state.Head.Lsn, state.Head.Id));

    /// <summary>Completes when <see cref="Durable"/> changes, or the engine stops. Take it before looking.</summary>
    internal Task DurableChanged => _durableChanged.Task;

    internal bool IsStopped => _stopped;

    internal DiskAppender Appender => _appender;

    /// <summary>
    /// Reads sectors. Completes synchronously when nothing has to be waited for. Each page is checked; on anything but
    /// Ok the destination's contents are undefined and must not be sent.
    /// </summary>
    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var status = CheckRange(offset, (ulong)destination.Length);
        return status != IoStatus.Ok ? ValueTask.FromResult(status)
            : _group is { } group && NeedsLeave(group) ? ReadWithLeaveAsync(group, offset, destination, cancellation)
            : _reader.ReadAsync(offset / EntryLayout.SectorSize, destination);
    }

    /// <summary>Everything that was acknowledged before this call is durable when it completes with Ok.</summary>
    public ValueTask<IoStatus> FlushAsync(CancellationToken cancellation)
    {
        if (_group is { } group)
        {
            return new ValueTask<IoStatus>(FlushGroupAsync(group, isHere: false).AsTask().WaitAsync(cancellation));
        }

        var flush = _services.Log.FlushAsync();
        return flush.IsCompleted ? flush : new ValueTask<IoStatus>(flush.AsTask().WaitAsync(cancellation));
    }

    /// <summary>The same, waiting for the device on this thread where nobody else is at it: for who has nothing else to do.</summary>
    public ValueTask<IoStatus> FlushHereAsync() =>
        _group is { } group ? FlushGroupAsync(group, isHere: true) : _services.Log.FlushHereAsync();

    /// <summary>A flush is expected next: what it would write is written now, on this thread, where nobody else is at it.</summary>
    public ValueTask PrepareFlushAsync() => _services.Log.WriteHereAsync();

    /// <summary>
    /// Appends to <paramref name="into"/> what the range holds, in order and without gaps, adjoining runs of the same
    /// content merged, at most <paramref name="maxRanges"/> runs (so it may end before the range does).
    /// </summary>
    public ValueTask<IoStatus> DescribeAsync(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        var status = CheckRange(offset, length);
        return status == IoStatus.Ok
            ? _reader.DescribeAsync(offset, length, maxRanges, into)
            : ValueTask.FromResult(status);
    }

    /// <summary>
    /// A consistent view of a range: the newest version is made durable, and every byte read through the result is of
    /// that version. Any byte alignment. Memory is bounded by the caller's limit on <paramref name="length"/>.
    /// </summary>
    public async ValueTask<ConsistentRead> BeginConsistentReadAsync(
        ulong offset, ulong length, CancellationToken cancellation)
    {
        DiskVersion version;
        MappedExtent[]? extents;
        MapView view;
        if (_group is { } group && await group.ReadyAsync(cancellation) is var ready and not IoStatus.Ok)
        {
            return new ConsistentRead(ready, Newest, null, []);
        }

        do
        {
            lock (_gate)
            {
                version = new DiskVersion(_state.Head.Lsn, _state.Head.Id);
                var status = _state.Head.Deleted ? IoStatus.Deleted
                    : _state.IsCopying ? IoStatus.Unreachable
                    : offset > _state.Head.Attributes!.Size || length > _state.Head.Attributes.Size - offset
                        ? IoStatus.OutOfRange : IoStatus.Ok;
                if (status != IoStatus.Ok)
                {
                    return new ConsistentRead(status, version, null, []);
                }

                var end = (offset + length + EntryLayout.SectorSize - 1) / EntryLayout.SectorSize;
                view = _state.Map.View(offset / EntryLayout.SectorSize, end);
            }

            cancellation.ThrowIfCancellationRequested();
            extents = await _reader.ResolveAsync(view);
        }
        while (extents is null && _reader.IsOutdated(view));

        if (extents is null)
        {
            return new ConsistentRead(IoStatus.Damaged, version, null, []);
        }

        var flushed = await FlushAsync(cancellation);
        return new ConsistentRead(flushed, version, _reader, extents);
    }

    /// <summary>
    /// Opens the history after a point. Throws <see cref="RefusalException"/>: Gone, BeyondHead, or Conflict for a
    /// version that is not in this chain.
    /// </summary>
    public async ValueTask<EntryStream> OpenStreamAsync(StreamPoint after, CancellationToken cancellation)
    {
        RequireWhole();
        var cursor = NewCursor();
        var lsn = after.Version is { } version
            ? await DiskHistory.FindVersionAsync(this, cursor, version, cancellation)
            : after.Lsn ?? 0;
        var durable = Durable;
        var oldest = Locate(lsn + 1).Oldest;
        if (lsn > durable.Lsn)
        {
            throw new RefusalException(Refusal.BeyondHead, $"LSN {lsn} lies beyond the head, which is at LSN {durable.Lsn}");
        }

        return lsn + 1 < oldest
            ? throw new RefusalException(
                Refusal.Gone,
                $"what follows LSN {lsn} is no longer within the history: the oldest LSN that can be streamed is {oldest}, "
                + $"so begin after {oldest - 1}")
            : new EntryStream(this, _services, NewCursor(), lsn);
    }

    /// <summary>
    /// Opens what is left of the history after a point (from the beginning without one), and then the stream. Throws
    /// <see cref="RefusalException"/>: BeyondHead, or Conflict for a version that is known to be on another chain.
    /// </summary>
    public ValueTask<StateStream> OpenStateAsync(DiskVersion? after, CancellationToken cancellation)
    {
        RequireWhole();
        return StateStream.OpenAsync(this, _services, new MapSurvivors(this), after, cancellation);
    }

    /// <summary>Gives the disk another name, durable when it returns; null takes the name away.</summary>
    public ValueTask RenameAsync(string? name, CancellationToken cancellation) =>
        ChangeAsync(AttributesBody.Empty.WithName(name), cancellation);

    /// <summary>Grows the disk, durable when it returns. Shrinking is refused (Conflict).</summary>
    public ValueTask ResizeAsync(ulong sizeBytes, CancellationToken cancellation)
    {
        DiskRanges.RequireSize(sizeBytes);
        var size = SizeBytes;
        return sizeBytes < size
            ? throw new RefusalException(Refusal.Conflict, $"the disk has {size} bytes: it can grow, not shrink to {sizeBytes}")
            : ChangeAsync(AttributesBody.Empty.WithSize(sizeBytes), cancellation);
    }

    /// <summary>Changes when its writes are acknowledged, durable when it returns; for clients that are attached too.</summary>
    public ValueTask ChangeDurabilityAsync(Durability durability, CancellationToken cancellation) =>
        ChangeAsync(AttributesBody.Empty.WithDurability(durability), cancellation);

    /// <summary>Changes for how many seconds requests wait for too few replicas; 0 for ever. Durable when it returns.</summary>
    public ValueTask ChangePatienceAsync(uint seconds, CancellationToken cancellation) =>
        ChangeAsync(AttributesBody.Empty.WithPatience(seconds), cancellation);

    /// <summary>Deletes the disk, durable when it returns. Works on a full device. Its tombstone stays.</summary>
    public ValueTask DeleteAsync(CancellationToken cancellation) =>
        ChangeAsync(AttributesBody.Empty.WithDeleted(), cancellation);

    /// <summary>A description for people and for JSON.</summary>
    public DiskStatus GetStatus()
    {
        lock (_gate)
        {
            return DiskRanges.StatusOf(_state, _durable, _services);
        }
    }

    /// <summary>The log's loop says: durable up to here.</summary>
    void IDurableSink.OnDurable(ulong lsn, Id160 id)
    {
        var group = _group;
        lock (_gate)
        {
            _durable = lsn > _durable.Lsn ? new DiskVersion(lsn, id) : _durable;
            if (group is null || group.ShownUpTo >= lsn)
            {
                _shown = _durable;
            }
        }

        group?.OnDurable(lsn, id);
        _durableChanged.Pulse();
    }

    /// <summary>Ends those who wait for entries.</summary>
    internal void Stop()
    {
        _stopped = true;
        _durableChanged.Pulse();
    }

    /// <summary>Where an LSN lies, and the oldest that is within the history.</summary>
    internal (ulong? Use, ulong Oldest) Locate(ulong lsn)
    {
        lock (_gate)
        {
            return (_state.Lsns.UseOf(lsn), _state.Lsns.OldestLsn);
        }
    }

    /// <summary>A segment was reclaimed: whatever of this disk it held is no longer within the history.</summary>
    internal void OnReclaimed(ulong use)
    {
        lock (_gate)
        {
            _state.Lsns.Drop(use);
        }
    }

    /// <summary>Copies the state for a checkpoint, and begins a new layer of the map: the copy is of what the frozen ones hold.</summary>
    internal T Freeze<T>(Func<DiskState, IReadOnlyList<ExtentMap>, T> copy)
    {
        lock (_gate)
        {
            return copy(_state, _state.Map.Freeze());
        }
    }

    /// <summary>A checkpoint holds: its tree takes the place of the layers that are in it, and what was relocated is found there.</summary>
    internal void Settle(
        TreeRoot tree, IReadOnlyList<ExtentMap> layers, ulong lsn, IEnumerable<(ulong Lsn, LogPosition From, LogPosition To)> pins)
    {
        lock (_gate)
        {
            _state.Map.Merged(tree, layers, lsn);
            foreach (var (pinned, from, to) in pins)
            {
                _state.MovePin(pinned, from, to);
            }
        }
    }

    /// <summary>What maps [lba, end) now, clipped to it, until <paramref name="into"/> is full: then there may be more.</summary>
    internal ValueTask<(TreeRead Status, int Count)> LookUpAsync(ulong lba, ulong end, Memory<MappedExtent> into) =>
        _reader.LookUpAsync(lba, end, into);

    /// <summary>The history after an LSN, which the caller found to be within it.</summary>
    internal EntryStream StreamAfter(ulong lsn) => new(this, _services, NewCursor(), lsn);

    /// <summary>
    /// Sectors of the entry at <paramref name="position"/> were found damaged on the device: what of them the disk still reads
    /// is told from now on, as though a client had met it. Gives how many sectors that is.
    /// </summary>
    internal ValueTask<ulong> NoteDamageAsync(LogPosition position, ulong lsn, ulong lba, ulong sectors) =>
        _reader.NoteDamageAsync(position, lsn, lba, sectors);

    /// <summary>The same, where another host may have them: they are fetched and written again. Told by who asks, not here.</summary>
    internal ValueTask<(Mended Mended, string? NotWritten)> MendAsync(LogPosition position, ulong lsn, ulong lba, ulong sectors) =>
        _reader.MendAsync(position, lsn, lba, sectors);

    /// <summary>Relocation could not have these bytes: they answer EIO, where nothing in memory is newer.</summary>
    internal void NoteLost(IEnumerable<ExtentMove> moves)
    {
        lock (_gate)
        {
            foreach (var lost in moves)
            {
                foreach (var piece in _state.Map.View(lost.Lba, lost.End).Pieces)
                {
                    if (piece.Content == MappedContent.Below)
                    {
                        _state.Damage.Add(piece.Lba, piece.Sectors, DamageBook.LostEntry);
                    }
                }
            }
        }
    }

    /// <summary>Looks at the state under the disk's lock.</summary>
    internal T Locked<T>(Func<DiskState, T> read)
    {
        lock (_gate)
        {
            return read(_state);
        }
    }

    internal HeaderCursor NewCursor() => new(_services.Log, _services.Reader, _services.Walker, Id);

    /// <summary>Repeats an append until there is room for it, or none will come.</summary>
    internal async ValueTask<AppendOutcome> AppendWhenRoomAsync(Func<AppendOutcome> attempt, CancellationToken cancellation)
    {
        while (true)
        {
            var changed = _services.Log.RoomChanged;
            var outcome = attempt();
            if (!outcome.Wait)
            {
                return outcome;
            }

            await changed.WaitAsync(cancellation);
        }
    }

    private IoStatus CheckRange(ulong offset, ulong length)
    {
        if (offset % EntryLayout.SectorSize != 0 || length % EntryLayout.SectorSize != 0)
        {
            return IoStatus.Misaligned;
        }

        lock (_gate)
        {
            var size = _state.Head.Attributes!.Size;
            return _state.Head.Deleted || _state.IsDropped ? IoStatus.Deleted
                : _state.IsCopying ? IoStatus.Unreachable
                : offset > size || length > size - offset ? IoStatus.OutOfRange : IoStatus.Ok;
        }
    }

    private async ValueTask ChangeAsync(AttributesBody change, CancellationToken cancellation)
    {
        if (_group is { } group)
        {
            DiskRanges.RequireOk(await group.ReadyAsync(cancellation), this);
        }

        var outcome = await AppendWhenRoomAsync(() => _appender.TryAppend(change), cancellation);
        var status = outcome.Status == IoStatus.Ok ? await FlushAsync(cancellation) : outcome.Status;
        DiskRanges.RequireOk(status, this);
        _services.NoteChange?.Invoke();
    }
}
