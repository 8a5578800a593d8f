using System.Globalization;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Http;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>
/// Random headers from fixed seeds: nothing throws, and whatever is called good lies within the disk and says again
/// what it said when it is written out.
/// </summary>
public sealed class HeaderFuzzTests
{
    private const int Rounds = 20_000;

    private const string Letters = "bytes=0123456789-,/* \tBW\"&?%once\0é";

    [Fact]
    public void No_random_range_gets_out_of_the_disk()
    {
        var random = new Random(20101);
        for (var round = 0; round < Rounds; round++)
        {
            var size = Size(random);
            var header = "bytes=" + Mutate(random, $"{Number(random)}-{Number(random)}");
            if (RangeHeaders.ParseRange(header, size, out var range) != RangeVerdict.Good)
            {
                Assert.Equal(default, range);
                continue;
            }

            AssertWithin(range, size, header);
            Assert.Equal(RangeVerdict.Good, RangeHeaders.ParseRange($"bytes={range}", size, out var again));
            Assert.Equal(range, again);
        }
    }

    [Fact]
    public void No_random_content_range_gets_out_of_the_disk()
    {
        var random = new Random(20102);
        for (var round = 0; round < Rounds; round++)
        {
            var size = Size(random);
            var header = "bytes " + Mutate(random, $"{Number(random)}-{Number(random)}/*");
            if (RangeHeaders.ParseContentRange(header, size, out var range) != RangeVerdict.Good)
            {
                Assert.Equal(default, range);
                continue;
            }

            AssertWithin(range, size, header);
            var written = $"bytes {range}/{size}";
            Assert.Equal(RangeVerdict.Good, RangeHeaders.ParseContentRange(written, size, out var again));
            Assert.Equal(range, again);
        }
    }

    [Fact]
    public void Random_text_never_throws()
    {
        var random = new Random(20103);
        for (var round = 0; round < Rounds; round++)
        {
            var text = Random(random, random.Next(64));
            RangeHeaders.ParseRange(text, Size(random), out _);
            RangeHeaders.ParseContentRange(text, Size(random), out _);
            DiskQuery.Parse(text, out _);
            _ = EntityTags.TryParse(text, out _, out _);
        }
    }

    [Fact]
    public void An_entity_tag_comes_back_as_it_went()
    {
        var random = new Random(20104);
        var bytes = new byte[Id160.Size];
        for (var round = 0; round < 1000; round++)
        {
            random.NextBytes(bytes);
            var version = new Id160(bytes);
            Assert.True(EntityTags.TryParse(EntityTags.Format(version), out var any, out var versions));
            Assert.False(any);
            Assert.Equal([version], versions);
        }
    }

    private static void AssertWithin(ByteRange range, ulong size, string header)
    {
        Assert.True(range.Length > 0, header);
        Assert.True(range.Offset < size, header);
        Assert.True(range.Length <= size - range.Offset, header);
    }

    private static ulong Size(Random random) => random.Next(3) switch
    {
        0 => (ulong)random.Next(5) * 512,
        1 => (ulong)random.NextInt64(long.MaxValue),
        _ => ulong.MaxValue - (ulong)random.Next(3),
    };

    private static string Number(Random random) => random.Next(6) switch
    {
        0 => string.Empty,
        1 => "99999999999999999999999999",
        2 => (ulong.MaxValue - (ulong)random.Next(3)).ToString(CultureInfo.InvariantCulture),
        3 => random.NextInt64(long.MaxValue).ToString(CultureInfo.InvariantCulture),
        _ => random.Next(3000).ToString(CultureInfo.InvariantCulture),
    };

    private static string Mutate(Random random, string text)
    {
        if (random.Next(4) != 0)
        {
            return text;
        }

        var at = random.Next(text.Length + 1);
        return text[..at] + Letters[random.Next(Letters.Length)] + text[at..];
    }

    private static string Random(Random random, int length) =>
        string.Create(length, random, (span, source) =>
        {
            foreach (ref var c in span)
            {
                c = source.Next(20) == 0 ? (char)source.Next(0xFFFF) : Letters[source.Next(Letters.Length)];
            }
        });
}
