using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// Which segment holds which use, and what in it is still referred to: by the disks' trees (exact as of the last
/// checkpoint), by what their memory layers changed since, and by entries that stay for ever (pins). Any thread; its lock
/// is a leaf, nothing is called while it is held.
/// </summary>
public sealed partial class SegmentTable : ILiveness
{
    /// <summary>
    /// Segments kept back from ordinary writes, so that trims, deletes, views, relocation and checkpoints are possible on a
    /// full device.
    /// </summary>
    public const int ReserveSegments = 3;

    /// <summary>
    /// Of the reserve, what appends that can't wait may take: the rest is for relocation, without which nothing would come back.
    /// </summary>
    private const int UrgentSegments = 2;

    private readonly Lock _lock = new();
    private readonly HeldSegment[] _segments;
    private readonly Dictionary<ulong, int> _byUse = [];
    private int _free;
    private int _backed;
    private bool _refused;
    private bool _nothingBelow;
    private bool _exhausted;
    private bool _relieved;
    private ulong _nextRelocation = LogPosition.FirstRelocationUse;

    /// <summary>Uses that are held, each as often as it is: few at any time.</summary>
    private readonly List<ulong> _held = [];

    /// <param name="count">Segments on the device.</param>
    public SegmentTable(int count)
    {
        _segments = new HeldSegment[count];
        _free = count;
    }

    internal PlantedBug Planted { get; set; }

    /// <summary>What is kept back now: the reserve, and what the next checkpoint will take.</summary>
    public int Reserve { get; set; } = ReserveSegments;

    /// <summary>What ordinary writes leave while compaction is under way, if that is more than the reserve.</summary>
    public int CycleFloor { get; set; }

    /// <summary>Segments on the device.</summary>
    public int Count => _segments.Length;

    /// <summary>The segment that the log goes on in when the open one is full; -1 until one is prepared.</summary>
    public int Next { get; private set; } = -1;

    /// <summary>
    /// True once nothing is left to gain: appends that find no room are refused. While it is false they wait for compaction.
    /// </summary>
    public bool IsExhausted => Locked(() => _exhausted && !_relieved);

    /// <summary>Says whether anything is left to gain. Trims since <see cref="Reconsider"/> may change that.</summary>
    public void SetExhausted(bool exhausted) => Locked(() => _exhausted = exhausted);

    /// <summary>Something was trimmed or deleted: appends wait again until it is known what that gains.</summary>
    public void Relieve()
    {
        lock (_lock)
        {
            _relieved = true;
        }
    }

    /// <summary>What is left to gain is found out anew, from here on.</summary>
    public void Reconsider()
    {
        lock (_lock)
        {
            _exhausted &= !_relieved;
            _relieved = false;
        }
    }

    /// <summary>
    /// True while the file system below the device gives no more room: only segments that lie on blocks which the file has
    /// already are free then.
    /// </summary>
    public bool NothingBelow
    {
        get => Locked(() => _nothingBelow);
        set => Locked(() => _nothingBelow = value);
    }

    /// <summary>Segments that can be taken now or soon.</summary>
    public int Free => Locked(() => Available);

    /// <summary>True when ordinary writes may go on within the open segment.</summary>
    public bool HasRoom
    {
        // Asked for each write: no delegate for it.
        get { lock (_lock) { return !_exhausted || _relieved || Available >= Reserve; } }
    }

    /// <summary>True when an ordinary write was refused for want of a segment, and there is still none for it.</summary>
    public bool IsFull => Locked(() => _exhausted && !_relieved && (Available < Reserve || (_refused && Available <= Reserve)));

    /// <summary>The use that the next relocation segment will get.</summary>
    public ulong NextRelocationUse
    {
        get => Locked(() => _nextRelocation);
        set => Locked(() => _nextRelocation = value);
    }

    private int Available => _nothingBelow ? _backed : _free;

