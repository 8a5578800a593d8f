using System.Globalization;
using System.Text;
using CloudFs.Cli.Top;
using CloudFs.Core.Metrics;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>What <c>top</c> makes of two scrapes, and how it looks.</summary>
public sealed class TopTests
{
    private const string Where = "http://127.0.0.1:8090";

    [Fact]
    public void A_frame_looks_as_it_did()
    {
        var frame = new TopFrame(Before(), After());
        Assert.Equal((false, 2.0, "ok"), (frame.IsRestarted, frame.Seconds, frame.Health));
        Golden.Check("cli/top.txt", string.Join('\n', TopText.Lines(Where, frame)) + "\n");
    }

    [Fact]
    public void A_frame_of_a_daemon_that_was_started_anew_counts_from_its_start()
    {
        // It was away for a while, and has been up for longer than when it was last seen: its counters are higher, too.
        var frame = new TopFrame(Scrape(2, 1, 20, 10, 1_000, 4), Scrape(3, 10, 30, 12, 300_000, 6, started: 7));
        Assert.Equal((true, 3.0), (frame.IsRestarted, frame.Seconds));
        Assert.Equal(10, frame.Commands[0].PerSecond);
        Assert.Equal(6, frame.Commands[0].Latency.Count);
        Assert.Contains("since it was started anew", TopText.Lines(Where, frame)[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_counter_that_went_back_is_no_reason_for_less_than_nothing()
    {
        var frame = new TopFrame(Before(), Scrape(3_602, 3, 5, 12, 300, 6));
        Assert.Equal((false, 2.5), (frame.IsRestarted, frame.Commands[0].PerSecond));
        Assert.All(frame.Commands, row => Assert.True(row is { PerSecond: >= 0, Latency.Mean: >= 0, Latency.Count: >= 0 }));
        Assert.All(frame.Stages, row => Assert.True(row.Latency is { Mean: >= 0, Median: >= 0, P99: >= 0 }));
    }

    [Fact]
    public void Figures_are_wrong_by_less_than_their_bucket()
    {
        var chance = new Random(19);
        for (var round = 0; round < 200; round++)
        {
            var times = Enumerable.Range(0, chance.Next(1, 400))
                .Select(_ => (long)Math.Pow(10, 2.5 + (chance.NextDouble() * 6))).Order().ToList();
            var histogram = new LatencyHistogram();
            times.ForEach(histogram.Add);
            var figures = LatencyFigures.Of(Cumulative(histogram.Read()), times.Sum() / 1e9);
            Assert.Equal(times.Average() / 1e9, figures.Mean, 9);
            AssertNear(times, 0.5, figures.Median);
            AssertNear(times, 0.99, figures.P99);
        }
    }

    [Fact]
    public void Nothing_measured_is_nothing_told_and_the_last_bound_is_the_most_that_is_known()
    {
        Assert.Equal(default, LatencyFigures.Of([], 0));
        Assert.Equal(default, LatencyFigures.Of([(1, 0), (double.PositiveInfinity, 0)], 0));
        var figures = LatencyFigures.Of([(1, 0), (2, 0), (double.PositiveInfinity, 4)], 40);
        Assert.Equal((4, 10.0, 2.0, 2.0), (figures.Count, figures.Mean, figures.Median, figures.P99));
    }

    [Theory]
    [InlineData(0, "0.0 ns")]
    [InlineData(0.00000025, "250 ns")]
    [InlineData(0.0000123, "12.3 us")]
    [InlineData(0.000999, "999 us")]
    [InlineData(0.0009999, "1.0 ms")]
    [InlineData(0.0214, "21.4 ms")]
    [InlineData(0.9999, "1.0 s")]
    [InlineData(8.388608, "8.4 s")]
    public void Times_have_the_unit_that_fits(double seconds, string text) => Assert.Equal(text, TopText.Time(seconds));

    [Theory]
    [InlineData("no metrics at all")]
    [InlineData("")]
    [InlineData("process_start_time_seconds 5")]
    [InlineData("cloudfs_stage_seconds_bucket{stage=\"seal\",le=\"x\"} 5\nprocess_start_time_seconds 5")]
    public void What_tells_no_latencies_is_recognized(string text) =>
        Assert.False(TopFrame.IsTold(MetricsScrape.Parse(text, default)));

    private static void AssertNear(List<long> times, double part, double seconds)
    {
        var exact = times[Math.Max(0, (int)Math.Ceiling(part * times.Count) - 1)] / 1e9;
        Assert.InRange(seconds, exact / 2.001, Math.Max(exact * 2.001, 250e-9));
    }

    private static List<(double Bound, double Count)> Cumulative(LatencySnapshot latency)
    {
        double sum = 0;
        return [.. latency.Counts.Select((count, i) => (
            i < LatencyHistogram.Bounds ? LatencyHistogram.BoundNanos(i) / 1e9 : double.PositiveInfinity, sum += count))];
    }

    private static MetricsScrape Before() => Scrape(3_600, 1, 1_000, 500, 1_000, 100);

    private static MetricsScrape After() => Scrape(3_602, 3, 25_690, 740, 20_000_000, 1_600);

    /// <summary>A scrape in which everything is a multiple of a few numbers.</summary>
    private static MetricsScrape Scrape(double uptime, int at, long reads, long writes, long bytes, long measured, long started = 1)
    {
        var text = new StringBuilder();
        Add("cloudfs_health{status=\"ok\"}", 1);
        Add("cloudfs_uptime_seconds", uptime);
        Add("process_start_time_seconds", started);
        Add("cloudfs_nbd_requests_total{kind=\"read\"}", reads);
        Add("cloudfs_nbd_requests_total{kind=\"write\"}", writes);
        Add("cloudfs_nbd_requests_total{kind=\"flush\"}", writes / 10);
        Add("cloudfs_nbd_read_bytes_total", bytes * 5);
        Add("cloudfs_nbd_written_bytes_total", bytes);
        Add("cloudfs_read_bytes_total", bytes * 6);
        Add("cloudfs_written_bytes_total", bytes * 2);
        Add("cloudfs_entries_total", writes);
        Add("cloudfs_commits_total", writes / 4);
        Add("cloudfs_device_flushes_total", writes / 10);
        Add("cloudfs_device_written_bytes_total{kind=\"new\"}", bytes * 1.25);
        Add("cloudfs_device_written_bytes_total{kind=\"relocated\"}", bytes / 2);
        Add("cloudfs_nbd_requests_in_flight", 31);
        Add("cloudfs_nbd_connections", 2);
        Add("cloudfs_log_commits_waiting", 1);
        Add("cloudfs_log_buffer_bytes", 3 << 20);
        Add("cloudfs_space_bytes{kind=\"capacity\"}", 64L << 30);
        Add("cloudfs_space_bytes{kind=\"live\"}", 3L << 30);
        Add("cloudfs_space_bytes{kind=\"history\"}", 7L << 29);
        Add("cloudfs_space_bytes{kind=\"dead\"}", 200 << 20);
        Add("cloudfs_space_bytes{kind=\"free\"}", 57L << 30);
        Add("cloudfs_compaction_running", 1);
        Add("cloudfs_compaction_debt_bytes", 1L << 30);
        Add("cloudfs_compaction_eta_seconds", 125);
        Add("cloudfs_write_amplification", 1.4);
        AddLatency("cloudfs_nbd_request_seconds", "command=\"read\"", 16_000, measured);
        AddLatency("cloudfs_nbd_request_seconds", "command=\"write\"", 130_000, measured / 20);
        AddLatency("cloudfs_stage_seconds", "stage=\"parse\"", 250, measured);
        AddLatency("cloudfs_stage_seconds", "stage=\"seal\"", 9_000, measured / 20);
        AddLatency("cloudfs_stage_seconds", "stage=\"flush\"", 3_000_000, measured / 40);
        return MetricsScrape.Parse(text.ToString(), TimeSpan.FromSeconds(at));

        void Add(string name, double value) =>
            text.Append(name).Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');

        void AddLatency(string name, string label, long nanos, long count)
        {
            var histogram = new LatencyHistogram();
            for (var i = 0; i < count; i++)
            {
                histogram.Add(nanos + (i % 100 * nanos / 50));
            }

            foreach (var (bound, all) in Cumulative(histogram.Read()))
            {
                var le = double.IsInfinity(bound) ? "+Inf" : bound.ToString("R", CultureInfo.InvariantCulture);
                Add($"{name}_bucket{{{label},le=\"{le}\"}}", all);
            }

            Add($"{name}_sum{{{label}}}", histogram.Read().Nanos / 1e9);
        }
    }
}
