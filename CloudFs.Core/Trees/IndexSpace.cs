using System.Numerics;
using System.Runtime.InteropServices;
using CloudFs.Core.Devices;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Trees;

/// <summary>Who gives segments to the index, and takes them back.</summary>
public interface IIndexSegments
{
    /// <summary>A segment for index pages; -1 when there is none to be had.</summary>
    int TakeForIndex();

    /// <summary>No page of it is in use any more.</summary>
    void ReleaseIndex(int segment);

    /// <summary>True when a write to it failed, at any time: it takes no new pages. -1 is the fixed area.</summary>
    bool IsBad(int segment);

    /// <summary>A write to it failed: that is written down, durably.</summary>
    Task CondemnIndexAsync(int segment, DeviceException why);
}

/// <summary>
/// Which index pages are in use. What a merge replaced stays in use until <see cref="Settle"/>, so that nothing that
/// either checkpoint slot leads to is ever overwritten. Safe from any thread; merges run one at a time.
/// </summary>
public sealed class IndexSpace(IBlockDevice device, IIndexSegments segments)
{
    private readonly Lock _lock = new();

    internal PlantedBug Planted { get; init; }

    /// <summary>The fixed area, then segments, ascending: the order in which pages are given out.</summary>
    private readonly List<Area> _areas = [new Area(IndexPageNumber.FixedArea)];

    /// <summary>No area before this one has a free slot.</summary>
    private int _firstWithRoom;

    private long _bytesWritten;

    /// <summary>Pages that a checkpoint taken now would state.</summary>
    public long PagesInUse
    {
        get
        {
            lock (_lock)
            {
                return _areas.Sum(area => (long)area.InUse);
            }
        }
    }

    /// <summary>Slots in what is taken that could be given out now.</summary>
    public long FreePages
    {
        get
        {
            lock (_lock)
            {
                return _areas.Sum(area => (long)area.Free);
            }
        }
    }

    /// <summary>Bytes of index pages written so far.</summary>
    public long BytesWritten => Volatile.Read(ref _bytesWritten);

    /// <summary>A page for something new: of the fixed area while there is one, then of the lowest segment.</summary>
    /// <exception cref="IndexSpaceException">There is none, and no segment to be had.</exception>
    public ulong Allocate()
    {
        lock (_lock)
        {
            for (; _firstWithRoom < _areas.Count; _firstWithRoom++)
            {
                if (_areas[_firstWithRoom].TryTake(out var slot))
                {
                    return IndexPageNumber.Of(_areas[_firstWithRoom].Segment, slot);
                }
            }

            var segment = segments.TakeForIndex();
            if (segment < 0)
            {
                throw new IndexSpaceException("the index needs a segment, and none is free");
            }

            var area = new Area(segment);
            _firstWithRoom = Insert(area);
            Invariant.That(area.TryTake(out var first), "a segment that was just taken has room");
            return IndexPageNumber.Of(segment, first);
        }
    }

    /// <summary>A page is not part of any tree from the next checkpoint on. It stays untouched until <see cref="Settle"/>.</summary>
    public void Release(ulong page)
    {
        lock (_lock)
        {
            var (segment, slot) = IndexPageNumber.PlaceOf(page);
            Find(segment).Release(slot, Planted == PlantedBug.CheckpointInPlace);
        }
    }

    /// <summary>The checkpoint is durable in both slots: what was released is free, and segments without pages go back.</summary>
    public void Settle() => End(area => area.Settle());

    /// <summary>
    /// The checkpoint is durable in one slot only: what was allocated is in use, what was released may still be, by the other.
    /// </summary>
    public void Keep() => End(area => area.Keep());

    /// <summary>
    /// A merge or a checkpoint failed: what was allocated since the last settling is free again, what was released is in use.
    /// </summary>
    public void Abandon() => End(area => area.Abandon());

    /// <summary>
    /// The pages in use as a checkpoint taken now must state them: allocated ones included, released ones not. Segment -1 is
    /// the fixed area. Bit n of the bytes, lowest first, is slot n. Areas without any are left out.
    /// </summary>
    public IReadOnlyList<(int Segment, byte[] Used)> Snapshot()
    {
        lock (_lock)
        {
            return [.. _areas.Where(area => area.InUse > 0).Select(area => (area.Segment, area.Snapshot()))];
        }
    }

