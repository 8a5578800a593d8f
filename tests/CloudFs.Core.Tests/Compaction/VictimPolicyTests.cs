using CloudFs.Core.Compaction;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Compaction;

public sealed class VictimPolicyTests
{
    private const int Reserve = 3;
    private const long Hour = 3_600_000_000;
    private const long Segment = DeviceGeometry.SegmentBytes;

    [Fact]
    public void Victims_are_allowed_fit_and_win_something() => Seeds.Run(0, 300, 100, seed =>
    {
        var random = new Random(seed);
        var count = random.Next(6, 1500);
        var policy = new VictimPolicy(count, Reserve, random.Next(2) * Hour);
        var now = new SpaceNow(
            random.Next(policy.HighWater + 2), random.NextInt64(2 * Segment), 5000, (ulong)random.Next(4900, 5000), 4000, 10 * Hour);
        var segments = Enumerable.Range(0, random.Next(count)).Select(i => Random(random, i, random.NextDouble())).ToArray();
        var victims = new List<SegmentFacts>();

        var plan = policy.Choose(segments, now, victims);

        Assert.Equal(plan.Verdict == CompactionVerdict.Chosen, victims.Count > 0);
        Assert.Equal(plan.Verdict == CompactionVerdict.NotNeeded, now.Free >= policy.HighWater);
        Assert.Equal(victims.Count, victims.Distinct().Count());
        Assert.All(victims, victim =>
        {
            Assert.Contains(victim, segments);
            Assert.True(victim.IsRelocation || victim.Use < now.RollFromUse);
            Assert.True(victim.GarbageBytes >= Segment / VictimPolicy.WorthPart);
        });
        Assert.Equal(victims.Sum(victim => victim.LiveBytes), plan.LiveBytes);
        Assert.Equal(victims.Sum(victim => victim.GarbageBytes), plan.GainBytes);
        Assert.True(plan.LiveBytes <= (plan.OutputSegments * Segment) + now.OutputRest, "what is moved fits");
        Assert.InRange(plan.OutputSegments, 0, now.Free);
        if (plan.Verdict == CompactionVerdict.NothingToGain)
        {
            Assert.True(segments.Sum(segment => segment.GarbageBytes) < policy.HopelessBytes);
        }
    });

    [Fact]
    public void Young_history_is_kept_until_writes_wait()
    {
        var policy = new VictimPolicy(256, Reserve, Hour);
        var victims = new List<SegmentFacts>();
        var half = (int)(Segment / 2 / (4096 + HeaderTally.EntryOverhead));
        var young = Enumerable.Range(0, 200).Select(i => new SegmentFacts(i, (ulong)i + 1, half, half * 8, (ulong)i + 2, 9 * Hour + i)).ToArray();
        var now = new SpaceNow(Reserve + 1, 0, 201, 201, 0, (9 * Hour) + 1000);

        Assert.Equal(CompactionVerdict.HistoryHolds, policy.Choose(young, now, victims).Verdict);
        Assert.Empty(victims);

        var plan = policy.Choose(young, now with { Free = Reserve }, victims);
        Assert.Equal((CompactionVerdict.Chosen, true), (plan.Verdict, plan.ShortensHistory));
        Assert.Equal([1UL, 2], victims.Select(victim => victim.Use));

        plan = policy.Choose(young, now with { NowMicros = 11 * Hour }, victims);
        Assert.Equal((CompactionVerdict.Chosen, false), (plan.Verdict, plan.ShortensHistory));
    }

    [Fact]
    public void What_the_last_checkpoint_needs_waits_for_the_next()
    {
        var policy = new VictimPolicy(256, Reserve, 0);
        var segments = new[] { new SegmentFacts(0, 7, 0, 0, 8, 0), new SegmentFacts(1, 8, 0, 0, 9, 0) };
        var victims = new List<SegmentFacts>();
        var now = new SpaceNow(1, 0, 9, 7, 0, 0);
        var small = new VictimPolicy(50, Reserve, 0);

        Assert.Equal(CompactionVerdict.NothingToGain, policy.Choose(segments, now, victims).Verdict);
        Assert.Equal(CompactionVerdict.CheckpointFirst, small.Choose(segments, now, victims).Verdict);
        Assert.Equal(CompactionVerdict.Chosen, small.Choose(segments, now with { RollFromUse = 9 }, victims).Verdict);
    }

