using CloudFs.Core.Caches;
using Xunit;

namespace CloudFs.Core.Tests.Caches;

/// <summary>Pages that need not fill their frames; what index pages ask of the same frames is in PageCacheTests.</summary>
public sealed class FrameCacheTests
{
    [Fact]
    public void Nothing_is_given_out_but_what_was_put_in()
    {
        var cache = new FrameCache(1 << 20);
        cache.Add(new FrameKey(1, 1), 512, Page(1024, 7));

        Assert.True(Holds(cache, new FrameKey(1, 1), 512, 1024, 7));
        Assert.True(Holds(cache, new FrameKey(1, 1), 1024, 512, 7));
        Assert.False(Has(cache, new FrameKey(1, 1), 0, 1024));
        Assert.False(Has(cache, new FrameKey(1, 1), 1024, 1024));
        Assert.False(Has(cache, new FrameKey(1, 1), 0, 4096));
        Assert.False(Has(cache, new FrameKey(1, 2), 512, 512));
        Assert.False(Has(cache, new FrameKey(2, 1), 512, 512));
        Assert.Equal((2, 5), (cache.Hits, cache.Misses));
    }

    [Fact]
    public void A_frame_that_is_used_again_shows_nothing_of_the_page_before()
    {
        var cache = new FrameCache(0);
        for (var i = 0UL; i < 100; i++)
        {
            cache.Add(new FrameKey(i, 0), 0, Page(4096, 1));
        }

        for (var i = 100UL; i < 200; i++)
        {
            cache.Add(new FrameKey(i, 0), 1536, Page(512, 2));
            Assert.False(Has(cache, new FrameKey(i, 0), 0, 4096));
            Assert.False(Has(cache, new FrameKey(i, 0), 1024, 512));
            Assert.True(Holds(cache, new FrameKey(i, 0), 1536, 512, 2));
        }
    }

    [Fact]
    public void A_page_that_nobody_asked_for_since_it_came_is_the_first_to_go()
    {
        var cache = new FrameCache(0);
        for (var i = 0UL; i < 8; i++)
        {
            cache.Add(new FrameKey(i, 0), 0, Page(4096, (byte)i));
            Assert.True(Has(cache, new FrameKey(i, 0), 0, 512));
        }

        // Twice as many as there is room for pass by, once each.
        for (var i = 8UL; i < 24; i++)
        {
            cache.Add(new FrameKey(i, 0), 0, Page(4096, (byte)i));
        }

        Assert.All(Enumerable.Range(0, 8), i => Assert.True(Holds(cache, new FrameKey((ulong)i, 0), 0, 4096, (byte)i)));
    }

    [Fact]
    public void To_look_in_passing_gives_no_second_chance_and_is_not_counted()
    {
        var cache = new FrameCache(0);
        cache.Add(new FrameKey(0, 0), 0, Page(4096, 1));
        Assert.True(cache.TryCopy(new FrameKey(0, 0), 0, new byte[512]));
        Assert.False(cache.TryCopy(new FrameKey(1, 0), 0, new byte[512]));
        for (var i = 1UL; i <= 16; i++)
        {
            cache.Add(new FrameKey(i, 0), 0, Page(4096, 1));
        }

        Assert.Equal((0, 0), (cache.Hits, cache.Misses));
        Assert.False(Has(cache, new FrameKey(0, 0), 0, 512));
    }

    [Theory]
    [InlineData(1, 1 << 20)]
    [InlineData(2, 64 << 20)]
    public void A_run_gives_what_is_here_of_it_up_to_the_first_page_that_is_not(int seed, long capacity)
    {
        var random = new Random(seed);
        var cache = new FrameCache(capacity);
        var held = new Dictionary<FrameKey, byte>();
        for (var i = 0; i < 3000; i++)
        {
            var key = KeyOf(random.Next(4), random.Next(64));
            if (held.Count < 200 && held.TryAdd(key, (byte)i))
            {
                cache.Add(key, 0, Page(4096, (byte)i));
            }

            var (first, at) = (random.Next(4), random.Next(64));
            var offset = random.Next(8) * 512;
            var into = new byte[random.Next(1, 20) * 4096];
            var copied = cache.CopyRun(KeyOf(first, at), offset, into);
            var expected = new List<byte>();
            for (var skip = offset; ; skip = 0)
            {
                if (expected.Count >= into.Length || !held.TryGetValue(KeyOf(first, at), out var value))
                {
                    break;
                }

                expected.AddRange(Enumerable.Repeat(value, 4096 - skip));
                if (++at % FrameKey.RunPages == 0)
                {
                    break;
                }
            }

            Assert.Equal(expected.Take(into.Length), into.Take(copied));
        }

        static FrameKey KeyOf(int first, int page) => new((ulong)first, (ulong)page << FrameKey.RunShift);
    }

    [Theory]
    [InlineData(1 << 20)]
    [InlineData(64 << 20)]
    public void It_takes_no_more_than_it_may_and_pages_only_where_they_are_used(long capacity)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        var cache = new FrameCache(capacity);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, (capacity / 64) + 8192);

        var page = Page(4096, 1);
        for (var i = 0UL; i < (ulong)capacity / 2048; i++)
        {
            cache.Add(new FrameKey(i * 512, i), 0, page);
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, capacity * 9 / 10, capacity + 8192);
        Assert.InRange(cache.Bytes, capacity * 9 / 10, capacity);
    }

    private static byte[] Page(int length, byte value)
    {
        var page = new byte[length];
        page.AsSpan().Fill(value);
        return page;
    }

    private static bool Has(FrameCache cache, FrameKey key, int offset, int length) =>
        cache.CopyRun(key, offset, new byte[length]) == length;

    private static bool Holds(FrameCache cache, FrameKey key, int offset, int length, byte value)
    {
        var bytes = new byte[length];
        return cache.CopyRun(key, offset, bytes) == length && !bytes.AsSpan().ContainsAnyExcept(value);
    }
}
