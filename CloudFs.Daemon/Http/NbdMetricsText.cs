using CloudFs.Daemon.Nbd;

namespace CloudFs.Daemon.Http;

/// <summary>The NBD server's lines of <c>/metrics</c>.</summary>
internal static class NbdMetricsText
{
    public static void Add(MetricsText text, NbdMetrics nbd)
    {
        text.Gauge("cloudfs_nbd_connections", "Connections in transmission.", nbd.Connections);
        text.Gauge("cloudfs_nbd_handshakes", "Connections that negotiate.", nbd.Handshakes);
        text.Counter("cloudfs_nbd_accepted_total", "Connections accepted.", nbd.Accepted);
        text.Counter("cloudfs_nbd_refused_total", "Connections that ended before transmission.", nbd.Refused);
        text.Counter(
            "cloudfs_nbd_protocol_errors_total", "Connections ended because the peer broke the protocol.",
            nbd.ProtocolErrors);
        text.Counter("cloudfs_nbd_read_bytes_total", "Bytes sent in answer to reads.", nbd.BytesRead);
        text.Counter("cloudfs_nbd_written_bytes_total", "Bytes of acknowledged writes.", nbd.BytesWritten);
        text.Counter("cloudfs_nbd_errors_total", "Requests answered with an error.", nbd.Errors);
        text.Gauge("cloudfs_nbd_memory_bytes", "Bytes of payload under way.", nbd.SharedBytes);

        const string Requests = "cloudfs_nbd_requests_total";
        text.Begin(Requests, "counter", "Requests by kind.");
        foreach (var (kind, count) in nbd.Requests)
        {
            text.Labelled(Requests, "kind", kind, count);
        }
    }
}