    [Fact]
    public void Where_the_cost_is_near_a_victim_behind_the_horizon_is_taken()
    {
        var policy = new VictimPolicy(256, Reserve, 1);
        var segments = Enumerable.Range(1, 100).Select(i => new SegmentFacts(i, (ulong)i, 1000, 8000, 150, 0)).ToArray();
        segments[79] = segments[79] with { References = 950, LiveSectors = 7600 };
        segments[39] = segments[39] with { References = 960, LiveSectors = 7680 };
        var victims = new List<SegmentFacts>();
        var now = new SpaceNow(Reserve, 0, 200, 200, 0, 10);

        policy.Choose(segments, now, victims);
        Assert.Equal(80UL, victims[0].Use);

        policy.Choose(segments, now with { HorizonUse = 50 }, victims);
        Assert.Equal(40UL, victims[0].Use);
    }

    /// <summary>
    /// Whatever is live: left alone, cycles reach high water or an end, each with less garbage than before; then the
    /// device can be filled to the brim, trimmed, and filled again.
    /// </summary>
    [Theory]
    [InlineData(20, 100)]
    [InlineData(64, 200)]
    [InlineData(256, 100)]
    public void A_full_device_comes_back_each_time(int segments, int perSegment)
    {
        var simulator = new SpaceSimulator(segments, perSegment, segments * perSegment);
        var random = new Random(11);
        var filled = new List<int>();
        for (var round = 0; round < 3; round++)
        {
            var next = 0;
            while (simulator.TryWrite(next))
            {
                next++;
                if (next % 3 == 0)
                {
                    if (!simulator.TryWrite(random.Next(next)))
                    {
                        break;
                    }
                }
            }

            Assert.Equal(CompactionVerdict.NothingToGain, simulator.Verdict);
            filled.Add(next);
            for (var page = 0; page < next; page++)
            {
                if (page % 4 != round % 4)
                {
                    simulator.Trim(page);
                }
            }

            var cycles = 0;
            while (simulator.RunCycle())
            {
                Assert.True(++cycles < segments * 4, "it ends");
            }

            Assert.Equal(CompactionVerdict.NotNeeded, simulator.Verdict);
            Assert.True(simulator.Free >= simulator.HighWater);
            for (var page = 0; page < next; page++)
            {
                simulator.Trim(page);
            }
        }

        Assert.All(filled, pages => Assert.InRange(pages, 0.9 * (1 - (1.0 / VictimPolicy.HopelessPart))
            * (SpaceSimulator.Capacity(segments) - 2) * perSegment, segments * perSegment));
        Assert.InRange(filled.Max() - filled.Min(), 0, 2 * perSegment);
    }

    [Fact]
    public void History_is_shortened_only_for_waiting_writes()
    {
        // At 100 MiB/s the log writes 2.5 GiB in 25 s; history of 20 s fits at half full, one of an hour doesn't.
        foreach (var (seconds, isKept) in new[] { (5L, true), (3600, false) })
        {
            var simulator = new SpaceSimulator(256, 100, 12_000, seconds * 1_000_000);
            var random = new Random(3);
            for (var i = 0; i < 100_000; i++)
            {
                Assert.True(simulator.TryWrite(random.Next(12_000)));
            }

            Assert.Equal(0, simulator.Shortened.Early);
            Assert.Equal(isKept, simulator.Shortened.All == 0);
            Assert.True(simulator.Cycles > 100);
        }
    }

    [Fact]
    public void Debt_is_what_leads_back_to_high_water()
    {
        var policy = new VictimPolicy(256, Reserve, 0);
        var quarter = new SegmentFacts(0, 1, 792, 6336, 2, 0);
        var segments = Enumerable.Range(0, 100).Select(i => quarter with { Segment = i, Use = (ulong)i + 1 }).ToArray();
        var now = new SpaceNow(Reserve, 0, 101, 101, 0, 0);

        var debt = policy.Debt(segments, now);

        Assert.True(debt.IsReachable);
        Assert.Equal(2 * Segment, debt.GainBytes);
        Assert.Equal(3 * quarter.LiveBytes, debt.LiveBytes);
        Assert.False(policy.Debt(segments.AsSpan(0, 2), now).IsReachable);
        Assert.Equal(new CompactionDebt(0, 0, true), policy.Debt(segments, now with { Free = policy.HighWater }));
    }

    private static SegmentFacts Random(Random random, int index, double live)
    {
        var entries = (int)(live * 3200);
        var use = (random.Next(2) == 0 ? SegmentFacts.FirstRelocationUse : 1) + (ulong)index + 4000;
        return new SegmentFacts(index, use, entries, entries * 8, (ulong)random.Next(1, 5000), random.NextInt64(10 * Hour));
    }
}
