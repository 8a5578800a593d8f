using CloudFs.Core.Caches;
using CloudFs.Core.Trees;
using Xunit;

namespace CloudFs.Core.Tests.Trees;

public sealed class PageCacheTests
{
    [Fact]
    public void A_page_is_found_under_its_number_and_check_only()
    {
        var cache = new PageCache(1 << 20);
        cache.Add(5, 50, Page(1));
        cache.Add(5, 51, Page(2));

        Assert.Equal((1, 2), (Look(cache, 5, 50), Look(cache, 5, 51)));
        Assert.Equal((-1, -1), (Look(cache, 5, 52), Look(cache, 6, 50)));
        Assert.Equal((2, 2), (cache.Hits, cache.Misses));
        Assert.Equal(2 * PageCache.FrameBytes, cache.Bytes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(300_000)]
    [InlineData(8 << 20)]
    public void It_stays_within_its_bytes_and_gives_what_was_put_in(long capacity)
    {
        var cache = new PageCache(capacity);
        var random = new Random(1);
        var found = 0;
        for (var i = 0; i < 20_000; i++)
        {
            var page = (ulong)random.Next(1, 4000);
            var seen = Look(cache, page, page * 7);
            Assert.True(seen == -1 || seen == (byte)page, "a page is what was put in");
            found += seen == -1 ? 0 : 1;
            cache.Add(page, page * 7, Page((byte)page));
            Assert.Equal((byte)page, Look(cache, page, page * 7));
        }

        Assert.InRange(cache.Bytes, 1, Math.Max(capacity, 16 * PageCache.FrameBytes));
        Assert.InRange(found, capacity / PageCache.FrameBytes * 3, 20_000);
    }

    [Fact]
    public void What_is_looked_at_again_and_again_stays_while_others_pass_by()
    {
        var cache = new PageCache(100 * PageCache.FrameBytes);
        cache.Add(1, 1, Page(1));
        for (var page = 2UL; page < 2000; page++)
        {
            Assert.Equal(1, Look(cache, 1, 1));
            cache.Add(page, page, Page(0));
        }

        Assert.Equal(1, Look(cache, 1, 1));
        Assert.Equal(-1, Look(cache, 2, 2));
    }

    [Fact]
    public void Many_at_once_see_whole_pages()
    {
        var cache = new PageCache(64 * PageCache.FrameBytes);
        Parallel.For(0, 4, worker =>
        {
            var random = new Random(worker);
            for (var i = 0; i < 20_000; i++)
            {
                var page = (ulong)random.Next(1, 200);
                var seen = Look(cache, page, page);
                Assert.True(seen == -1 || seen == (byte)page, "a page is what was put in");
                cache.Add(page, page, Page((byte)page));
            }
        });
        Assert.Equal(80_000, cache.Hits + cache.Misses);
    }

    private static byte[] Page(byte value)
    {
        var page = new byte[4096];
        page.AsSpan().Fill(value);
        return page;
    }

    private static int Look(PageCache cache, ulong page, ulong check)
    {
        var seen = new Seen { Value = -1 };
        cache.TryVisit(page, check, ref seen);
        return seen.Value;
    }

    private struct Seen : FrameCache.IVisitor
    {
        public int Value;

        public void Visit(ReadOnlySpan<byte> page) => Value = page.ContainsAnyExcept(page[0]) ? -2 : page[0];
    }
}
