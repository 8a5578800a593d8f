using CloudFs.Core.Metrics;

namespace CloudFs.Daemon.Nbd;

/// <summary>What the NBD server has done and does, at one moment. Totals only grow.</summary>
public sealed record NbdMetrics
{
    /// <summary>Connections in transmission now.</summary>
    public required int Connections { get; init; }

    /// <summary>Connections that negotiate now.</summary>
    public required int Handshakes { get; init; }

    /// <summary>Connections accepted.</summary>
    public required long Accepted { get; init; }

    /// <summary>Connections that ended without reaching transmission because of the peer or of a limit.</summary>
    public required long Refused { get; init; }

    /// <summary>Connections ended because the peer broke the protocol in transmission.</summary>
    public required long ProtocolErrors { get; init; }

    /// <summary>Requests by kind, in lower case as in docs/protocol/nbd.md; "other" is unknown ones.</summary>
    public required IReadOnlyDictionary<string, long> Requests { get; init; }

    /// <summary>Bytes of data sent in answer to reads.</summary>
    public required long BytesRead { get; init; }

    /// <summary>Bytes of data taken by acknowledged writes.</summary>
    public required long BytesWritten { get; init; }

    /// <summary>Requests answered with an error.</summary>
    public required long Errors { get; init; }

    /// <summary>Bytes under way that count against the limit on all connections together.</summary>
    public required long SharedBytes { get; init; }

    /// <summary>Requests that were taken and whose reply has not left yet.</summary>
    public required int InFlight { get; init; }

    /// <summary>How long some of the requests took, by command, from parsed to replied.</summary>
    public required IReadOnlyList<(string Command, LatencySnapshot Latency)> Latencies { get; init; }

    /// <summary>How long it took to parse some of the requests.</summary>
    public required LatencySnapshot Parse { get; init; }

    /// <summary>How long it took to send the replies of some of them.</summary>
    public required LatencySnapshot Reply { get; init; }
}
