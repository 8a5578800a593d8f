using System.Net;
using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Cluster;

/// <summary>
/// What this daemon knows of the cluster: its replicator, once that has said where it is, and through it where any disk is. Any thread.
/// </summary>
internal sealed class ClusterView : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false }) { Timeout = Patience };
    private string? _replicator;

    /// <summary>The replicator's URL; null until it has said so.</summary>
    public string? Replicator
    {
        get => Volatile.Read(ref _replicator);
        set => Volatile.Write(ref _replicator, value);
    }

    /// <summary>Where a disk is, by id or name; null where nobody has it, or nobody can be asked.</summary>
    /// <exception cref="IOException">The replicator did not answer as it should.</exception>
    public async ValueTask<DiskPlaceJson?> FindAsync(string idOrName, CancellationToken cancellation)
    {
        if (Replicator is not { } replicator)
        {
            return null;
        }

        try
        {
            using var answer = await _http.GetAsync($"{replicator}/disks/{Uri.EscapeDataString(idOrName)}", cancellation);
            if (answer.StatusCode == HttpStatusCode.NotFound)
            {
                return null;
            }

            return answer.IsSuccessStatusCode
                ? await answer.Content.ReadFromJsonAsync(ReplicatorContractsJson.Default.DiskPlaceJson, cancellation)
                : throw new IOException($"the replicator at {replicator} answers {(int)answer.StatusCode} when asked for a disk");
        }
        catch (Exception e) when (e is HttpRequestException or System.Text.Json.JsonException
            || (e is TaskCanceledException && !cancellation.IsCancellationRequested))
        {
            throw new IOException($"the replicator at {replicator} can't be asked: {e.Message}", e);
        }
    }

    /// <summary>Where a disk's primary is: what the replicator says, else what this host's own copy of the disk says.</summary>
    /// <exception cref="IOException">Nobody knows.</exception>
    public async ValueTask<PeerAddress> FindPrimaryAsync(Id160 disk, ReplicationHub replication, CancellationToken cancellation)
    {
        DiskPlaceJson? place = null;
        var reason = "no host that is up has it";
        try
        {
            place = await FindAsync(disk.ToString(), cancellation);
        }
        catch (IOException failed)
        {
            reason = failed.Message;
        }

        if (place is { PrimaryAddress.Length: > 0 } && Id160.TryParse(place.Primary, out var primary))
        {
            return new PeerAddress(primary, place.PrimaryAddress);
        }

        return replication.GetGroup(disk) is { } group && replication.AddressOf(group.Ballot.Primary) is { } address
            ? new PeerAddress(group.Ballot.Primary, address)
            : throw new IOException($"where the primary of disk {disk} is can't be told: {reason}");
    }

    public void Dispose() => _http.Dispose();
}
