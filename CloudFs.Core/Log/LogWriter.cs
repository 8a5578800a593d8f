using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// The one writer of the log. An append puts its items into the open commit in the write buffer, which survives the death
/// of the process, and is done; the loop writes commits to the device in order, one at a time, and makes what was written
/// durable in one flush for all who wait (group commit), at the latest 100 ms after the first append.
/// <para>
/// Crash order: (1) items are whole in a slot, then published; (2) the commit closes: trailer, record; (3) it is written;
/// (4) its slot is free; (5) a flush makes it durable; (6) sinks learn so, waiters end, in order. When a segment is full
/// its commits are flushed before its footer is written, so that a footer proves what lies before it; and the footer is
/// flushed before the first commit of the next: so a tear can only be in the newest segment.
/// A flush that failed poisons the log: all who wait fail, and nothing is appended any more. A refused write moves (ADR 0015).
/// </para>
/// </summary>
public sealed partial class LogWriter
{
    /// <summary>What was not flushed by anybody is durable this long after it was appended (PROTOCOL.md, 16).</summary>
    private static readonly TimeSpan FlushDelay = TimeSpan.FromMilliseconds(100);

    private readonly SegmentTable _segments;
    private WriteBuffer _buffer;
    private readonly Id160 _deviceId;
    private readonly int _physicalBlock;
    private readonly AsyncSignal _wake = new();
    private readonly AsyncBroadcast _room = new();
    private readonly ITimer _timer;

    // Guarded by the gate.
    private readonly Queue<LogJob> _jobs = new();
    private OpenCommit? _open;
    private SegmentCatalog? _catalog;
    private readonly List<SegmentCatalog> _sealing = [];
    private SegmentCatalog? _spare;
    private LogPosition _end;
    private LogPosition _dataEnd;
    private ulong _nextSequence;
    private TaskCompletionSource<IoStatus>? _pendingFlush;
    private TaskCompletionSource<IoStatus>? _servedFlush;
    private bool _timerArmed;
    private bool _flushDue;
    private bool _markDue;
    private bool _stopping;
    private Exception? _failure;

    // Belongs to whoever's turn it is.
    private readonly LogPipe _pipe;

