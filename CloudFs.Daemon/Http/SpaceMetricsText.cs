using CloudFs.Core.Engine;

namespace CloudFs.Daemon.Http;

/// <summary>Room, what is written for it, and how compaction stands, as metrics.</summary>
internal static class SpaceMetricsText
{
    public static void Add(MetricsText text, SpaceReport space, CompactionReport compaction, EngineCounters engine)
    {
        AddSpace(text, space);
        AddWritten(text, engine);
        text.Gauge(
            "cloudfs_write_amplification", "New and relocated bytes for each new one, since the start.",
            Math.Round(compaction.WriteAmplification, 3));
        text.Gauge("cloudfs_compaction_running", "1 while victims are being relocated.", compaction.Running ? 1 : 0);
        text.Gauge(
            "cloudfs_compaction_debt_bytes", "Bytes to relocate until as much is free as is wanted.",
            compaction.DebtBytes);
        if (compaction.EstimatedSeconds is { } seconds)
        {
            text.Gauge("cloudfs_compaction_eta_seconds", "How long that takes; absent while it can't be told.", seconds);
        }

        text.Counter("cloudfs_index_cache_hits_total", "Pages of the index had from memory.", engine.IndexCacheHits);
        text.Counter("cloudfs_index_cache_misses_total", "Pages of the index had from the device.", engine.IndexCacheMisses);
        text.Counter("cloudfs_read_cache_hits_total", "Pages that reads had from memory.", engine.ReadCacheHits);
        text.Counter("cloudfs_read_cache_misses_total", "Pages that reads had from the log.", engine.ReadCacheMisses);
        text.Gauge("cloudfs_read_cache_bytes", "Memory that pages take which are kept for reads.", engine.ReadCacheBytes);
        text.Gauge("cloudfs_index_pages", "Pages that the trees of all disks take.", engine.IndexPages);
    }

    private static void AddSpace(MetricsText text, SpaceReport space)
    {
        const string Name = "cloudfs_space_bytes";
        text.Begin(Name, "gauge", "What the device's bytes are; reclaimable and reserved are parts of other kinds.");
        foreach (var (kind, bytes) in ((string, ulong)[])
        [
            ("capacity", space.Capacity), ("live", space.Live), ("headers", space.Headers), ("pinned", space.Pinned),
            ("history", space.History), ("dead", space.Dead), ("index", space.Index), ("checkpoint", space.Checkpoint),
            ("bad", space.Bad), ("open", space.Open), ("free", space.Free), ("reserved", space.Reserved),
            ("reclaimable", space.Reclaimable),
        ])
        {
            text.Labelled(Name, "kind", kind, bytes);
        }

        text.Gauge("cloudfs_device_capacity_bytes", "Bytes in segments.", space.Capacity);
        text.Gauge("cloudfs_device_free_bytes", "Bytes in segments that can be written at once.", space.Free);
        text.Gauge(
            "cloudfs_device_reclaimable_bytes", "Bytes of history and of what is dead.", space.Reclaimable);
        text.Gauge("cloudfs_device_reserved_bytes", "Bytes kept back for deletes and views.", space.Reserved);
        text.Gauge("cloudfs_device_live_bytes", "Bytes that some disk's present version reads.", space.Live);
    }

    private static void AddWritten(MetricsText text, EngineCounters engine)
    {
        const string Name = "cloudfs_device_written_bytes_total";
        text.Begin(Name, "counter", "Bytes written to the device, by what they are; the sum is all but what is written ahead.");
        foreach (var (kind, bytes) in ((string, ulong)[])
        [
            ("new", engine.NewBytes), ("relocated", engine.RelocatedBytes), ("index", engine.IndexBytes),
            ("checkpoint", engine.CheckpointBytes), ("footer", engine.FooterBytes),
        ])
        {
            text.Labelled(Name, "kind", kind, bytes);
        }

        text.Counter(
            "cloudfs_device_ahead_bytes_total",
            "Bytes of zeroes written ahead of the log, once for each place of a file that was never written.", engine.AheadBytes);
    }
}
