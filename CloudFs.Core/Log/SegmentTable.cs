using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>What a segment of the device is used for.</summary>
public enum SegmentState : byte
{
    /// <summary>Holds nothing that is needed.</summary>
    Free = 0,

    /// <summary>Holds entries, and may still take more.</summary>
    Open = 1,

    /// <summary>Holds entries and a footer.</summary>
    Sealed = 2,

    /// <summary>Holds pages of a checkpoint.</summary>
    Checkpoint = 3,
}

/// <summary>A segment in use, as checkpoints keep it.</summary>
public readonly record struct SegmentUse(int Segment, SegmentState State, ulong Use);

/// <summary>
/// Which segment holds which use, and what in it is still referred to: extents that some index maps to it (references),
/// and views and attributes in force (pins). Any thread; its lock is a leaf, nothing is called while it is held.
/// </summary>
public sealed class SegmentTable : ILiveness
{
    /// <summary>
    /// Segments kept back from ordinary writes, so that trims, deletes, views and checkpoints are possible on a full
    /// device: 48 MiB, ten thousand trims.
    /// </summary>
    public const int ReserveSegments = 3;

    /// <summary>What is kept back now: the reserve, and what the next checkpoint will spill into.</summary>
    public int Reserve { get; set; } = ReserveSegments;

    /// <summary>True while dead segments can't be reclaimed, so that they are no room: no checkpoint can be written.</summary>
    public bool ReclaimIsBlocked { get; set; }

    private readonly Lock _lock = new();
    private readonly Segment[] _segments;
    private readonly Dictionary<ulong, int> _byUse = [];
    private int _free;
    private int _dead;
    private ulong _liveSectors;
    private bool _refused;
    private ulong _held;

    /// <param name="count">Segments on the device.</param>
    public SegmentTable(int count)
    {
        _segments = new Segment[count];
        _free = count;
    }

    /// <summary>Segments on the device.</summary>
    public int Count => _segments.Length;

    /// <summary>The segment that the log goes on in when the open one is full; -1 until one is prepared.</summary>
    public int Next { get; private set; } = -1;

    /// <summary>True when ordinary writes may go on: more is left than the reserve, now or after reclaiming.</summary>
    public bool HasRoom
    {
        get
        {
            lock (_lock)
            {
                return Available >= Reserve;
            }
        }
    }

    /// <summary>True when an ordinary write was refused for want of a segment, and there is still none for it.</summary>
    public bool IsFull
    {
        get
        {
            lock (_lock)
            {
                return Available < Reserve || (_refused && (Available <= Reserve || NothingBelow));
            }
        }
    }

    /// <summary>
    /// True while the file system below the device gives no more room: free segments are none then, but dead ones, which
    /// lie on blocks that the file has already, are.
    /// </summary>
    public bool NothingBelow { get; set; }

    /// <summary>True when segments should be reclaimed, or checkpoints taken so that they can be.</summary>
    public bool IsShort
    {
        get
        {
            lock (_lock)
            {
                return (_free < Reserve + 2 || NothingBelow) && _dead > 0;
            }
        }
    }

    /// <summary>Segments free, reclaimable, and sectors of live data.</summary>
    public (int Free, int Dead, ulong LiveSectors) Tally()
    {
        lock (_lock)
        {
            return (_free, _dead, _liveSectors);
        }
    }

    /// <summary>Finds the segment of a use; false when it was reclaimed.</summary>
    public bool TryLocate(ulong use, out int segment)
    {
        lock (_lock)
        {
            return _byUse.TryGetValue(use, out segment);
        }
    }

    /// <summary>The device offset of a position; false when its segment was reclaimed.</summary>
    public bool TryLocate(LogPosition position, out ulong deviceOffset)
    {
        var found = TryLocate(position.Use, out var segment);
        deviceOffset = found ? DeviceGeometry.SegmentOffset(segment) + position.Offset : 0;
        return found;
    }

