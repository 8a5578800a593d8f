using CloudFs.Core.Layout;

namespace CloudFs.Core.Compaction;

/// <summary>
/// Decides when to compact, which segments, and where their entries go: pure, from what is known of the segments.
/// <para>
/// <b>Victims</b> by benefit and cost: garbage × age / live (Rosenblum and Ousterhout, "The Design and Implementation of a
/// Log-Structured File System", SOSP 1991), age being how much was written since the segment was sealed: garbage that is
/// still growing fast is worth waiting for. It is nearly the best there is ("minimum declining cost": Lomet and Luo,
/// "Efficiently Reclaiming Space in a Log Structured Store", ICDE 2021, with exact knowledge of each page's rate wins one
/// per cent more). With uniform traffic it is as good as greedy cleaning.
/// </para>
/// <para>
/// <b>Streams.</b> Entries go into one of two relocation segments, hot or cold, by <see cref="Index.HeatMap"/>: a survivor's
/// generation and age alone don't tell (docs/adr/0011).
/// </para>
/// Not thread-safe: it is the housekeeper's.
/// </summary>
public sealed class VictimPolicy
{
    /// <summary>Relocation segments that are open at a time.</summary>
    public const int Streams = 2;

    /// <summary>The stream of pages that die young.</summary>
    public const int HotStream = 0;

    /// <summary>The stream of pages that live long.</summary>
    public const int ColdStream = 1;

    /// <summary>One cycle wins about a segment for each this many of the device, and starts that much early.</summary>
    public const int SegmentsPerStep = 256;

    /// <summary>The most segments that a cycle sets out to win: bounds its memory.</summary>
    public const int MaxStep = 16;

    /// <summary>The most bytes that a cycle relocates: bounds its time and memory.</summary>
    public const long MaxLiveBytes = 512L << 20;

    /// <summary>Garbage below this part of the device, one in so many, is not worth relocating everything for.</summary>
    public const int HopelessPart = 25;

    /// <summary>A victim wins at least one in this many of its bytes.</summary>
    public const int WorthPart = 64;

    /// <summary>How much better a victim must be to shorten history for it, where history is to be kept.</summary>
    public const double HistoryFactor = 1.25;

    /// <summary>What surely fits into a relocation segment: an entry that doesn't go on the end of it leaves up to 1 MiB.</summary>
    private const long OutputBytes = DeviceGeometry.SegmentBytes - (1 << 20);

    private readonly int _count;
    private readonly int _reserve;
    private readonly int _step;
    private readonly long _historyMicros;
    private double[] _scores = [];
    private int[] _order = [];

    /// <param name="segmentCount">Segments on the device.</param>
    /// <param name="reserve">Segments kept back from ordinary writes.</param>
    /// <param name="historyMicros">How long history is to be kept, if writes need not wait for it.</param>
    public VictimPolicy(int segmentCount, int reserve, long historyMicros)
    {
        _count = segmentCount;
        _reserve = reserve;
        _historyMicros = historyMicros;
        _step = Math.Clamp(segmentCount / SegmentsPerStep, 1, MaxStep);
    }

    /// <summary>With this many segments free nothing is compacted.</summary>
    public int HighWater => _reserve + (2 * _step);

    /// <summary>Which stream an entry goes into. While heat is not known yet, what survived once counts as cold.</summary>
    /// <param name="fromRelocation">True when the victim is a relocation segment.</param>
    /// <param name="heatIsKnown"><see cref="Index.HeatMap.IsWarm"/>.</param>
    /// <param name="isHot"><see cref="Index.HeatMap.IsHot"/> of the entry's first live page.</param>
    public static int StreamOf(bool fromRelocation, bool heatIsKnown, bool isHot) =>
        (heatIsKnown ? isHot : !fromRelocation) ? HotStream : ColdStream;

    /// <summary>
    /// Garbage in sealed segments below which the device is full when nothing is free: three quarters of a segment, or a 25th of it.
    /// </summary>
    public long HopelessBytes => Math.Max(DeviceGeometry.SegmentBytes * 3L / 4, (long)DeviceGeometry.SegmentBytes * _count / HopelessPart);

