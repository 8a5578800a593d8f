using CloudFs.Core.Compaction;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;

namespace CloudFs.Core.Tests.Compaction;

/// <summary>
/// A device as compaction sees it: segments of 4 KiB entries, one log, two relocation streams; the cycle goes on beside the
/// client at the pace that it is told, and what it empties is free a while after its end. A segment has fewer entries than
/// a real one, each so much larger: what it costs depends on the number of segments.
/// </summary>
internal sealed class SpaceSimulator
{
    /// <summary>Entries of 4 KiB that a real segment takes, with headers, copies and commit frames.</summary>
    private const int RealEntries = (int)(
        (long)DeviceGeometry.SegmentBytes * SegmentFacts.FramePart / (SegmentFacts.FramePart + 1) / (4096 + HeaderTally.EntryOverhead));

    private const double ClientBytesPerSecond = 100 << 20;
    private const int None = -1;

    private readonly Segment[] _segments;
    private readonly Stack<int> _free = [];
    private readonly int _perSegment;
    private readonly int[] _place;
    private readonly int[] _page;
    private readonly VictimPolicy _policy;
    private readonly HeatMap _heat;
    private readonly int[] _open = [None, None, None];
    private readonly List<SegmentFacts> _facts = [];
    private readonly List<SegmentFacts> _victims = [];
    private readonly Queue<int> _moves = [];
    private readonly double _entryBytes;
    private readonly long _historyMicros;
    private ulong _relocationUse = SegmentFacts.FirstRelocationUse;
    private CompactionPlan _plan;
    private int _borrowed;
    private bool _isRunning;
    private int _untilFree;
    private double _budget;
    private double _rate;
    private long _sincePlan;

    public SpaceSimulator(int segments, int perSegment, int pages, long historyMicros = 0)
    {
        _segments = new Segment[segments];
        _perSegment = perSegment;
        _place = new int[pages];
        Array.Fill(_place, None);
        _page = new int[segments * perSegment];
        _entryBytes = (double)DeviceGeometry.SegmentBytes / perSegment;
        _historyMicros = historyMicros;
        _policy = new VictimPolicy(segments, SegmentTable.ReserveSegments, historyMicros);
        _heat = new HeatMap((ulong)segments * (ulong)perSegment * DeviceGeometry.SegmentBytes / RealEntries);
        for (var i = segments - 1; i >= 0; i--)
        {
            _free.Push(i);
        }
    }

    public long Written { get; private set; }

    public long Relocated { get; private set; }

    public long Cycles { get; private set; }

    /// <summary>Writes that had to wait for a cycle's end.</summary>
    public long Waits { get; private set; }

    /// <summary>Cycles that shortened history, and how many of them while writes were not waiting for it.</summary>
    public (long All, long Early) Shortened { get; private set; }

    public ulong LogUse { get; private set; }

    public ulong HorizonUse { get; private set; }

    public int Free => _free.Count;

    public int HighWater => _policy.HighWater;

    public CompactionVerdict Verdict => _plan.Verdict;

    public long NowMicros => (long)(Written * _entryBytes / ClientBytesPerSecond * 1e6);

    public HeatMap Heat => _heat;

    /// <summary>Segments that can hold data: all but the reserve, the log's open one, and the one ahead of it.</summary>
    public static int Capacity(int segments) => segments - SegmentTable.ReserveSegments - 2;

    /// <summary>Writes a page; false when the device is full.</summary>
    public bool TryWrite(int page)
    {
        if (_open[0] == None && !TryTakeForLog())
        {
            return false;
        }

        _heat.Wrote(1, (ulong)page * 8, 8);
        Kill(page);
        Put(0, page, LogUse);
        Written++;
        Advance();
        return true;
    }

    /// <summary>Drops a page, as a trim does.</summary>
    public void Trim(int page) => Kill(page);

    /// <summary>One whole cycle, with no client; false when none was chosen.</summary>
    public bool RunCycle()
    {
        if (!_isRunning)
        {
            Plan();
        }

        if (!_isRunning)
        {
            return false;
        }

        Move(int.MaxValue);
        EndCycle();
        return true;
    }

    public long LiveSum() => _segments.Sum(segment => (long)segment.Live);

    private bool TryTakeForLog()
    {
        while (_free.Count - 1 < Floor)
        {
            Waits++;
            if (!RunCycle() && _plan.Verdict == CompactionVerdict.NothingToGain)
            {
                return false;
            }
        }

        return true;
    }

    private int Floor => _isRunning ? _plan.Floor(_borrowed) : SegmentTable.ReserveSegments;

    private void Advance()
    {
        if (_isRunning && _moves.Count == 0)
        {
            if (--_untilFree <= 0)
            {
                EndCycle();
            }
        }
        else if (_isRunning)
        {
            if (++_sincePlan % 16 == 0)
            {
                _rate = Rate();
            }

            _budget = Math.Min(_perSegment * 2.0, _budget + (_rate / ClientBytesPerSecond));
            var moves = (int)_budget;
            _budget -= moves;
            Move(moves);
        }
        else if (_open[0] == None)
        {
            Plan();
        }
    }

