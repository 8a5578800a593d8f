using CloudFs.Core.Log;
using CloudFs.Core.Metrics;
using CloudFs.Daemon.Nbd;

namespace CloudFs.Daemon.Http;

/// <summary>Where time goes, and what waits, as metrics (docs/protocol/http.md).</summary>
internal static class StageMetricsText
{
    private static readonly string StageHelp =
        "Time by stage. Every commit and flush: queue (closed until its write begins), device_write, flush (of the device). "
        + $"One in {StageLatencies.Every}: parse (NBD header to its place in the window), seal (an entry hashed, sealed and copied), "
        + "index (a lookup, or an entry applied), reply (result known to reply sent).";

    private static readonly string RequestHelp =
        $"NBD requests from parsed to reply sent, by command: each connection's first, then one in {StageLatencies.Every}.";

    public static void Add(MetricsText text, StageLatencies engine, LogDepth depth, NbdMetrics nbd)
    {
        const string Stage = "cloudfs_stage_seconds";
        text.Begin(Stage, "histogram", StageHelp);
        foreach (var (stage, latency) in ((string, LatencySnapshot)[])
        [
            ("parse", nbd.Parse), ("seal", engine.Seal.Read()), ("queue", engine.Queue.Read()),
            ("device_write", engine.DeviceWrite.Read()), ("flush", engine.Flush.Read()), ("index", engine.Index.Read()),
            ("reply", nbd.Reply),
        ])
        {
            text.Histogram(Stage, "stage", stage, latency);
        }

        const string Request = "cloudfs_nbd_request_seconds";
        text.Begin(Request, "histogram", RequestHelp);
        foreach (var (command, latency) in nbd.Latencies)
        {
            text.Histogram(Request, "command", command, latency);
        }

        text.Gauge("cloudfs_nbd_requests_in_flight", "Requests taken whose reply has not left yet.", nbd.InFlight);
        text.Gauge(
            "cloudfs_log_commits_waiting", "Closed commits that the device has not yet, the one being written included.",
            depth.Commits);
        text.Gauge("cloudfs_log_buffer_bytes", "Bytes of the log that the device has not yet.", depth.Bytes);
    }
}