    /// <summary>Says what a segment holds: at recovery, and for checkpoint pages.</summary>
    public void Occupy(int segment, SegmentState state, ulong use)
    {
        lock (_lock)
        {
            Invariant.That(_segments[segment].State == SegmentState.Free, "a segment is taken once");
            _free--;
            _segments[segment].State = state;
            _segments[segment].Use = use;
            _dead += state == SegmentState.Sealed ? 1 : 0;
            if (use != 0)
            {
                _byUse.Add(use, segment);
            }
        }
    }

    /// <summary>Forgets what a segment held: something newer was found in it.</summary>
    /// <returns>The use that it had; 0 for none.</returns>
    public ulong Evict(int segment)
    {
        lock (_lock)
        {
            ref var evicted = ref _segments[segment];
            var use = evicted.Use;
            if (evicted.State != SegmentState.Free)
            {
                _dead -= evicted.State == SegmentState.Sealed && evicted.IsDead ? 1 : 0;
                _byUse.Remove(use);
                evicted = default;
                _free++;
            }

            return use;
        }
    }

    /// <summary>The state of a segment.</summary>
    public SegmentState StateOf(int segment)
    {
        lock (_lock)
        {
            return _segments[segment].State;
        }
    }

    /// <summary>
    /// Takes the next segment for the log's next use. The reserve is for <paramref name="urgent"/> appends only.
    /// </summary>
    public AppendRoom TryTakeNext(ulong use, bool urgent, out int segment)
    {
        lock (_lock)
        {
            segment = Next;
            if (Available - 1 < (urgent ? 0 : Reserve) || (Next < 0 && NothingBelow && (_dead == 0 || ReclaimIsBlocked)))
            {
                _refused |= !urgent;
                return AppendRoom.NoSpace;
            }

            if (Next < 0)
            {
                return AppendRoom.Wait;
            }

            _refused &= urgent;
            Next = -1;
            _free--;
            _segments[segment].State = SegmentState.Open;
            _segments[segment].Use = use;
            _byUse.Add(use, segment);
            return AppendRoom.Ok;
        }
    }

    /// <summary>The open segment got its footer: from now on it may be found dead. One that is sealed stays so.</summary>
    public void Seal(ulong use)
    {
        lock (_lock)
        {
            if (_byUse.TryGetValue(use, out var segment) && _segments[segment].State == SegmentState.Open)
            {
                ref var sealing = ref _segments[segment];
                sealing.State = SegmentState.Sealed;
                _dead += sealing.IsDead ? 1 : 0;
            }
        }
    }

    /// <summary>A free segment that could become the next, or -1. It is not taken by this.</summary>
    public int FindFree()
    {
        lock (_lock)
        {
            for (var i = 0; i < _segments.Length; i++)
            {
                if (_segments[i].State == SegmentState.Free && i != Next)
                {
                    return i;
                }
            }

            return -1;
        }
    }

    /// <summary>Makes a free segment the next.</summary>
    public void SetNext(int segment)
    {
        lock (_lock)
        {
            Invariant.That(_segments[segment].State == SegmentState.Free, "the next segment is free");
            Next = segment;
        }
    }

    /// <summary>A free segment that is not the next, taken for checkpoint pages; -1 when there is none.</summary>
    public int TakeForCheckpoint()
    {
        lock (_lock)
        {
            for (var i = _segments.Length - 1; i >= 0; i--)
            {
                if (_segments[i].State == SegmentState.Free && i != Next)
                {
                    _segments[i].State = SegmentState.Checkpoint;
                    _free--;
                    return i;
                }
            }

            return -1;
        }
    }

    /// <summary>Gives a checkpoint's segment back.</summary>
    public void ReleaseCheckpoint(int segment)
    {
        lock (_lock)
        {
            if (_segments[segment].State != SegmentState.Checkpoint)
            {
                // A root that should be gone named it, and the log has it by now.
                return;
            }

            _segments[segment] = default;
            _free++;
        }
    }

