using System.Net;
using CloudFs.Core.Primitives;

namespace CloudFs.Replicator.Hosting;

/// <summary>What the command line and the environment say, checked.</summary>
internal sealed record ReplicatorOptions
{
    public const int DefaultPort = 8091;

    /// <summary>Null for <c>auto</c>: the daemon's, else the one that is kept, else a new one.</summary>
    public Id160? HostId { get; init; }

    /// <summary>Addresses of other replicators to begin with.</summary>
    public IReadOnlyList<string> Seeds { get; init; } = [];

    public Uri Daemon { get; init; } = new("http://127.0.0.1:8090");

    public IPEndPoint Listen { get; init; } = new(IPAddress.Loopback, DefaultPort);

    /// <summary>The database; null for none: all that it would hold is learned anew.</summary>
    public string? Database { get; init; }

    public string Zone { get; init; } = string.Empty;

    /// <summary>Null: by the daemon's capacity, 1 for each TiB.</summary>
    public double? Weight { get; init; }

    /// <summary>Where others reach this replicator and its daemon; null: where they listen.</summary>
    public string? Advertise { get; init; }

    public string? AdvertiseDaemon { get; init; }

    public TimeSpan Grace { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>A disk in the making of which nothing more was heard for this long is completed or taken back.</summary>
    public TimeSpan UnmadeAfter { get; init; } = TimeSpan.FromMinutes(1);

    public bool Witness { get; init; }

    public bool Insecure { get; init; }
}