    private double Rate() => CompactionPace.BytesPerSecond(new PaceInput(
        ((long)_free.Count * DeviceGeometry.SegmentBytes)
            + (_open[0] == None ? 0 : (long)((_perSegment - _segments[_open[0]].Count) * _entryBytes)),
        (long)Floor * DeviceGeometry.SegmentBytes,
        (long)_policy.HighWater * DeviceGeometry.SegmentBytes,
        ClientBytesPerSecond,
        (long)(_moves.Count * _entryBytes),
        _plan.LiveBytes / (double)Math.Max(1, _plan.LiveBytes + _plan.GainBytes)));

    private void Plan()
    {
        _facts.Clear();
        for (var i = 0; i < _segments.Length; i++)
        {
            ref readonly var segment = ref _segments[i];
            if (segment.IsSealed)
            {
                var real = (long)segment.Live * RealEntries / _perSegment;
                _facts.Add(new SegmentFacts(i, segment.Use, (int)real, real * 8, segment.SealedAt, segment.SealedMicros));
            }
        }

        _heat.Live((ulong)LiveSum() * 8);
        var now = new SpaceNow(Free, OutputRest(), LogUse, LogUse, HorizonUse, NowMicros);
        _plan = _policy.Choose(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_facts), now, _victims);
        if (_plan.Verdict != CompactionVerdict.Chosen)
        {
            return;
        }

        Cycles++;
        _isRunning = true;
        var isEarly = Free > SegmentTable.ReserveSegments;
        Shortened = (
            Shortened.All + (_plan.ShortensHistory ? 1 : 0),
            Shortened.Early + (isEarly && _victims.Any(v => NowMicros - v.SealedMicros < _historyMicros) ? 1 : 0));
        foreach (var victim in _victims)
        {
            HorizonUse = victim.IsRelocation ? HorizonUse : Math.Max(HorizonUse, victim.Use + 1);
            for (var at = victim.Segment * _perSegment; at < (victim.Segment + 1) * _perSegment; at++)
            {
                if (_place[_page[at]] == at)
                {
                    _moves.Enqueue(at);
                }
            }
        }

        _rate = Rate();
        _budget = 0;
        _untilFree = _perSegment / 6;
    }

    private long OutputRest() => (long)(_open.Skip(1).Where(i => i != None).Sum(i => _perSegment - _segments[i].Count) * _entryBytes);

    private void Move(int moves)
    {
        while (moves-- > 0 && _moves.TryDequeue(out var at))
        {
            var page = _page[at];
            if (_place[page] != at)
            {
                continue;
            }

            ref readonly var from = ref _segments[at / _perSegment];
            var stream = 1 + VictimPolicy.StreamOf(
                from.Use >= SegmentFacts.FirstRelocationUse, _heat.IsWarm, _heat.IsHot(1, (ulong)page * 8));
            if (_open[stream] == None)
            {
                stream = _plan.MayBegin(_borrowed, Free) || _open[3 - stream] == None ? stream : 3 - stream;
                _borrowed += _open[stream] == None ? 1 : 0;
            }

            Kill(page);
            Put(stream, page, _open[stream] == None ? _relocationUse++ : 0);
            Relocated++;
        }
    }

    private void EndCycle()
    {
        foreach (var victim in _victims)
        {
            if (_segments[victim.Segment].Live != 0)
            {
                throw new InvalidOperationException("a victim is left with live entries");
            }

            _segments[victim.Segment] = default;
            _free.Push(victim.Segment);
        }

        _isRunning = false;
        _borrowed = 0;
        Plan();
    }

    private void Kill(int page)
    {
        if (_place[page] != None)
        {
            _segments[_place[page] / _perSegment].Live--;
            _place[page] = None;
        }
    }

    private void Put(int stream, int page, ulong use)
    {
        if (_open[stream] == None)
        {
            _open[stream] = _free.Count > 0 ? _free.Pop() : throw new InvalidOperationException("a cycle was promised room");
            LogUse += stream == 0 ? 1UL : 0;
            _segments[_open[stream]].Use = stream == 0 ? LogUse : use;
        }

        var index = _open[stream];
        ref var segment = ref _segments[index];
        _place[page] = (index * _perSegment) + segment.Count;
        _page[_place[page]] = page;
        segment.Live++;
        if (++segment.Count == _perSegment)
        {
            segment.IsSealed = true;
            segment.SealedAt = LogUse;
            segment.SealedMicros = NowMicros;
            _open[stream] = None;
        }
    }

    private struct Segment
    {
        public ulong Use;
        public int Count;
        public int Live;
        public bool IsSealed;
        public ulong SealedAt;
        public long SealedMicros;
    }
}
