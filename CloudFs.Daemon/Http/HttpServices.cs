using CloudFs.Core.Engine;
using CloudFs.Daemon.Cluster;
using CloudFs.Daemon.Hosting;
using CloudFs.Daemon.Links;
using CloudFs.Daemon.Nbd;

namespace CloudFs.Daemon.Http;

/// <summary>What the endpoints share; made once, when the daemon starts.</summary>
internal sealed class HttpServices
{
    public required StorageEngine Engine { get; init; }

    public required DaemonFacts Facts { get; init; }

    public required HealthBoard Health { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>
    /// Cancelled when the daemon begins to stop: what is under way ends, live streams are broken off.
    /// </summary>
    public required CancellationToken Stopping { get; init; }

    public required NbdServer Nbd { get; init; }

    /// <summary>What the replicator told this daemon.</summary>
    public required ClusterView Cluster { get; init; }

    /// <summary>Links that other hosts dialled.</summary>
    public required LinkRoom Links { get; init; }

    public HttpCounters Counters { get; } = new();

    public ConnectionRoom Connections { get; } = new(HttpLimits.MaxConnections);

    public ByteBudget Uploads { get; } = new(HttpLimits.UploadMemory);

    public ByteBudget Downloads { get; } = new(HttpLimits.DownloadMemory);

    public Gate Streams { get; } = new(HttpLimits.MaxStreams);

    public Gate LogUploads { get; } = new(HttpLimits.MaxLogUploads);
}
