using CloudFs.Core.Index;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Index;

/// <summary>The bytes of index pages.</summary>
public sealed class IndexPageTests
{
    [Fact]
    public void What_is_written_is_read_whatever_the_values() => Seeds.Run(0, 100, 20, seed =>
    {
        var random = new Random(seed);
        var extents = RandomExtents(random, random.Next(1, 600));
        var frame = default(PageFrame);
        var count = 0;
        while (count < extents.Count && frame.TryAdd(PageRow.Of(extents[count])))
        {
            count++;
        }

        var page = new byte[4096];
        PageFrame.Write(page, 0, [.. extents.Take(count).Select(extent => PageRow.Of(extent))]);

        Assert.True(IndexPage.IsSound(page, 0));
        Assert.False(IndexPage.IsSound(page, 1));
        Assert.Equal((count, 0), (new IndexPage(page).Count, new IndexPage(page).Level));
        for (var row = 0; row < count; row++)
        {
            Assert.Equal(extents[row], new IndexPage(page).Extents()[row]);
            Assert.Equal(row, new IndexPage(page).LastAtOrBefore(extents[row].Lba));
            Assert.Equal(row, new IndexPage(page).LastAtOrBefore(extents[row].End - 1));
            Assert.Equal(row - 1, extents[row].Lba == 0 ? -1 : new IndexPage(page).LastAtOrBefore(extents[row].Lba - 1));
        }
    });

    [Fact]
    public void Children_are_read_as_they_were_written()
    {
        var random = new Random(4);
        var children = Enumerable.Range(0, 250).Select(i => new PagePointer(
            ((ulong)i * 100_000) + (ulong)random.Next(100_000), (ulong)random.Next(1, 1 << 22), (ulong)random.NextInt64())).ToList();
        var page = new byte[4096];
        PageFrame.Write(page, 3, [.. children.Select(child => PageRow.Of(child))]);

        Assert.True(IndexPage.IsSound(page, 3));
        Assert.Equal(children, children.Select((_, row) => new IndexPage(page).Child(row)));
    }

    [Fact]
    public void Random_four_KiB_writes_fit_four_hundred_a_leaf_also_beside_relocated_ones()
    {
        var random = new Random(4);
        var frame = default(PageFrame);
        var row = 0;
        while (frame.TryAdd(PageRow.Of(new MappedExtent(
            (ulong)(row * 24), 8, MappedContent.Data, 0, (ulong)random.Next(1, 1 << 24),
            new LogPosition(((ulong)random.Next(2) << 39) + (ulong)random.Next(1, 4000), (uint)random.Next(32_768) * 512)))))
        {
            row++;
        }

        Assert.InRange(row, 400, 500);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(512UL)]
    [InlineData(1UL << 63)]
    [InlineData(ulong.MaxValue)]
    [InlineData(0x123456789ABCDEFUL)]
    public void A_folded_position_unfolds(ulong position) => Assert.Equal(position, PageRow.Unfold(PageRow.Fold(position)).Value);

    [Fact]
    public void A_relocated_position_folds_to_a_small_number() => Assert.InRange(
        PageRow.Fold(new LogPosition((1UL << 39) + 1000, 512 * 1000).Value), 1UL, 1UL << 27);

    [Fact]
    public void No_bytes_whatever_lead_out_of_the_page() => Seeds.Run(0, 50, 10, seed =>
    {
        var random = new Random(seed);
        var page = new byte[4096];
        PageFrame.Write(page, 0, [.. RandomExtents(random, 60).Select(extent => PageRow.Of(extent))]);
        var sound = 0;
        for (var i = 0; i < 300; i++)
        {
            var copy = page.ToArray();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
            {
                copy[random.Next(4) == 0 ? random.Next(4096) : random.Next(IndexPageLayout.HeaderBytes)] = (byte)random.Next(256);
            }

            for (var level = 0; level < 2; level++)
            {
                copy[IndexPageLayout.Level] = (byte)level;
                if (IndexPage.IsSound(copy, level))
                {
                    sound++;
                    var opened = new IndexPage(copy);
                    Assert.InRange(opened.LastAtOrBefore((ulong)random.NextInt64()), -1, opened.Count - 1);
                }
            }
        }

        Assert.InRange(sound, 1, 599);
    });

    private static List<MappedExtent> RandomExtents(Random random, int count)
    {
        var extents = new List<MappedExtent>();
        var lba = random.Next(2) == 0 ? 0UL : (ulong)random.NextInt64(1L << 55);
        var (spread, size, far) = (1 << random.Next(1, 30), 1 << random.Next(1, 20), random.Next(3));
        for (var i = 0; i < count; i++)
        {
            lba += (ulong)random.Next(spread);
            var sectors = (ulong)random.Next(1, size);
            var content = (MappedContent)random.Next(random.Next(2) == 0 ? 1 : 3);
            extents.Add(new MappedExtent(
                lba, sectors, content, (ushort)random.Next(random.Next(2) == 0 ? 2 : 65_536), (ulong)random.NextInt64(1L << (20 * (far + 1))),
                content == MappedContent.Lost ? default : new LogPosition((ulong)random.NextInt64(1L << 40 >> (10 * far)), (uint)random.Next(1 << 24))));
            lba += sectors;
        }

        return extents;
    }
}
