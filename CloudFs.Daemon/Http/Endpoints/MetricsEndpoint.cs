using System.Globalization;
using CloudFs.Core.Contracts;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Replication;
using CloudFs.Core.Scrub;
using CloudFs.Daemon.Hosting;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary><c>GET /metrics</c>: the counters of engine, NBD, HTTP and process in Prometheus' text format.</summary>
internal static class MetricsEndpoint
{
    private const string Type = "text/plain; version=0.0.4; charset=utf-8";

    public static async Task GetAsync(Exchange exchange)
    {
        var text = new MetricsText();
        var services = exchange.Services;
        AddHealth(text, services.Health.Combine(
            ReplicationHealth.Over(exchange.Engine.GetHealth(), exchange.Engine.Replication.GetGroups())));
        AddEngine(text, exchange.Engine.GetCounters());
        SpaceMetricsText.Add(
            text, exchange.Engine.GetSpace(), exchange.Engine.GetCompaction(), exchange.Engine.GetCounters());
        AddScrub(text, exchange.Engine.Scrub.GetStatus());
        AddDisks(text, [.. exchange.Engine.ListDisks().Select(disk => disk.GetStatus())]);
        var nbd = services.Nbd.GetMetrics();
        NbdMetricsText.Add(text, nbd);
        StageMetricsText.Add(text, exchange.Engine.Stages, exchange.Engine.GetLogDepth(), nbd);
        AddReplication(text, exchange.Engine.Replication);
        AddHttp(text, services);
        AddProcess(text, services.Facts);
        exchange.Response.ContentType = Type;
        await exchange.Response.WriteAsync(text.ToString(), exchange.Ended);
    }

    private static void AddHealth(MetricsText text, HealthReport health)
    {
        text.Begin("cloudfs_health", "gauge", "1 for the state that /healthz tells, 0 for the others.");
        foreach (var state in (string[])["ok", "degraded", HealthBoard.Failed])
        {
            text.Labelled("cloudfs_health", "status", state, state == health.Status ? 1 : 0);
        }

        text.Gauge("cloudfs_health_issues", "Reasons that /healthz names.", health.Issues.Count);
    }

    private static void AddReplication(MetricsText text, ReplicationHub hub)
    {
        var (sent, received) = hub.GetTraffic();
        var totals = new ReplicationTotals(hub.LinkCount, sent, received, hub.Counters.HealedPages, hub.GetWaiting());
        ReplicationMetricsText.Add(text, hub.GetGroups(), totals);
    }

    private static void AddEngine(MetricsText text, EngineCounters engine)
    {
        text.Counter("cloudfs_entries_total", "Entries sealed or taken in.", engine.Entries);
        text.Counter("cloudfs_entry_bytes_total", "Bytes of those entries.", engine.EntryBytes);
        text.Counter("cloudfs_commits_total", "Commits written to the device.", engine.Commits);
        text.Counter("cloudfs_device_flushes_total", "Flushes of the device.", engine.DeviceFlushes);
        text.Counter("cloudfs_checkpoints_total", "Checkpoints written.", engine.Checkpoints);
        text.Counter("cloudfs_checkpoint_bytes_total", "Bytes of those checkpoints.", engine.CheckpointBytes);
        text.Counter("cloudfs_damaged_pages_total", "Pages that failed their check when read.", engine.DamagedPages);
        text.Counter(
            "cloudfs_headers_from_copy_total", "Headers that only a segment's second copy gave.",
            engine.HeadersFromCopy);
        text.Counter("cloudfs_read_bytes_total", "Bytes that disks were read.", engine.ReadBytes);
        text.Counter("cloudfs_written_bytes_total", "Bytes that disks were written.", engine.WrittenBytes);
        text.Counter("cloudfs_segments_reclaimed_total", "Segments used again.", engine.SegmentsReclaimed);
    }

    private static void AddScrub(MetricsText text, ScrubStatus scrub)
    {
        text.Counter("cloudfs_scrub_bytes_total", "Bytes that scrubs read.", scrub.BytesReadInAll);
        text.Gauge("cloudfs_scrub_running", "1 while a scrub is under way.", scrub.Running ? 1 : 0);
        text.Gauge("cloudfs_scrub_findings", "Findings of the newest scrub.", scrub.FindingCount);
        text.Gauge(
            "cloudfs_scrub_progress_ratio", "How much of the newest scrub is done, 0 to 1.",
            scrub.BytesTotal == 0 ? 0 : Math.Round((double)scrub.BytesDone / scrub.BytesTotal, 4));
        text.Gauge(
            "cloudfs_scrub_completed_timestamp_seconds", "When a scrub last reached its end; 0 for never.",
            scrub.LastCompletedMicros / 1_000_000);
    }

