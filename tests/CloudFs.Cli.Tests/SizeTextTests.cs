using System.Globalization;
using CloudFs.Core.Contracts;
using Xunit;

namespace CloudFs.Cli.Tests;

public sealed class SizeTextTests
{
    [Theory]
    [InlineData("0", 0UL)]
    [InlineData("65536", 65536UL)]
    [InlineData("512M", 512UL << 20)]
    [InlineData("64G", 64UL << 30)]
    [InlineData("1T", 1UL << 40)]
    [InlineData("1t", 1UL << 40)]
    [InlineData(" 8GiB ", 8UL << 30)]
    [InlineData("8gib", 8UL << 30)]
    [InlineData("4k", 4096UL)]
    [InlineData("2P", 2UL << 50)]
    [InlineData("15E", 15UL << 60)]
    [InlineData("18446744073709551615", ulong.MaxValue)]
    public void Reads_powers_of_1024(string text, ulong bytes)
    {
        Assert.True(SizeText.TryParse(text, out var parsed));
        Assert.Equal(bytes, parsed);
    }

    [Theory]
    [InlineData("")]
    [InlineData("G")]
    [InlineData("-1")]
    [InlineData("+1")]
    [InlineData("1.5G")]
    [InlineData("1 G")]
    [InlineData("8GB")]
    [InlineData("8Gi")]
    [InlineData("8GiBx")]
    [InlineData("8X")]
    [InlineData("8B")]
    [InlineData("16E")]
    [InlineData("18446744073709551616")]
    [InlineData("18014398509481984K")]
    [InlineData("0x10")]
    [InlineData("1,000")]
    public void Refuses_what_may_mean_something_else(string text) => Assert.False(SizeText.TryParse(text, out _));

    [Theory]
    [InlineData(0UL, "0 B")]
    [InlineData(1023UL, "1023 B")]
    [InlineData(1024UL, "1 KiB")]
    [InlineData(1536UL, "1.5 KiB")]
    [InlineData(8UL << 30, "8 GiB")]
    [InlineData((8UL << 30) + 1, "8 GiB")]
    [InlineData(ulong.MaxValue, "16 EiB")]
    public void Writes_for_people(ulong bytes, string text) => Assert.Equal(text, SizeText.Format(bytes));

    [Fact]
    public void Random_text_never_throws_and_numbers_come_back()
    {
        var random = new Random(20105);
        const string Letters = "0123456789KMGTPEkib. -+x";
        for (var round = 0; round < 20_000; round++)
        {
            var text = string.Create(random.Next(24), random, (span, source) =>
            {
                foreach (ref var c in span)
                {
                    c = Letters[source.Next(Letters.Length)];
                }
            });
            _ = SizeText.TryParse(text, out _);
            var number = (ulong)random.NextInt64();
            Assert.True(SizeText.TryParse(number.ToString(CultureInfo.InvariantCulture), out var again));
            Assert.Equal(number, again);
        }
    }
}
