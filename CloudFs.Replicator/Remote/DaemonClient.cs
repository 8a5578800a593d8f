using CloudFs.Core.Contracts;

namespace CloudFs.Replicator.Remote;

/// <summary>This host's daemon (docs/protocol/cluster.md).</summary>
internal sealed class DaemonClient(HttpCaller caller, Uri daemon)
{
    private const int MaxSmall = 1 << 20;

    /// <summary>A hundred thousand disks fit.</summary>
    private const int MaxCluster = 256 << 20;

    public Uri Url => daemon;

    public Task<Reply> GetHostAsync(CancellationToken cancellation) => SendAsync(HttpMethod.Get, "/host", null, cancellation);

    /// <summary>304 where nothing changed since <paramref name="etag"/>.</summary>
    public async Task<Reply> GetClusterAsync(string? etag, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(daemon, "/cluster"));
        if (etag is not null)
        {
            request.Headers.TryAddWithoutValidation("If-None-Match", etag);
        }

        return await caller.SendAsync(request, HttpCaller.Patience, MaxCluster, cancellation);
    }

    public Task<Reply> PutPeersAsync(PeersRequest peers, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Put, "/cluster/peers", HttpCaller.Json(peers, ClusterContractsJson.Default.PeersRequest), cancellation);

    /// <summary>Hands over a disk's first entry; the secret for its primary alone.</summary>
    public async Task<Reply> PutDiskAsync(string disk, byte[] entry, string? secret, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, new Uri(daemon, $"/cluster/disks?{disk}"));
        request.Content = new ByteArrayContent(entry);
        if (secret is not null)
        {
            request.Headers.TryAddWithoutValidation("CloudFS-Secret", secret);
        }

        return await caller.SendAsync(request, HttpCaller.LongPatience, MaxSmall, cancellation);
    }

    public Task<Reply> FollowAsync(FollowRequest follow, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Post, "/cluster/follow", HttpCaller.Json(follow, ClusterContractsJson.Default.FollowRequest), cancellation);

    public Task<Reply> ChangeMembersAsync(MembersRequest members, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Post, "/cluster/members", HttpCaller.Json(members, ClusterContractsJson.Default.MembersRequest), cancellation);

    public Task<Reply> MoveAsync(MoveRequest move, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Post, "/cluster/move", HttpCaller.Json(move, ClusterContractsJson.Default.MoveRequest), cancellation);

    public Task<Reply> DropAsync(string disk, CancellationToken cancellation) =>
        SendAsync(HttpMethod.Post, "/cluster/drop",
            HttpCaller.Json(new DropRequest(disk), ClusterContractsJson.Default.DropRequest), cancellation);

    private async Task<Reply> SendAsync(HttpMethod method, string path, HttpContent? content, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(method, new Uri(daemon, path)) { Content = content };
        var patience = method == HttpMethod.Post ? HttpCaller.LongPatience : HttpCaller.Patience;
        return await caller.SendAsync(request, patience, MaxSmall, cancellation);
    }
}
