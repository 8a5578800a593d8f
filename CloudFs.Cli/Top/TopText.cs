using System.Globalization;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Top;

/// <summary>How a frame of <c>top</c> looks: each line says by its first words what it is about, for people as for grep.</summary>
internal static class TopText
{
    /// <summary>A frame's lines.</summary>
    /// <param name="where">The daemon's address.</param>
    /// <param name="frame">What it did.</param>
    public static IReadOnlyList<string> Lines(string where, TopFrame frame) =>
    [
        Head(where, frame),
        "",
        $"{"",-20}{"PER SECOND",12}{"BYTES/S",14}{"MEAN",10}{"P50",10}{"P99",10}",
        .. frame.Commands.Select(row =>
            $"{"nbd",-7}{row.Command,-13}{Rate(row.PerSecond),12}"
            + $"{(row.BytesPerSecond is { } bytes ? Size(bytes) : "-"),14}{Times(row.Latency)}"),
        "",
        $"{"",-20}{"MEASURED",12}{"",14}{"MEAN",10}{"P50",10}{"P99",10}",
        .. frame.Stages.Select(row =>
            $"{"stage",-7}{row.Stage,-13}{Whole(row.Latency.Count),12}{"",14}{Times(row.Latency)}"),
        "",
        Waiting(frame),
        $"{"disks",-12}read {Size(frame.Rate("cloudfs_read_bytes_total"))}/s, "
            + $"written {Size(frame.Rate("cloudfs_written_bytes_total"))}/s, {Rate(frame.Rate("cloudfs_entries_total"))} entries/s",
        $"{"device",-12}written {Size(Written(frame))}/s, {Rate(frame.Rate("cloudfs_commits_total"))} commits/s, "
            + $"{Rate(frame.Rate("cloudfs_device_flushes_total"))} flushes/s",
        $"{"space",-12}live {Size(frame.Space("live"))}, history {Size(frame.Space("history"))}, "
            + $"dead {Size(frame.Space("dead"))}, free {Size(frame.Space("free"))} of {Size(frame.Space("capacity"))}",
        $"{"compaction",-12}{Compaction(frame)}",
    ];

    /// <summary>A time in the unit in which it has one to three digits before the point.</summary>
    internal static string Time(double seconds)
    {
        var (value, unit) = seconds switch
        {
            < 0.9995e-6 => (seconds * 1e9, "ns"),
            < 0.9995e-3 => (seconds * 1e6, "us"),
            < 0.9995 => (seconds * 1e3, "ms"),
            _ => (seconds, "s"),
        };
        return Short(value) + " " + unit;
    }

    /// <summary>So many a second: to a tenth, while that matters.</summary>
    internal static string Rate(double perSecond) => Short(perSecond);

    private static string Head(string where, TopFrame frame) => string.Create(
        CultureInfo.InvariantCulture,
        $"{where}, up {DurationText.Format(frame.Up)}, {frame.Health}; the last {frame.Seconds:0.0} s")
        + (frame.IsRestarted ? ", since it was started anew" : "");

    private static string Waiting(TopFrame frame) =>
        $"{"waiting",-12}requests {Whole(frame.Now("cloudfs_nbd_requests_in_flight"))}, "
        + $"connections {Whole(frame.Now("cloudfs_nbd_connections"))}, "
        + $"commits {Whole(frame.Now("cloudfs_log_commits_waiting"))}, "
        + $"not yet on the device {Size(frame.Now("cloudfs_log_buffer_bytes"))}";

    private static string Compaction(TopFrame frame)
    {
        var debt = frame.Now("cloudfs_compaction_debt_bytes");
        var state = frame.Now("cloudfs_compaction_running") == 1 ? "running" : debt > 0 ? "due" : "idle";
        var left = debt <= 0 ? ""
            : frame.Find("cloudfs_compaction_eta_seconds") is { } seconds
                ? $", about {DurationText.Format(TimeSpan.FromSeconds(Math.Min(seconds, DurationText.Max.TotalSeconds)))}"
                : ", nobody knows how long";
        return $"{state}, debt {Size(debt)}{left}, {Size(frame.Rate("cloudfs_device_written_bytes_total{kind=\"relocated\"}"))}/s "
            + "relocated, write amplification "
            + frame.Now("cloudfs_write_amplification").ToString("0.00", CultureInfo.InvariantCulture);
    }

    private static double Written(TopFrame frame) => ((string[])["new", "relocated", "index", "checkpoint", "footer"])
        .Sum(kind => frame.Rate($"cloudfs_device_written_bytes_total{{kind=\"{kind}\"}}"));

    private static string Times(LatencyFigures latency) => latency.Count <= 0
        ? $"{"-",10}{"-",10}{"-",10}"
        : $"{Time(latency.Mean),10}{Time(latency.Median),10}{Time(latency.P99),10}";

    private static string Size(double bytes) => SizeText.Format((ulong)Math.Max(0, bytes));

    private static string Whole(double value) => value.ToString("0", CultureInfo.InvariantCulture);

    private static string Short(double value) => value.ToString(value < 99.95 ? "0.0" : "0", CultureInfo.InvariantCulture);
}
