using CloudFs.Daemon.Hosting;
using Xunit;

namespace CloudFs.Daemon.Tests.Hosting;

/// <summary>Options: where they come from, which comes first, and what is said of a wrong one.</summary>
public sealed class DaemonCommandLineTests
{
    [Fact]
    public void Without_options_it_listens_on_loopback_alone()
    {
        var options = Good("--device", "/d");
        Assert.Equal("127.0.0.1:8090", options.Http.ToString());
        Assert.Equal("127.0.0.1:10809", options.Nbd!.ToString());
        Assert.Null(options.NbdSocket);
        Assert.Null(options.SizeBytes);
        Assert.Null(options.HostId);
        Assert.False(options.Insecure);
        Assert.Equal(64L << 20, options.IndexCacheBytes);
        Assert.Equal(256L << 20, options.ReadCacheBytes);
        Assert.Equal(TimeSpan.FromHours(1), options.HistoryMin);
        Assert.Equal(TimeSpan.FromSeconds(3), options.Lease);
        Assert.Equal(TimeSpan.FromSeconds(60), Good("--device", "/d", "--lease", "1m").Lease);
    }

    [Fact]
    public void Caches_and_history_come_from_line_environment_and_file()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, """{ "device": "/d", "index-cache": "1M", "read-cache": 0, "history-min": 0 }""");
        var both = Good("--config", file);
        Assert.Equal((1L << 20, 0L, TimeSpan.Zero), (both.IndexCacheBytes, both.ReadCacheBytes, both.HistoryMin));
        var environment = new Dictionary<string, string>
        {
            ["CLOUDFS_INDEX_CACHE"] = "2G",
            ["CLOUDFS_READ_CACHE"] = "1M",
            ["CLOUDFS_HISTORY_MIN"] = "2d",
        };
        var over = Good(["--config", file, "--index-cache", "65536K"], environment);
        Assert.Equal((64L << 20, 1L << 20, TimeSpan.FromDays(2)), (over.IndexCacheBytes, over.ReadCacheBytes, over.HistoryMin));
        File.Delete(file);
    }

    [Fact]
    public void The_command_line_comes_before_the_environment_and_that_before_the_file()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, """
            { "device": "/file", "size": "1G", "http": "127.0.0.1:1", "nbd": "none", "log-format": "json", // a comment
              "nbd-socket": "/run/file.sock", "insecure": true }
            """);
        var options = Good(
            ["--device", "/line", "--config", file],
            new()
            {
                ["CLOUDFS_DEVICE"] = "/environment",
                ["CLOUDFS_HTTP"] = "[::1]:2",
                ["CLOUDFS_NBD_SOCKET"] = "/e.sock",
            });
        File.Delete(file);
        Assert.Equal("/line", options.DevicePath);
        Assert.Equal("[::1]:2", options.Http.ToString());
        Assert.Equal("/e.sock", options.NbdSocket);
        Assert.Equal(1UL << 30, options.SizeBytes);
        Assert.Null(options.Nbd);
        Assert.Equal(LogFormat.Json, options.LogFormat);
        Assert.True(options.Insecure);
    }

    [Theory]
    [InlineData("--device /d", 8UL << 20, 7 * 24)]
    [InlineData("--device /d --scrub-rate 64M --scrub-interval 12h", 64UL << 20, 12)]
    [InlineData("--device /d --scrub-rate 0 --scrub-interval 0", 0UL, 0)]
    public void Scrubbing_has_a_rate_and_an_interval(string line, ulong rate, int hours)
    {
        var options = Good(line.Split(' '));
        Assert.Equal((rate, TimeSpan.FromHours(hours)), (options.ScrubRate, options.ScrubInterval));
    }

    [Fact]
    public void The_environment_can_take_back_what_the_file_allows()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, """{ "insecure": true, "device": "/d" }""");
        var environment = new Dictionary<string, string> { ["CLOUDFS_INSECURE"] = "false", ["CLOUDFS_CONFIG"] = file };
        Assert.False(Good([], environment).Insecure);
        File.Delete(file);
    }

    [Theory]
    [InlineData("")]
    [InlineData("--size 1G")]
    [InlineData("--device")]
    [InlineData("--device /d --size")]
    [InlineData("--device /d --size --insecure")]
    [InlineData("--device /d --size 0")]
    [InlineData("--device /d --size 8GB")]
    [InlineData("--device /d --http 8090")]
    [InlineData("--device /d --http 127.0.0.1")]
    [InlineData("--device /d --http 127.0.0.1:65536")]
    [InlineData("--device /d --http 1:80")]
    [InlineData("--device /d --http ::1:80")]
    [InlineData("--device /d --http example.org:80")]
    [InlineData("--device /d --nbd nowhere")]
    [InlineData("--device /d --http 0.0.0.0:8090")]
    [InlineData("--device /d --nbd 192.0.2.1:10809")]
    [InlineData("--device /d --nbd [::]:10809")]
    [InlineData("--device /d --host-id 12")]
    [InlineData("--device /d --host-id 0000000000000000000000000000000000000000")]
    [InlineData("--device /d --log-format xml")]
    [InlineData("--device /d --index-cache 1023K")]
    [InlineData("--device /d --index-cache 16E")]
    [InlineData("--device /d --index-cache 8E")]
    [InlineData("--device /d --index-cache lots")]
    [InlineData("--device /d --read-cache 1023K")]
    [InlineData("--device /d --read-cache 16E")]
    [InlineData("--device /d --read-cache 8E")]
    [InlineData("--device /d --read-cache none")]
    [InlineData("--device /d --read-cache -1")]
    [InlineData("--device /d --history-min 1")]
    [InlineData("--device /d --history-min 1w")]
    [InlineData("--device /d --history-min")]
    [InlineData("--device /d --scrub-rate fast")]
    [InlineData("--device /d --scrub-rate 1K")]
    [InlineData("--device /d --lease 3")]
    [InlineData("--device /d --lease 0")]
    [InlineData("--device /d --lease 2m")]
    [InlineData("--device /d --scrub-interval 7")]
    [InlineData("--device /d --scrub-interval weekly")]
    [InlineData("--device /d --bogus")]
    [InlineData("--device /d stray")]
    [InlineData("--device /d --device /e")]
    [InlineData("--device /d --config /nowhere/at/all.json")]
    public void A_wrong_command_line_is_one_line_and_status_2(string line)
    {
        var outcome = DaemonCommandLine.Read(line.Split(' ', StringSplitOptions.RemoveEmptyEntries), _ => null);
        Assert.Null(outcome.Options);
        Assert.Equal(2, outcome.ExitCode);
        Assert.NotEmpty(outcome.Text);
        Assert.DoesNotContain('\n', outcome.Text);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("""{ "sise": "1G" }""")]
    [InlineData("""{ "size": true }""")]
    [InlineData("""{ "insecure": "yes" }""")]
    public void A_wrong_file_is_one_line_that_names_it(string json)
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, json);
        var outcome = DaemonCommandLine.Read(["--device", "/d", "--config", file], _ => null);
        File.Delete(file);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(file, outcome.Text, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', outcome.Text);
    }

    [Fact]
    public void A_size_may_be_a_number_in_the_file()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, """{ "device": "/d", "size": 1048576 }""");
        Assert.Equal(1UL << 20, Good("--config", file).SizeBytes);
        File.Delete(file);
    }

    [Theory]
    [InlineData("--device /d --http 0.0.0.0:8090 --insecure")]
    [InlineData("--device /d --nbd [::]:10809 --insecure")]
    public void Insecure_opens_the_door(string line) => Assert.True(Good(line.Split(' ')).Insecure);

    [Fact]
    public void Help_names_every_option_and_where_else_it_can_stand()
    {
        var outcome = DaemonCommandLine.Read(["--help"], _ => null);
        Assert.Equal(0, outcome.ExitCode);
        foreach (var name in OptionSources.ValuedNames.Append("insecure"))
        {
            Assert.Contains("--" + name, outcome.Text, StringComparison.Ordinal);
        }

        Assert.Contains("CLOUDFS_NBD_SOCKET", outcome.Text, StringComparison.Ordinal);
    }

    private static DaemonOptions Good(params string[] arguments) => Good(arguments, []);

    private static DaemonOptions Good(string[] arguments, Dictionary<string, string> environment)
    {
        var outcome = DaemonCommandLine.Read(arguments, environment.GetValueOrDefault);
        Assert.Equal(string.Empty, outcome.Text);
        return outcome.Options!;
    }
}