    /// <summary>How everything is used.</summary>
    public SegmentTally Tally()
    {
        lock (_lock)
        {
            var tally = new SegmentTally(_segments.Length, Available, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            foreach (ref readonly var segment in _segments.AsSpan())
            {
                tally = segment.State switch
                {
                    SegmentState.Index => tally with { Index = tally.Index + 1 },
                    SegmentState.Checkpoint => tally with { Checkpoint = tally.Checkpoint + 1 },
                    SegmentState.Bad => tally with { Bad = tally.Bad + 1 },
                    SegmentState.Free => tally,
                    _ => segment.AddTo(tally),
                };
            }

            return tally;
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
    public void Occupy(int segment, SegmentState state, ulong use) =>
        Occupy(new SegmentUse(segment, state, use, 0, 0, 0, use, 0, default));

    /// <summary>Takes back what a checkpoint kept of a segment.</summary>
    public void Occupy(in SegmentUse kept)
    {
        lock (_lock)
        {
            Invariant.That(_segments[kept.Segment].State == SegmentState.Free, "a segment is taken once");
            Take(kept.Segment, kept.State, kept.Use);
            ref var segment = ref _segments[kept.Segment];
            segment.TreeReferences = kept.References;
            segment.TreeSectors = kept.LiveSectors;
            segment.SealedAt = kept.SealedAt;
            segment.SealedMicros = kept.SealedMicros;
            segment.Headers = kept.Headers;
        }
    }

    /// <summary>Forgets what a segment held: something newer was found in it.</summary>
    /// <returns>The use that it had; 0 for none.</returns>
    public ulong Evict(int segment)
    {
        lock (_lock)
        {
            var use = _segments[segment].Use;
            if (_segments[segment].State != SegmentState.Free)
            {
                GiveBack(segment);
            }

            return use;
        }
    }

    /// <summary>The state of a segment.</summary>
    public SegmentState StateOf(int segment) => Locked(() => _segments[segment].State);

    /// <summary>
    /// Takes the next segment for the log's next use. The reserve is for <paramref name="urgent"/> appends only.
    /// </summary>
    public AppendRoom TryTakeNext(ulong use, bool urgent, out int segment)
    {
        lock (_lock)
        {
            segment = Next;
            var floor = urgent ? Reserve - UrgentSegments : Math.Max(Reserve, CycleFloor);
            if (Available - 1 < floor || (Next < 0 && _nothingBelow && _backed == 0))
            {
                _refused |= !urgent;
                return _exhausted && !_relieved ? AppendRoom.NoSpace : AppendRoom.Wait;
            }

            if (Next < 0)
            {
                return AppendRoom.Wait;
            }

            _refused &= urgent;
            Next = -1;
            Take(segment, SegmentState.Open, use);
            return AppendRoom.Ok;
        }
    }

    /// <summary>An open segment got its footer: from now on it may be compacted. One that is sealed stays so.</summary>
    /// <param name="use">Its use.</param>
    /// <param name="nowMicros">Microseconds since 1970; 0 where that is not known.</param>
    /// <param name="logUse">The log's use now: its own, for one of the log.</param>
    public void Seal(ulong use, ulong nowMicros, ulong logUse)
    {
        lock (_lock)
        {
            if (_byUse.TryGetValue(use, out var segment) && _segments[segment].State == SegmentState.Open)
            {
                _segments[segment].State = SegmentState.Sealed;
                _segments[segment].SealedAt = logUse;
                _segments[segment].SealedMicros = nowMicros;
            }
        }
    }

    /// <summary>What the headers in a segment take, now that all of them are known.</summary>
    public void SetHeaders(ulong use, HeaderTally headers)
    {
        lock (_lock)
        {
            if (_byUse.TryGetValue(use, out var segment))
            {
                _segments[segment].Headers = headers;
            }
        }
    }

    /// <summary>A free segment on blocks of its own that could become the next; -1 when there is none. Not taken by this.</summary>
    public int FindFree() => Locked(() => FindFree(backed: true, ascending: true));

    /// <summary>Free segments whose blocks have to be reserved first, ascending, at most so many.</summary>
    public List<int> FindUnbacked(int most)
    {
        lock (_lock)
        {
            var found = new List<int>();
            for (var i = 0; i < _segments.Length && found.Count < most; i++)
            {
                if (_segments[i] is { State: SegmentState.Free, IsBacked: false } && i != Next)
                {
                    found.Add(i);
                }
            }

            return found;
        }
    }

    /// <summary>A free segment whose blocks have to be reserved before it can be taken for anything; -1 when there is none.</summary>
    public int FindUnbacked() => Locked(() => FindFree(backed: false, ascending: false));

    /// <summary>Free segments with blocks of their own, besides the next.</summary>
    public int BackedSpare => Locked(() => _backed - (Next >= 0 ? 1 : 0));

    /// <summary>The segment lies on blocks of its own: a write to it will not find the file system full.</summary>
    public void SetBacked(int segment)
    {
        lock (_lock)
        {
            ref var backed = ref _segments[segment];
            _backed += backed is { State: SegmentState.Free, IsBacked: false } ? 1 : 0;
            backed.IsBacked = true;
        }
    }

    /// <summary>Makes a free segment the next.</summary>
    public void SetNext(int segment)
    {
        SetBacked(segment);
        lock (_lock)
        {
            Invariant.That(_segments[segment].State == SegmentState.Free, "the next segment is free");
            Next = segment;
        }
    }

    /// <summary>A free segment that is not the next, taken for pages of a checkpoint or the index; -1 when there is none.</summary>
    public int TakeForPages(SegmentState state)
    {
        lock (_lock)
        {
            var segment = FindFree(backed: true, ascending: false);
            if (segment >= 0)
            {
                Take(segment, state, 0);
            }

            return segment;
        }
    }

    /// <summary>Gives back a segment that held pages of a checkpoint or the index.</summary>
    public void ReleasePages(int segment, SegmentState state)
    {
        lock (_lock)
        {
            // Else a root that should be gone named it, and something else has it by now.
            if (_segments[segment].State == state)
            {
                GiveBack(segment);
            }
        }
    }

    /// <summary>Takes a free segment for relocated entries, with a use of its own; -1 when there is none.</summary>
    public int TakeForRelocation(out ulong use)
    {
        lock (_lock)
        {
            use = 0;
            var segment = FindFree(backed: true, ascending: true);
            if (segment >= 0)
            {
                use = _nextRelocation++;
                Take(segment, SegmentState.Open, use);
            }

            return segment;
        }
    }

    /// <summary>True for a sealed segment that nothing refers to: it may be freed at any time.</summary>
    public bool IsDead(ulong use) => Locked(() => _byUse.TryGetValue(use, out var segment) && _segments[segment].IsDead);

    /// <summary>
    /// Frees a sealed segment of the log if nothing refers to it and nothing in it stays: by no tree, so that no checkpoint
    /// leads to it, and by no layer.
    /// </summary>
    public bool TryFree(ulong use)
    {
        lock (_lock)
        {
            if (_held.Contains(use) || !_byUse.TryGetValue(use, out var segment)
                || !(_segments[segment].IsDead || Planted == PlantedBug.DropPinnedPage))
            {
                return false;
            }

            GiveBack(segment);
            return true;
        }
    }

    /// <summary>An entry in the segment stays for ever.</summary>
    public void Pin(LogPosition position) => Change(position, references: 0, pins: 1, sectors: 0);

    /// <summary>Such an entry was moved elsewhere.</summary>
    public void Unpin(LogPosition position) => Change(position, references: 0, pins: -1, sectors: 0);

    public void Added(in MappedExtent extent) => Change(
        extent.Position, 1, 0, extent.Content == MappedContent.Data ? (int)extent.Sectors : 0);

    public void Removed(in MappedExtent extent) => Change(
        extent.Position, -1, 0, extent.Content == MappedContent.Data ? -(int)extent.Sectors : 0);

    /// <summary>New trees took the place of the old ones.</summary>
    public void Apply(LivenessDelta delta)
    {
        lock (_lock)
        {
            foreach (var (use, change) in delta.Changes)
            {
                if (_byUse.TryGetValue(use, out var index))
                {
                    ref var segment = ref _segments[index];
                    segment.TreeReferences += change.References;
                    segment.TreeSectors += change.Sectors;
                    if (Planted == PlantedBug.StaleLiveness && change.References < 0)
                    {
                        segment.TreeReferences = segment.TreeSectors = 0;
                    }

                    Invariant.That(segment is { TreeReferences: >= 0, TreeSectors: >= 0 }, "a reference is taken back once");
                }
            }
        }
    }

    /// <summary>Every segment of the log, with what the trees refer to once <paramref name="delta"/> is applied.</summary>
    public List<SegmentUse> Snapshot(LivenessDelta? delta = null)
    {
        lock (_lock)
        {
            var uses = new List<SegmentUse>();
            for (var i = 0; i < _segments.Length; i++)
            {
                ref readonly var segment = ref _segments[i];
                if (segment.State is SegmentState.Free or SegmentState.Checkpoint)
                {
                    continue;
                }

                (int References, int Sectors) change = default;
                delta?.Changes.TryGetValue(segment.Use, out change);
                uses.Add(new SegmentUse(
                    i, segment.State, segment.Use, segment.TreeReferences + change.References,
                    segment.TreeSectors + change.Sectors, segment.Pins, segment.SealedAt, segment.SealedMicros,
                    segment.Headers));
            }

            return uses;
        }
    }

    private T Locked<T>(Func<T> read)
    {
        lock (_lock)
        {
            return read();
        }
    }

    private int FindFree(bool backed, bool ascending)
    {
        for (var i = 0; i < _segments.Length; i++)
        {
            var segment = ascending ? i : _segments.Length - 1 - i;
            if (_segments[segment].State == SegmentState.Free && _segments[segment].IsBacked == backed && segment != Next)
            {
                return segment;
            }
        }

        return -1;
    }

    private void Take(int segment, SegmentState state, ulong use)
    {
        _free--;
        _backed -= _segments[segment].IsBacked ? 1 : 0;
        _segments[segment] = new HeldSegment { State = state, Use = use, IsBacked = true };
        if (use != 0)
        {
            _byUse.Add(use, segment);
        }
    }

    private void GiveBack(int segment)
    {
        _byUse.Remove(_segments[segment].Use);
        if (_segments[segment].IsCondemned)
        {
            _segments[segment] = new HeldSegment { State = SegmentState.Bad, IsBacked = true };
            return;
        }

        _segments[segment] = new HeldSegment { IsBacked = true, FreedAt = _checkpoints };
        _free++;
        _backed++;
    }

    private void Change(LogPosition position, int references, int pins, int sectors)
    {
        if (position.IsNone)
        {
            return;
        }

        lock (_lock)
        {
            if (_byUse.TryGetValue(position.Use, out var index))
            {
                ref var segment = ref _segments[index];
                segment.MemoryReferences += references;
                segment.MemorySectors += sectors;
                segment.Pins += pins;
                Invariant.That(segment is { MemoryReferences: >= 0, Pins: >= 0 }, "a reference is taken back once");
            }
        }
    }
}