    /// <summary>Takes back what <see cref="Snapshot"/> gave, in place of what was known. Takes no segments.</summary>
    /// <exception cref="IndexSpaceException">It can't be: no such segment, one twice, a map of the wrong size.</exception>
    public void Restore(IEnumerable<(int Segment, byte[] Used)> used)
    {
        var areas = new SortedDictionary<int, Area> { [IndexPageNumber.FixedArea] = new Area(IndexPageNumber.FixedArea) };
        var seen = new HashSet<int>();
        foreach (var (segment, map) in used)
        {
            var isPlace = segment >= IndexPageNumber.FixedArea && segment < DeviceGeometry.SegmentCount(device.Length);
            if (!isPlace || !seen.Add(segment) || map.Length != Area.SlotsOf(segment) / 8)
            {
                throw new IndexSpaceException($"what index pages segment {segment} holds makes no sense");
            }

            areas[segment] = new Area(segment, map);
        }

        foreach (var bad in areas.Values.Where(area => segments.IsBad(area.Segment)))
        {
            bad.Close();
        }

        lock (_lock)
        {
            _areas.Clear();
            _areas.AddRange(areas.Values);
            _firstWithRoom = 0;
        }
    }

    /// <summary>
    /// Writes pages that adjoin, within one area. What they need below the device is reserved first, once. Where the device
    /// refuses the place, no page is given out there any more: who merges gives up, and merges again.
    /// </summary>
    internal async ValueTask WriteAsync(ulong page, ReadOnlyMemory<byte> bytes)
    {
        var (segment, slot) = IndexPageNumber.PlaceOf(page);
        Area area;
        lock (_lock)
        {
            area = Find(segment);
        }

        var start = IndexPageNumber.AreaOffset(segment);
        if (!area.IsReserved)
        {
            if (!await device.TryReserveAsync(start, (ulong)area.Slots * IndexPageLayout.Size))
            {
                throw new IndexSpaceException("what lies below the device has no room for index pages");
            }

            area.IsReserved = true;
        }

        try
        {
            await device.WriteAsync(start + ((ulong)slot * IndexPageLayout.Size), bytes);
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            lock (_lock)
            {
                area.Close();
            }

            await segments.CondemnIndexAsync(segment, e);
            throw;
        }

        Interlocked.Add(ref _bytesWritten, bytes.Length);
    }

    private void End(Action<Area> how)
    {
        lock (_lock)
        {
            foreach (var area in _areas)
            {
                how(area);
            }

            foreach (var empty in _areas.Where(area => area.Segment != IndexPageNumber.FixedArea && area.IsEmpty).ToList())
            {
                _areas.Remove(empty);
                segments.ReleaseIndex(empty.Segment);
            }

            _firstWithRoom = 0;
        }
    }

    private Area Find(int segment)
    {
        var index = IndexOf(segment);
        Invariant.That(index >= 0, "an index page lies in a segment of the index");
        return _areas[index];
    }

    /// <summary>Where a segment's area is; where it belongs, complemented, when it isn't here.</summary>
    private int IndexOf(int segment)
    {
        var low = 0;
        var high = _areas.Count - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            if (_areas[middle].Segment == segment)
            {
                return middle;
            }

            (low, high) = _areas[middle].Segment < segment ? (middle + 1, high) : (low, middle - 1);
        }

