using System.Net;

namespace CloudFs.Daemon.Nbd;

/// <summary>Where the NBD server listens, and what it grants to its clients.</summary>
public sealed record NbdServerOptions
{
    /// <summary>TCP addresses to listen on; port 0 takes a free one.</summary>
    public IReadOnlyList<IPEndPoint> Endpoints { get; init; } = [];

    /// <summary>
    /// Path of a Unix socket to listen on, or null. Only its owner may connect. A socket file that nobody listens on is
    /// replaced; anything else at that path is left alone and refused.
    /// </summary>
    public string? UnixSocketPath { get; init; }

    /// <summary>
    /// Connections in transmission. Each may hold a thread or two, a receive buffer and a MiB of its own; with a higher
    /// limit all that grows, with a lower one clients with many connections are refused.
    /// </summary>
    public int MaxConnections { get; init; } = 1024;

    /// <summary>
    /// Connections that still negotiate. Beyond, an old one is closed in favour of the newest. Lower would let a burst
    /// of honest clients push each other out.
    /// </summary>
    public int MaxHandshakes { get; init; } = 256;

    /// <summary>The time for a whole handshake. People who negotiate by hand in nbdsh need seconds.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Requests of one connection whose replies have not left. Clients use 16 to 128.</summary>
    public int MaxRequestsPerConnection { get; init; } = 256;

    /// <summary>
    /// Bytes of payload that one connection may have under way; at least two of the largest requests.
    /// </summary>
    public long MaxBytesPerConnection { get; init; } = 64L << 20;

    /// <summary>Bytes of payload under way in all, beyond a MiB that each connection may always use.</summary>
    public long MaxBytes { get; init; } = 256L << 20;

    /// <summary>Bytes of buffers that are kept for reuse when nothing is under way.</summary>
    public long MaxKeptBytes { get; init; } = 64L << 20;

    /// <summary>One receive takes up to this much. Writes of up to half of it are not copied.</summary>
    public int ReceiveBufferBytes { get; init; } = 256 << 10;

    /// <summary>
    /// A peer that has taken none of its replies for that long is disconnected, but only when it holds memory that
    /// others wait for: a stopped virtual machine must find its connection again.
    /// </summary>
    public TimeSpan StallLimit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long replies may take to leave after a client has said goodbye or closed its side.
    /// </summary>
    public TimeSpan FarewellTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The same with no more connections than half of the process's descriptors, the rest being for HTTP and files. To
    /// run out must never happen: the runtime itself ends the process when it can't start a thread for want of one.
    /// </summary>
    internal NbdServerOptions FitTo(ulong descriptors)
    {
        const int LeastHandshakes = 4;
        var half = (int)Math.Min(descriptors / 2, int.MaxValue);
        var handshakes = Math.Min(MaxHandshakes, Math.Max(LeastHandshakes, half / 5));
        return this with
        {
            MaxHandshakes = handshakes,
            MaxConnections = Math.Min(MaxConnections, Math.Max(1, half - handshakes)),
        };
    }
}