    /// <summary>
    /// Frees the oldest segment that nothing refers to, is older than what a checkpoint needs, and whose last reference
    /// went by an entry that is durable. 0 when there is none, else its use.
    /// </summary>
    public ulong Reclaim(LogPosition durable, LogPosition neededFrom)
    {
        lock (_lock)
        {
            var oldest = -1;
            for (var i = 0; i < _segments.Length; i++)
            {
                ref readonly var candidate = ref _segments[i];
                if (candidate.State == SegmentState.Sealed && candidate.IsDead && candidate.Use < neededFrom.Use
                    && candidate.Use != _held
                    && candidate.LastSuperseded < durable
                    && (oldest < 0 || candidate.Use < _segments[oldest].Use))
                {
                    oldest = i;
                }
            }

            if (oldest < 0)
            {
                return 0;
            }

            var use = _segments[oldest].Use;
            _byUse.Remove(use);
            _segments[oldest] = default;
            _dead--;
            _free++;
            return use;
        }
    }

    /// <summary>
    /// Keeps a sealed segment from being used for anything else until <see cref="EndHold"/>: for who writes its footer again.
    /// One at a time. False when it is not there, or not sealed.
    /// </summary>
    public bool TryHold(ulong use, int segment)
    {
        lock (_lock)
        {
            Invariant.That(_held == 0, "one segment is held at a time");
            var isThere = _byUse.TryGetValue(use, out var found) && found == segment && _segments[found].State == SegmentState.Sealed;
            _held = isThere ? use : 0;
            return isThere;
        }
    }

    /// <summary>Lets go of what <see cref="TryHold"/> held.</summary>
    public void EndHold()
    {
        lock (_lock)
        {
            _held = 0;
        }
    }

    /// <summary>Something in the segment must stay, whatever the indexes say.</summary>
    public void Pin(LogPosition position) => Change(position, LogPosition.None, references: 0, pins: 1, sectors: 0);

    /// <summary>Takes a pin back; <paramref name="by"/> is the entry that made it needless.</summary>
    public void Unpin(LogPosition position, LogPosition by) => Change(position, by, references: 0, pins: -1, sectors: 0);

    public void Added(in MappedExtent extent) => Change(
        extent.Position, LogPosition.None, 1, 0, extent.Content == MappedContent.Data ? (long)extent.Sectors : 0);

    public void Removed(in MappedExtent extent, LogPosition by) => Change(
        extent.Position, by, -1, 0, extent.Content == MappedContent.Data ? -(long)extent.Sectors : 0);

    /// <summary>Every segment of the log, for a checkpoint.</summary>
    public List<SegmentUse> Snapshot()
    {
        lock (_lock)
        {
            var uses = new List<SegmentUse>();
            for (var i = 0; i < _segments.Length; i++)
            {
                if (_segments[i].State is SegmentState.Open or SegmentState.Sealed)
                {
                    uses.Add(new SegmentUse(i, _segments[i].State, _segments[i].Use));
                }
            }

            return uses;
        }
    }

    private int Available => _free + (ReclaimIsBlocked ? 0 : _dead);

    private void Change(LogPosition position, LogPosition by, int references, int pins, long sectors)
    {
        if (position.IsNone)
        {
            return;
        }

        lock (_lock)
        {
            if (!_byUse.TryGetValue(position.Use, out var index))
            {
                return;
            }

            ref var segment = ref _segments[index];
            var wasDead = segment.State == SegmentState.Sealed && segment.IsDead;
            segment.References += references;
            segment.Pins += pins;
            Invariant.That(segment.References >= 0 && segment.Pins >= 0, "a reference is taken back once");
            _liveSectors = unchecked(_liveSectors + (ulong)sectors);
            if (by > segment.LastSuperseded)
            {
                segment.LastSuperseded = by;
            }

            var isDead = segment.State == SegmentState.Sealed && segment.IsDead;
            _dead += (isDead ? 1 : 0) - (wasDead ? 1 : 0);
        }
    }

    private struct Segment
    {
        public SegmentState State;
        public ulong Use;
        public int References;
        public int Pins;
        public LogPosition LastSuperseded;

        public readonly bool IsDead => References == 0 && Pins == 0;
    }
}

/// <summary>Whether an append can go on.</summary>
public enum AppendRoom
{
    /// <summary>There is room.</summary>
    Ok,

    /// <summary>Not yet: wait until the log says that room has changed, and try again.</summary>
    Wait,

    /// <summary>The device is full for this kind of append.</summary>
    NoSpace,

    /// <summary>The log takes nothing more: poisoned or closed.</summary>
    Failed,
}
