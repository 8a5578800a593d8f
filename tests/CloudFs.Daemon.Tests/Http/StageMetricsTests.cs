using System.Globalization;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using CloudFs.Core.Metrics;
using CloudFs.Daemon.Http;
using CloudFs.Daemon.Nbd.Wire;
using CloudFs.Daemon.Tests.Nbd;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>Where time goes, as <c>/metrics</c> tells it.</summary>
public sealed partial class StageMetricsTests : IAsyncLifetime
{
    private static readonly string[] Stages = ["parse", "seal", "queue", "device_write", "flush", "index", "reply"];

    private static readonly string[] Commands = ["read", "write", "flush", "trim", "write_zeroes"];

    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task Traffic_over_NBD_is_counted_on_every_stage_and_by_command()
    {
        var id = await _daemon.NewDiskAsync();
        var before = Samples(await _daemon.TextAsync("/metrics"));
        const int Rounds = (3 * StageLatencies.Every) + 1;
        using (var client = await AttachAsync(id))
        {
            var data = new byte[4096];
            data[5] = 1;
            for (var i = 0; i < Rounds; i++)
            {
                Assert.Equal(NbdError.None, client.Write(0, data));
                Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
                Assert.Equal(data, client.Read(0, data.Length));
                Assert.Equal(NbdError.None, client.Do(NbdCommand.Trim, 8192, 4096));
                Assert.Equal(NbdError.None, client.Do(NbdCommand.WriteZeroes, 8192, 4096));
            }

            Assert.NotEqual(NbdError.None, client.Do(NbdCommand.Read, 1UL << 40, 4096));
            Leave(client);
        }

        var after = Samples(await _daemon.TextAsync("/metrics"));
        foreach (var stage in Stages)
        {
            Assert.True(Count("stage", stage) > 0, stage);
        }

        // The first of each, and every 17th after it; what was refused by its header is none of them.
        foreach (var command in Commands)
        {
            Assert.Equal(4, Count("nbd_request", command));
        }

        Assert.Equal(4 * Commands.Length, Count("stage", "parse"));
        Assert.Equal(4 * Commands.Length, Count("stage", "reply"));
        Assert.Equal(0, after["cloudfs_nbd_requests_in_flight"]);
        Assert.True(after["cloudfs_log_buffer_bytes"] > 0 || after["cloudfs_log_commits_waiting"] == 0);

        double Count(string name, string label)
        {
            var key = $"cloudfs_{name}_seconds_count{{{(name == "stage" ? "stage" : "command")}=\"{label}\"}}";
            return after[key] - before[key];
        }
    }

    [Fact]
    public async Task Long_requests_are_measured_from_end_to_end()
    {
        var id = await _daemon.NewDiskAsync();
        using (var client = await AttachAsync(id))
        {
            var data = new byte[1 << 20];
            Random.Shared.NextBytes(data);
            Assert.Equal(NbdError.None, client.Write(0, data));
            Assert.Equal(data, client.Read(0, data.Length));
            Leave(client);
        }

        var samples = Samples(await _daemon.TextAsync("/metrics"));
        Assert.Equal(1, samples["cloudfs_nbd_request_seconds_count{command=\"write\"}"]);
        Assert.Equal(1, samples["cloudfs_nbd_request_seconds_count{command=\"read\"}"]);
        Assert.True(samples["cloudfs_nbd_request_seconds_sum{command=\"write\"}"] > 50e-6);
    }

    [Fact]
    public async Task Histograms_are_Prometheus_own()
    {
        await _daemon.NewDiskAsync();
        var text = await _daemon.TextAsync("/metrics");
        var names = Names().Matches(text).Select(match => match.Groups[1].Value).ToList();
        Assert.Equal(names.Distinct(), names);
        foreach (var series in Buckets().Matches(text).GroupBy(match => match.Groups[1].Value + match.Groups[2].Value))
        {
            var bounds = series.Select(match => match.Groups[3].Value).ToList();
            Assert.Equal("+Inf", bounds[^1]);
            var numbers = bounds[..^1].Select(bound => double.Parse(bound, CultureInfo.InvariantCulture)).ToList();
            Assert.Equal((LatencyHistogram.Bounds, 250e-9, 8.388608), (numbers.Count, numbers[0], numbers[^1]));
            Assert.Equal(numbers.Order(), numbers);
            var counts = series.Select(match => long.Parse(match.Groups[4].Value, CultureInfo.InvariantCulture)).ToList();
            Assert.Equal(counts.Order(), counts);
            Assert.Contains(
                $"\n{series.First().Groups[1].Value}_count{{{series.First().Groups[2].Value}}} {counts[^1]}\n", text,
                StringComparison.Ordinal);
        }

        Assert.Equal(Stages.Length + Commands.Length, Buckets().Count(text) / (LatencyHistogram.Bounds + 1));
    }

    [Fact]
    public void A_histogram_is_written_with_sums_of_its_buckets()
    {
        var histogram = new LatencyHistogram();
        histogram.Add(200);
        histogram.Add(400);
        histogram.Add(20_000_000_000);
        var text = new MetricsText();
        text.Histogram("a_seconds", "stage", "seal", histogram.Read());
        var lines = text.ToString().TrimEnd('\n').Split('\n');
        Assert.Equal("a_seconds_bucket{stage=\"seal\",le=\"2.5E-07\"} 1", lines[0]);
        Assert.Equal("a_seconds_bucket{stage=\"seal\",le=\"5E-07\"} 2", lines[1]);
        Assert.Equal("a_seconds_bucket{stage=\"seal\",le=\"8.388608\"} 2", lines[^4]);
        Assert.Equal("a_seconds_bucket{stage=\"seal\",le=\"+Inf\"} 3", lines[^3]);
        Assert.Equal("a_seconds_sum{stage=\"seal\"} 20.0000006", lines[^2]);
        Assert.Equal("a_seconds_count{stage=\"seal\"} 3", lines[^1]);
    }

    private static Dictionary<string, double> Samples(string text) => text.Split('\n')
        .Where(line => line.Length > 0 && line[0] != '#')
        .Select(line => line.Split(' '))
        .ToDictionary(words => words[0], words => double.Parse(words[1], CultureInfo.InvariantCulture));

    /// <summary>The server closes once the last reply has left, and is counted.</summary>
    private static void Leave(NbdTestClient client)
    {
        client.SendRequest(NbdCommand.Disconnect, 0, 0);
        Assert.True(client.IsClosed());
    }

    private async Task<NbdTestClient> AttachAsync(string disk)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(_daemon.NbdSocket));
        var client = new NbdTestClient(socket);
        client.Attach(disk, structured: true);
        return client;
    }

    [GeneratedRegex("^# TYPE ([a-z_]+) ", RegexOptions.Multiline)]
    private static partial Regex Names();

    [GeneratedRegex("""^([a-z_]+)_bucket\{([a-z]+="[a-z_]+"),le="([^"]+)"\} ([0-9]+)$""", RegexOptions.Multiline)]
    private static partial Regex Buckets();
}