    private static void AddDisks(MetricsText text, IReadOnlyList<DiskStatus> disks)
    {
        text.Gauge("cloudfs_disks", "Disks here.", disks.Count);
        Add("cloudfs_disk_size_bytes", "Size of the disk.", disk => disk.SizeBytes);
        Add("cloudfs_disk_lsn", "LSN of the newest durable entry.", disk => disk.Durable.Lsn);
        Add("cloudfs_disk_newest_lsn", "LSN of the newest entry, durable or not.", disk => disk.Newest.Lsn);
        Add("cloudfs_disk_oldest_lsn", "The oldest LSN that a stream can begin with.", disk => disk.OldestLsn);
        Add("cloudfs_disk_live_bytes", "Bytes that the present version reads.", disk => disk.LiveBytes);
        Add("cloudfs_disk_history_bytes", "Bytes of entries that the history holds.", disk => disk.HistoryBytes);
        Add("cloudfs_disk_damaged_bytes", "Bytes that answer EIO.", disk => disk.DamagedBytes);
        Add("cloudfs_disk_writable", "1 if this host can extend the disk.", disk => disk.Writable ? 1UL : 0);

        void Add(string name, string help, Func<DiskStatus, ulong> value)
        {
            text.Begin(name, "gauge", help);
            foreach (var disk in disks)
            {
                text.Labelled(name, "disk", disk.Id.ToString(), value(disk));
            }
        }
    }

    private static void AddHttp(MetricsText text, HttpServices services)
    {
        const string Answers = "cloudfs_http_answers_total";
        text.Begin(Answers, "counter", "Answers by class of status.");
        for (var digit = 1; digit <= 5; digit++)
        {
            text.Labelled(
                Answers, "status", digit.ToString(CultureInfo.InvariantCulture) + "xx",
                services.Counters.Answers(digit));
        }

        var counters = services.Counters;
        text.Gauge("cloudfs_http_connections", "Connections.", services.Connections.Open);
        text.Counter(
            "cloudfs_http_pushed_out_total", "Silent connections closed for want of room.",
            services.Connections.PushedOut);
        text.Gauge("cloudfs_http_streams", "Streams that are being read.", services.Streams.Inside);
        text.Gauge("cloudfs_http_log_uploads", "Logs that are being taken in.", services.LogUploads.Inside);
        text.Gauge("cloudfs_http_upload_memory_bytes", "Memory that bodies of writes hold.", services.Uploads.InUse);
        text.Counter("cloudfs_http_stream_bytes_total", "Bytes of entries sent.", counters.StreamBytes);
        text.Counter("cloudfs_http_read_bytes_total", "Bytes that GET /blocks sent.", counters.ReadBytes);
        text.Counter("cloudfs_http_written_bytes_total", "Bytes that PUT and DELETE changed.", counters.WrittenBytes);
        text.Counter("cloudfs_http_ingested_entries_total", "Entries that PUT /log took.", counters.IngestedEntries);
        text.Counter("cloudfs_http_ingested_bytes_total", "Bytes of those entries.", counters.IngestedBytes);
        text.Counter("cloudfs_http_broken_off_total", "Answers broken off in the middle.", counters.BrokenOff);
    }

    private static void AddProcess(MetricsText text, DaemonFacts facts)
    {
        text.Begin("cloudfs_build_info", "gauge", "1, labelled with the version.");
        text.Labelled("cloudfs_build_info", "version", ProductVersion.Text, 1);
        text.Gauge("cloudfs_uptime_seconds", "Since the process started.", Math.Round(facts.Uptime.TotalSeconds, 3));
        text.Gauge(
            "process_start_time_seconds", "When the process started, since 1970.",
            facts.Started.ToUnixTimeMilliseconds() / 1000.0);
        text.Gauge("process_resident_memory_bytes", "Resident memory.", Environment.WorkingSet);
        text.Gauge("cloudfs_managed_memory_bytes", "Memory of the managed heap.", GC.GetTotalMemory(false));
        text.Gauge("cloudfs_threads", "Threads of the pool.", ThreadPool.ThreadCount);
        text.Counter(
            "process_cpu_seconds_total", "Processor time used.",
            Math.Round(Environment.CpuUsage.TotalTime.TotalSeconds, 3));
    }
}
