using System.Globalization;
using CloudFs.Daemon.Hosting;
using Xunit;

namespace CloudFs.Daemon.Tests.Hosting;

/// <summary>The clock of leases.</summary>
public sealed class BootTimeProviderTests
{
    [Fact]
    public void It_says_what_the_kernel_says_is_the_time_since_boot()
    {
        var clock = BootTimeProvider.Instance;
        var told = double.Parse(File.ReadAllText("/proc/uptime").Split(' ')[0], CultureInfo.InvariantCulture);
        Assert.Equal(told, (double)clock.GetTimestamp() / clock.TimestampFrequency, tolerance: 5);
    }

    [Fact]
    public async Task It_goes_on_and_its_timers_end()
    {
        var clock = BootTimeProvider.Instance;
        var before = clock.GetTimestamp();
        await Task.Delay(TimeSpan.FromMilliseconds(50), clock);
        var passed = clock.GetElapsedTime(before);
        Assert.InRange(passed, TimeSpan.FromMilliseconds(45), TimeSpan.FromSeconds(20));
        Assert.Equal(DateTimeOffset.UtcNow, clock.GetUtcNow(), TimeSpan.FromSeconds(5));
    }
}
