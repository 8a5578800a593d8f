using CloudFs.Core.Engine;
using CloudFs.Daemon.Http;
using CloudFs.Daemon.Nbd;

namespace CloudFs.Daemon.Hosting;

/// <summary>The NBD server as the daemon runs it: its addresses from the options, its numbers for <c>/metrics</c>.</summary>
internal static class NbdFace
{
    /// <summary>A server that listens by the daemon's options once it is started; on nothing where they say "none".</summary>
    public static NbdServer Create(StorageEngine engine, DaemonOptions options, DaemonLog log) => new(
        engine,
        new NbdServerOptions
        {
            Endpoints = options.Nbd is { } address ? [address.EndPoint] : [],
            UnixSocketPath = options.NbdSocket,
        },
        log.For<NbdServer>());

    public static void Write(NbdMetrics nbd, MetricsText text)
    {
        text.Gauge("cloudfs_nbd_connections", "NBD connections in transmission.", nbd.Connections);
        text.Gauge("cloudfs_nbd_handshakes", "NBD connections that negotiate.", nbd.Handshakes);
        text.Counter("cloudfs_nbd_accepted_total", "NBD connections accepted.", nbd.Accepted);
        text.Counter("cloudfs_nbd_refused_total", "NBD connections that ended before transmission.", nbd.Refused);
        text.Counter(
            "cloudfs_nbd_protocol_errors_total", "NBD connections ended because the peer broke the protocol.", nbd.ProtocolErrors);
        text.Counter("cloudfs_nbd_errors_total", "NBD requests answered with an error.", nbd.Errors);
        text.Counter("cloudfs_nbd_read_bytes_total", "Bytes sent in answer to NBD reads.", nbd.BytesRead);
        text.Counter("cloudfs_nbd_written_bytes_total", "Bytes taken by acknowledged NBD writes.", nbd.BytesWritten);
        text.Gauge("cloudfs_nbd_shared_bytes", "Bytes of NBD payload under way.", nbd.SharedBytes);
        text.Begin("cloudfs_nbd_requests_total", "counter", "NBD requests by type.");
        foreach (var (kind, count) in nbd.Requests)
        {
            text.Labelled("cloudfs_nbd_requests_total", "type", kind, count);
        }
    }
}