    /// <summary>Chooses the victims of the next cycle.</summary>
    /// <param name="segments">All sealed segments.</param>
    /// <param name="now">The state of space.</param>
    /// <param name="victims">Gets the victims, best first; it is cleared before.</param>
    public CompactionPlan Choose(ReadOnlySpan<SegmentFacts> segments, in SpaceNow now, List<SegmentFacts> victims)
    {
        victims.Clear();
        if (now.Free >= HighWater)
        {
            return CompactionPlan.None(CompactionVerdict.NotNeeded);
        }

        var garbage = 0L;
        foreach (ref readonly var segment in segments)
        {
            garbage += segment.GarbageBytes;
        }

        if (garbage < HopelessBytes)
        {
            return CompactionPlan.None(CompactionVerdict.NothingToGain);
        }

        var isPressed = now.Free <= _reserve;
        var count = Rank(segments, now, isPressed, byEmptiness: false);
        var plan = Take(segments, now, count, victims);
        if (plan.GainBytes < DeviceGeometry.SegmentBytes / 2)
        {
            // Nearly full: what matters now is to get on at all.
            count = Rank(segments, now, isPressed, byEmptiness: true);
            plan = Take(segments, now, count, victims);
        }

        if (victims.Count > 0)
        {
            return plan;
        }

        var isHeld = !isPressed && Rank(segments, now, isPressed: true, byEmptiness: true) > count;
        return CompactionPlan.None(isHeld ? CompactionVerdict.HistoryHolds : CompactionVerdict.CheckpointFirst);
    }

    /// <summary>What has to be relocated until <see cref="HighWater"/> is reached, if nothing were written meanwhile.</summary>
    public CompactionDebt Debt(ReadOnlySpan<SegmentFacts> segments, in SpaceNow now)
    {
        var missing = (long)(HighWater - now.Free) * DeviceGeometry.SegmentBytes;
        var (live, gain) = (0L, 0L);
        var count = missing > 0 ? Rank(segments, now, isPressed: true, byEmptiness: false) : 0;
        for (var i = 0; i < count && gain < missing; i++)
        {
            live += segments[_order[i]].LiveBytes;
            gain += segments[_order[i]].GarbageBytes;
        }

        return new CompactionDebt(live, Math.Max(0, missing), gain >= missing);
    }

    private CompactionPlan Take(ReadOnlySpan<SegmentFacts> segments, in SpaceNow now, int count, List<SegmentFacts> victims)
    {
        // One free segment stays for what can't wait; unless nothing else goes on at all.
        var plan = Take(segments, now, count, Math.Max(0, now.Free - 1), victims);
        return victims.Count > 0 || now.Free != 1 ? plan : Take(segments, now, count, 1, victims);
    }

    private CompactionPlan Take(
        ReadOnlySpan<SegmentFacts> segments, in SpaceNow now, int count, int outputsMax, List<SegmentFacts> victims)
    {
        victims.Clear();
        var room = Math.Min(MaxLiveBytes, ((long)outputsMax * OutputBytes) + now.OutputRest);
        var (live, gain, shortens) = (0L, 0L, false);

        // What a cycle wins, clients take while it goes on. So both have to be free at its beginning: what it moves and what
        // it wins, which together are its victims.
        var most = Math.Max(2, now.Free - 1);
        for (var i = 0; i < count && gain < (long)_step * DeviceGeometry.SegmentBytes && victims.Count < most; i++)
        {
            ref readonly var victim = ref segments[_order[i]];
            if (live + victim.LiveBytes > room)
            {
                continue;
            }

            live += victim.LiveBytes;
            gain += victim.GarbageBytes;
            shortens |= IsYoung(victim, now);
            victims.Add(victim);
        }

        var outputs = (int)((Math.Max(0, live - now.OutputRest) + OutputBytes - 1) / OutputBytes);
        return new CompactionPlan(CompactionVerdict.Chosen, live, gain, outputs, shortens);
    }

    private int Rank(ReadOnlySpan<SegmentFacts> segments, in SpaceNow now, bool isPressed, bool byEmptiness)
    {
        if (_order.Length < segments.Length)
        {
            _order = new int[segments.Length];
            _scores = new double[segments.Length];
        }

        var count = 0;
        for (var i = 0; i < segments.Length; i++)
        {
            ref readonly var segment = ref segments[i];
            if (segment.GarbageBytes >= DeviceGeometry.SegmentBytes / WorthPart
                && (segment.IsRelocation || segment.Use < now.RollFromUse)
                && (isPressed || !IsYoung(segment, now)))
            {
                _order[count] = i;
                _scores[count++] = -(byEmptiness ? segment.GarbageBytes : Score(segment, now));
            }
        }

        Array.Sort(_scores, _order, 0, count);
        return count;
    }

    private double Score(in SegmentFacts segment, in SpaceNow now)
    {
        var age = 1.0 + (now.LogUse > segment.SealedAt ? now.LogUse - segment.SealedAt : 0);
        var keepsHistory = _historyMicros == 0 || segment.IsRelocation || segment.Use < now.HorizonUse;
        return segment.GarbageBytes * age / Math.Max(1, segment.LiveBytes) * (keepsHistory ? HistoryFactor : 1);
    }

    private bool IsYoung(in SegmentFacts segment, in SpaceNow now) =>
        now.NowMicros - segment.SealedMicros < _historyMicros;
}
