using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;
using CloudFs.Replicator.Membership;

namespace CloudFs.Replicator.Remote;

/// <summary><c>POST /hold</c>: a host is to hold a disk of whose primary the sender is the replicator. Asked as often as needed.</summary>
/// <param name="Disk">Its id.</param>
/// <param name="Primary">Host id of the primary.</param>
/// <param name="Witness">Views only.</param>
internal sealed record HoldRequest(string Disk, string Primary, bool Witness = false);

/// <summary><c>POST /intent</c>: what the primary-to-be has to know of a disk beyond its view.</summary>
internal sealed record IntentRequest(string Disk, int Replicas);

/// <summary>Source-generated JSON of the requests between replicators, but for gossip.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectRequiredConstructorParameters = true, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(HoldRequest))]
[JsonSerializable(typeof(IntentRequest))]
[JsonSerializable(typeof(DropRequest))]
[JsonSerializable(typeof(ClusterDiskJson))]
internal sealed partial class PeerJsonContext : JsonSerializerContext;

/// <summary>Other hosts' replicators.</summary>
internal sealed class PeerClient(HttpCaller caller)
{
    private const int MaxAnswer = 4 << 20;

    public Task<Reply> GossipAsync(string address, GossipMessage message, CancellationToken cancellation) =>
        PostAsync(address, "/gossip", message, GossipJson.Default.GossipMessage, HttpCaller.Patience, cancellation);

    /// <summary>The disk as that host holds it, by exact id, unique prefix or name; 404 where it does not.</summary>
    public async Task<Reply> GetHeldAsync(string address, string disk, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{address}/held?{Uri.EscapeDataString(disk)}");
        return await caller.SendAsync(request, HttpCaller.Patience, MaxAnswer, cancellation);
    }

    public Task<Reply> HoldAsync(string address, HoldRequest hold, CancellationToken cancellation) =>
        PostAsync(address, "/hold", hold, PeerJsonContext.Default.HoldRequest, HttpCaller.LongPatience, cancellation);

    public Task<Reply> IntendAsync(string address, IntentRequest intent, CancellationToken cancellation) =>
        PostAsync(address, "/intent", intent, PeerJsonContext.Default.IntentRequest, HttpCaller.Patience, cancellation);

    /// <summary>Takes back a disk that was never made: 409 where it was.</summary>
    public Task<Reply> UnmakeAsync(string address, string disk, CancellationToken cancellation) =>
        PostAsync(address, "/unmake", new DropRequest(disk), PeerJsonContext.Default.DropRequest, HttpCaller.Patience, cancellation);

    public async Task<Reply> PostAsync<T>(
        string address, string path, T value, JsonTypeInfo<T> type, TimeSpan patience, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://{address}{path}") { Content = HttpCaller.Json(value, type) };
        return await caller.SendAsync(request, patience, MaxAnswer, cancellation);
    }

    public Task<Reply> SendAsync(HttpRequestMessage request, TimeSpan patience, CancellationToken cancellation) =>
        caller.SendAsync(request, patience, MaxAnswer, cancellation);
}