        return ~low;
    }

    private int Insert(Area area)
    {
        var index = ~IndexOf(area.Segment);
        Invariant.That(index >= 0, "a segment is given to the index once");
        _areas.Insert(index, area);
        return index;
    }

    /// <summary>The slots of a segment or of the fixed area.</summary>
    private sealed class Area
    {
        /// <summary>What may not be given out: in use, or released and not yet settled.</summary>
        private readonly ulong[] _taken;

        /// <summary>Given out since the last settling.</summary>
        private readonly ulong[] _fresh;

        /// <summary>Released since the last settling.</summary>
        private readonly ulong[] _released;

        /// <summary>Released, and in no tree of the newest checkpoint; the older one in the other slot may still lead there.</summary>
        private readonly ulong[] _kept;

        private int _firstWithRoom;
        private bool _isClosed;

        public Area(int segment, byte[]? used = null)
        {
            Segment = segment;
            Slots = SlotsOf(segment);
            _taken = new ulong[Slots / 64];
            _fresh = new ulong[Slots / 64];
            _released = new ulong[Slots / 64];
            _kept = new ulong[Slots / 64];
            used?.CopyTo(MemoryMarshal.AsBytes(_taken.AsSpan()));
            IsReserved = used is not null;
            if (segment == IndexPageNumber.FixedArea)
            {
                // Its number would be 0, which is none.
                _taken[0] |= 1;
            }

            Count();
        }

        public int Segment { get; }

        public int Slots { get; }

        public int InUse { get; private set; }

        public int Free { get; private set; }

        /// <summary>True when no slot is in use, or released and not settled.</summary>
        public bool IsEmpty => Array.TrueForAll(_taken, taken => taken == 0);

        public bool IsReserved { get; set; }

        /// <summary>No slot is given out any more.</summary>
        public void Close()
        {
            _isClosed = true;
            _firstWithRoom = _taken.Length;
            Free = 0;
        }

        public static int SlotsOf(int segment) =>
            segment == IndexPageNumber.FixedArea ? IndexPageNumber.FixedPages : IndexPageNumber.PagesInSegment;

        public bool TryTake(out int slot)
        {
            for (; _firstWithRoom < _taken.Length; _firstWithRoom++)
            {
                var free = ~_taken[_firstWithRoom];
                if (free != 0)
                {
                    var bit = BitOperations.TrailingZeroCount(free);
                    _taken[_firstWithRoom] |= 1UL << bit;
                    _fresh[_firstWithRoom] |= 1UL << bit;
                    InUse++;
                    Free--;
                    slot = (_firstWithRoom * 64) + bit;
                    return true;
                }
            }

            slot = 0;
            return false;
        }

        public void Release(int slot, bool atOnce)
        {
            var bit = 1UL << (slot % 64);
            var isReleased = ((_released[slot / 64] | _kept[slot / 64]) & bit) != 0;
            Invariant.That((_taken[slot / 64] & bit) != 0 && !isReleased, "only an index page in use is released");
            InUse--;
            if (atOnce && !_isClosed)
            {
                _taken[slot / 64] &= ~bit;
                _firstWithRoom = 0;
                Free++;
                return;
            }

            _released[slot / 64] |= bit;
        }

        public void Settle()
        {
            Keep();
            TakeAway(_kept);
            Array.Clear(_kept);
            Count();
        }

        public void Keep()
        {
            for (var i = 0; i < _kept.Length; i++)
            {
                _kept[i] |= _released[i];
            }

            Array.Clear(_fresh);
            Array.Clear(_released);
        }

        public void Abandon() => TakeAway(_fresh);

        public byte[] Snapshot()
        {
            var used = new ulong[_taken.Length];
            for (var i = 0; i < used.Length; i++)
            {
                used[i] = _taken[i] & ~(_released[i] | _kept[i]);
            }

            used[0] &= Segment == IndexPageNumber.FixedArea ? ~1UL : ~0UL;
            return MemoryMarshal.AsBytes(used.AsSpan()).ToArray();
        }

        private void TakeAway(ulong[] which)
        {
            for (var i = 0; i < _taken.Length; i++)
            {
                _taken[i] &= ~which[i];
            }

            Array.Clear(_fresh);
            Array.Clear(_released);
            _firstWithRoom = 0;
            Count();
        }

        private void Count()
        {
            InUse = _taken.Sum(BitOperations.PopCount);
            Free = Slots - InUse;
            InUse -= _kept.Sum(BitOperations.PopCount) + (Segment == IndexPageNumber.FixedArea ? 1 : 0);
            if (_isClosed)
            {
                Close();
            }
        }
    }
}
