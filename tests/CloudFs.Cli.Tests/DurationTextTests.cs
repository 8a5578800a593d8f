using CloudFs.Core.Contracts;
using Xunit;

namespace CloudFs.Cli.Tests;

public sealed class DurationTextTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("0h", 0)]
    [InlineData("90s", 90)]
    [InlineData("30m", 1800)]
    [InlineData(" 1h ", 3600)]
    [InlineData("2d", 172_800)]
    [InlineData("36500d", 3_153_600_000)]
    public void Reads_one_number_with_one_unit(string text, long seconds)
    {
        Assert.True(DurationText.TryParse(text, out var parsed));
        Assert.Equal(TimeSpan.FromSeconds(seconds), parsed);
    }

    [Theory]
    [InlineData("")]
    [InlineData("h")]
    [InlineData("1")]
    [InlineData("-1h")]
    [InlineData("+1h")]
    [InlineData("1.5h")]
    [InlineData("1 h")]
    [InlineData("1H")]
    [InlineData("1M")]
    [InlineData("1ms")]
    [InlineData("1h30m")]
    [InlineData("36501d")]
    [InlineData("18446744073709551615d")]
    [InlineData("18446744073709551616s")]
    public void Refuses_everything_else(string text)
    {
        Assert.False(DurationText.TryParse(text, out var parsed));
        Assert.Equal(TimeSpan.Zero, parsed);
    }

    [Theory]
    [InlineData(-5, "0 s")]
    [InlineData(0, "0 s")]
    [InlineData(59.4, "59 s")]
    [InlineData(59.6, "1 min")]
    [InlineData(125, "2 min 5 s")]
    [InlineData(1805, "30 min")]
    [InlineData(3599.7, "1 h")]
    [InlineData(7500, "2 h 5 min")]
    [InlineData(86_399.9, "1 d")]
    [InlineData(273_600, "3 d 4 h")]
    public void Writes_what_matters(double seconds, string text) =>
        Assert.Equal(text, DurationText.Format(TimeSpan.FromSeconds(seconds)));
}
