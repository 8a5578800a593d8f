using CloudFs.Core.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Every byte is told once, whatever was counted; and what a report says of compaction.</summary>
public sealed class SpaceAccountingTests
{
    private const ulong Segment = 16UL << 20;

    [Fact]
    public void Parts_are_what_was_counted_and_the_rest_is_dead()
    {
        var space = SpaceAccounting.Space(new SpaceTally
        {
            SegmentBytes = Segment,
            Segments = 100,
            FreeSegments = 40,
            IndexSegments = 2,
            CheckpointSegments = 1,
            BadSegments = 3,
            ReserveSegments = 4,
            OpenBytes = 1 << 20,
            LiveBytes = 300UL << 20,
            LiveHeaderBytes = 1000 * 744,
            PinnedBytes = 7 << 20,
            HistoryBytes = 500UL << 20,
            LiveHistoryBytes = 200UL << 20,
            LiveHistoryEntries = 800,
        });
        Assert.Equal(100 * Segment, space.Capacity);
        Assert.Equal(40 * Segment, space.Free);
        Assert.Equal((2 * Segment, Segment, 3 * Segment), (space.Index, space.Checkpoint, space.Bad));
        Assert.Equal((300UL << 20, 7UL << 20, 1UL << 20), (space.Live, space.Pinned, space.Open));
        Assert.Equal(1000UL * 744, space.Headers);
        Assert.Equal((300UL << 20) - (800 * 512), space.History);
        Assert.Equal((54 * Segment) - (608UL << 20) - (1000 * 744) + (800 * 512), space.Dead);
        Assert.Equal((space.History + space.Dead, 4 * Segment), (space.Reclaimable, space.Reserved));
        Assert.Equal(space.Capacity, Sum(space));
    }

    [Theory]
    [InlineData(20111)]
    [InlineData(20112)]
    public void The_parts_add_up_to_the_capacity_whatever_was_counted(int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 2000; i++)
        {
            var space = SpaceAccounting.Space(new SpaceTally
            {
                SegmentBytes = Segment,
                Segments = 64,
                FreeSegments = (ulong)random.Next(17),
                IndexSegments = (ulong)random.Next(17),
                CheckpointSegments = (ulong)random.Next(17),
                BadSegments = (ulong)random.Next(13),
                OpenBytes = Any(),
                LiveBytes = Any(),
                LiveHeaderBytes = Any(),
                PinnedBytes = Any(),
                HistoryBytes = Any(),
                LiveHistoryBytes = Any(),
                LiveHistoryEntries = Any() >> 9,
            });
            Assert.Equal(space.Capacity, Sum(space));
        }

        ulong Any() => (ulong)random.NextInt64(1L << random.Next(1, 34));
    }

    [Theory]
    [InlineData(0, 0, 0, 0, 1, 0UL)]
    [InlineData(100, 88, 1000, 3.3, 1.88, 4UL)]
    [InlineData(0, 50, 1000, double.PositiveInfinity, 1, null)]
    public void Amplification_and_time_left(
        int written, int relocated, int debt, double left, double amplification, ulong? seconds)
    {
        var report = SpaceAccounting.Compaction(new CompactionTally
        {
            NewBytes = (ulong)written,
            RelocatedBytes = (ulong)relocated,
            DebtBytes = (ulong)debt,
            SecondsLeft = left,
        });
        Assert.Equal(amplification, report.WriteAmplification, 6);
        Assert.Equal(seconds, report.EstimatedSeconds);
        Assert.Equal(((ulong)relocated, (ulong)debt), (report.RelocatedBytes, report.DebtBytes));
    }

    [Theory]
    [InlineData(false, false, "none")]
    [InlineData(true, false, "compacting")]
    [InlineData(false, true, "full")]
    [InlineData(true, true, "full")]
    public void Pressure_is_one_word(bool isShort, bool isFull, string word) => Assert.Equal(
        word, SpaceAccounting.Compaction(new CompactionTally { IsShort = isShort, IsFull = isFull }).Pressure);

    internal static ulong Sum(SpaceReport space) =>
        space.Live + space.Headers + space.Pinned + space.History + space.Dead + space.Index + space.Checkpoint + space.Bad
        + space.Open + space.Free;
}