    public LogWriter(
        IBlockDevice device, SegmentTable segments, BadPlaces bad, WriteBuffer buffer, Id160 deviceId, int physicalBlock,
        LogEnd end, EngineRuntime runtime)
    {
        _segments = segments;
        _buffer = buffer;
        _deviceId = deviceId;
        _physicalBlock = physicalBlock;
        _catalog = end.Catalog;
        _end = _dataEnd = end.Position;
        _pipe = new LogPipe(device, segments, bad, deviceId, physicalBlock, end.Position, runtime);
        _nextSequence = end.NextSequence;
        _timer = runtime.Time.CreateTimer(_ => OnTimer(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Guards appends. Taken after a disk's own lock, never before it.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Everything before it is durable. Never goes back.</summary>
    public LogPosition Durable => _pipe.Durable;

    /// <summary>Why the log takes nothing more; null while it does.</summary>
    public Exception? Failure => Volatile.Read(ref _failure);

    /// <summary>Completes when something has changed for an append that was told to wait.</summary>
    public Task RoomChanged => _room.Task;

    /// <summary>The buffer in which commits are put together now.</summary>
    public WriteBuffer Buffer => Volatile.Read(ref _buffer);

    /// <summary>Counters for metrics.</summary>
    public LogCounters Counters => _pipe.Counters;

    /// <summary>How long things take.</summary>
    public StageLatencies Stages => _pipe.Stages;

    /// <summary>Tells whoever keeps house that a segment was taken (so the next must be prepared) or room is short.</summary>
    public Action? Upkeep { get; set; }

    /// <summary>The end of the log, open commit included. Under the gate.</summary>
    public LogPosition End => _open is null ? _end : _open.Position.Plus(_open.Filled);

    /// <summary>Bytes of the open segment that nothing was written to yet.</summary>
    public ulong UnwrittenBytes()
    {
        lock (Gate)
        {
            return _segments.TryLocate(End.Use, out _) ? (ulong)(DeviceGeometry.SegmentBytes - End.Offset) : 0;
        }
    }

    /// <summary>What waits for the device.</summary>
    public LogDepth GetDepth()
    {
        lock (Gate)
        {
            var (commits, bytes) = _buffer.InUse();
            return new LogDepth(commits - (_open is null ? 0 : 1), bytes);
        }
    }

    /// <summary>
    /// Finds room for items that will stand together in one commit. On Ok the caller, still holding the gate, fills
    /// <paramref name="destination"/> and calls <see cref="Publish"/>; on anything else nothing has happened.
    /// </summary>
    public AppendRoom TryReserve(in AppendSize size, bool urgent, out Span<byte> destination, out LogPosition position)
    {
        destination = default;
        position = default;
        if (_failure is not null || _stopping)
        {
            return AppendRoom.Failed;
        }

        if (!urgent && !_segments.HasRoom)
        {
            return AppendRoom.NoSpace;
        }

        if (_open is not null && !Fits(_open, size))
        {
            CloseOpen(CommitContent.New);
        }

        if (_open is null)
        {
            var room = TryOpen(size, urgent);
            if (room != AppendRoom.Ok)
            {
                return room;
            }
        }

        destination = _open!.Room(size.Bytes);
        position = _open.Position.Plus(_open.Filled);
        return AppendRoom.Ok;
    }

    /// <summary>Takes in what was reserved last: from here on it survives the process. Under the gate.</summary>
    public void Publish(in AppendSize size, IDurableSink sink, ulong lsn, Id160 id)
    {
        var open = _open!;
        var items = open.Room(size.Bytes);
        var place = open.Position.Offset + (uint)open.Filled;
        while (!items.IsEmpty)
        {
            var measured = LogItem.TryMeasure(items, out var headerLength, out var totalLength);
            Invariant.That(measured, "only whole items are appended");
            _catalog!.Add(items[..headerLength], place);
            place += (uint)totalLength;
            items = items[totalLength..];
        }

        open.Take(size);
        open.Note(sink, lsn, id);
        _buffer.Publish(open.Slot, open.Filled);
        _markDue = false;
        ArmTimer();
    }

    /// <summary>Ends with Ok once everything that was appended before this call is durable.</summary>
    public ValueTask<IoStatus> FlushAsync()
    {
        lock (Gate)
        {
            if (_failure is not null)
            {
                return ValueTask.FromResult(IoStatus.Poisoned);
            }

            if (IsDurable())
            {
                return ValueTask.FromResult(IoStatus.Ok);
            }

            _pendingFlush ??= new TaskCompletionSource<IoStatus>(TaskCreationOptions.RunContinuationsAsynchronously);
            _wake.Set();
            return new ValueTask<IoStatus>(_pendingFlush.Task);
        }
    }

    /// <summary>Closes the open commit, so that what is appended from here on lies at or behind the position returned.</summary>
    public LogPosition Cut()
    {
        lock (Gate)
        {
            CloseOpen(CommitContent.New);
            _wake.Set();
            return _end;
        }
    }

    /// <summary>The headers of a segment that has no footer yet; null for any other. Read it only under the gate.</summary>
    public SegmentCatalog? OpenCatalog(ulong use) =>
        _catalog?.Use == use ? _catalog : _sealing.Find(catalog => catalog.Use == use);

    /// <summary>
    /// Goes on with another buffer, once nothing is open or under way: recovery replays what it found in a buffer through
    /// one of its own, so that the found one stays whole until all of it is durable.
    /// </summary>
    public void ChangeBuffer(WriteBuffer buffer)
    {
        lock (Gate)
        {
            // A mark may be under way: it stays in the buffer in which it was made.
            Invariant.That(_open is null && Durable >= _dataEnd, "the buffer changes when all is durable");
            for (var slot = 0; slot < buffer.Slots; slot++)
            {
                buffer.Free(slot);
            }

            buffer.Written = _pipe.WrittenEnd;
            Volatile.Write(ref _buffer, buffer);
        }
    }

    /// <summary>Something that appends wait for may have changed: a segment was prepared or reclaimed.</summary>
    public void RoomMayHaveChanged() => _room.Pulse();

    /// <summary>Makes all durable, seals the open segment, and ends the loop. Nothing can be appended after this call.</summary>
    public void Stop()
    {
        lock (Gate)
        {
            if (_stopping)
            {
                return;
            }

            CloseOpen(CommitContent.New);
            _stopping = true;
            _flushDue = true;
            EnqueueSeal();
            _wake.Set();
        }

        _room.Pulse();
    }

    /// <summary>Where the log ends and in which segment it is open, for a checkpoint taken after <see cref="Stop"/> or during.</summary>
    public (LogPosition End, ulong NextSequence) Tail()
    {
        lock (Gate)
        {
            return (_end, _nextSequence);
        }
    }

    private bool IsDurable() => _open is null && _jobs.Count == 0 && Durable >= _dataEnd;

    private bool Fits(OpenCommit open, in AppendSize size)
    {
        var length = open.LengthWith(size, _physicalBlock);
        return length <= WriteBuffer.SlotBytes && open.Position.Offset + (long)length
            + _catalog!.FooterBytes(size.CopyBytes, size.Items, _physicalBlock) <= DeviceGeometry.SegmentBytes;
    }

    private AppendRoom TryOpen(in AppendSize size, bool urgent)
    {
        var slot = FindSlot();
        if (slot < 0)
        {
            _wake.Set();
            return AppendRoom.Wait;
        }

        var commit = new OpenCommit(_buffer, slot, _end, _nextSequence);
        if (_catalog is null || !Fits(commit, size))
        {
            var use = _catalog is null ? _end.Use : _end.Use + 1;
            var room = _segments.TryTakeNext(use, urgent, out var segment);
            if (room != AppendRoom.Ok)
            {
                Upkeep?.Invoke();
                return room;
            }

            EnqueueSeal(segment);
            _catalog = _spare?.ReuseFor(use) ?? new SegmentCatalog(use);
            _spare = null;
            _end = new LogPosition(use, 0);
            commit = new OpenCommit(_buffer, slot, _end, _nextSequence);
            Upkeep?.Invoke();
        }

        Invariant.That(Fits(commit, size), "an append fits an empty commit");
        _nextSequence++;
        _open = commit;
        _buffer.Open(slot, commit.Sequence, commit.Position, commit.Filled);
        return AppendRoom.Ok;
    }

    private int FindSlot()
    {
        for (var slot = 0; slot < _buffer.Slots; slot++)
        {
            if (_buffer.SequenceOf(slot) == 0)
            {
                return slot;
            }
        }

        return -1;
    }

    private void CloseOpen(CommitContent content)
    {
        if (_open is not { } open || (open.IsEmpty && content != CommitContent.Mark))
        {
            return;
        }

        open.Close(_deviceId, Durable, _segments.Next, _physicalBlock, content);
        _catalog!.TakeCopies(open);
        _end = open.Position.Plus(open.Length);
        _dataEnd = content == CommitContent.Mark ? _dataEnd : _end;
        open.ClosedAt = Stages.Now;
        _jobs.Enqueue(new LogJob(open, null, -1, 0, 0));
        _open = null;
        _wake.Set();
    }

    private void EnqueueSeal(int nextSegment = -1)
    {
        if (_catalog is { } full)
        {
            var commitsEnd = (int)(_end.Value - new LogPosition(full.Use, 0).Value);
            full.DropCopies(DeviceGeometry.SegmentBytes - commitsEnd, _physicalBlock);
            _sealing.Add(full);
            _jobs.Enqueue(new LogJob(
                null, full, nextSegment >= 0 ? nextSegment : _segments.Next, commitsEnd, _nextSequence - 1));
            _catalog = null;
            _end = _dataEnd = new LogPosition(full.Use + 1, 0);
        }
    }

    private void ArmTimer()
    {
        if (!_timerArmed)
        {
            _timerArmed = true;
            _timer.Change(FlushDelay, Timeout.InfiniteTimeSpan);
        }
    }

    private void OnTimer()
    {
        lock (Gate)
        {
            _timerArmed = false;
            _flushDue = true;
        }

        _wake.Set();
    }

    /// <summary>The device failed: everything that waits fails, and nothing is appended any more.</summary>
    public void Fail(Exception failure)
    {
        lock (Gate)
        {
            Volatile.Write(ref _failure, _failure ?? failure);
            _servedFlush?.TrySetResult(IoStatus.Poisoned);
            _pendingFlush?.TrySetResult(IoStatus.Poisoned);
            _servedFlush = _pendingFlush = null;
        }

        _room.Pulse();
        Upkeep?.Invoke();
    }
}
