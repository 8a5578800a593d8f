using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace CloudFs.Replicator.Tests.Fakes;

/// <summary>A daemon as far as its replicator sees it (docs/protocol/cluster.md), over a <see cref="FakeWorld"/>.</summary>
internal sealed class FakeDaemon(FakeWorld world, string host) : IAsyncDisposable
{
    private WebApplication? _application;
    private string _start = "0";

    public string Host => host;

    public string Device => Make.Id(host + " device");

    public int Port { get; private set; }

    public PeersRequest? Peers { get; private set; }

    public int PeersPut { get; private set; }

    /// <summary>What it refuses first entries with; 0 for nothing.</summary>
    public int RefuseDisks { get; set; }

    public ulong FreeBytes { get; set; } = 1UL << 39;

    public async Task StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(options => options.Listen(IPAddress.Loopback, Port));
        _application = builder.Build();
        _application.Run(HandleAsync);
        await _application.StartAsync();
        Port = new Uri(_application.Urls.First()).Port;
        _start = Guid.NewGuid().ToString("N");
        world.SetRunning(host, true);
    }

    public async Task StopAsync()
    {
        world.SetRunning(host, false);
        if (_application is { } running)
        {
            _application = null;
            using var deadline = new CancellationTokenSource(500);
            await running.StopAsync(deadline.Token);
            await running.DisposeAsync();
        }
    }

    public async ValueTask DisposeAsync() => await StopAsync();

    private static async Task<T> ReadAsync<T>(HttpContext http, JsonTypeInfo<T> type) =>
        (await JsonSerializer.DeserializeAsync(http.Request.Body, type))!;

    private static Task WriteAsync<T>(HttpContext http, T value, JsonTypeInfo<T> type) =>
        JsonSerializer.SerializeAsync(http.Response.Body, value, type);

    private async Task HandleAsync(HttpContext http)
    {
        var json = ClusterContractsJson.Default;
        switch ($"{http.Request.Method} {http.Request.Path}")
        {
            case "GET /host":
                await WriteAsync(http, new HostJson
                {
                    Host = host, Device = Device, DevicePath = "x", Version = "0", Pid = 1, UptimeSeconds = 1, Nbd = [], Http = "x",
                    Space = new SpaceJson(1UL << 40, FreeBytes, 0, 0, 0),
                }, HttpContractsJson.Default.HostJson);
                break;
            case "GET /cluster":
                http.Response.Headers.ETag = $"\"{_start}-{DateTime.UtcNow.Ticks}\"";
                await WriteAsync(http, new ClusterJson
                {
                    Host = host, Device = Device, Revision = 1, CapacityBytes = 1UL << 40, FreeBytes = FreeBytes, Poisoned = false,
                    Disks = world.DisksOf(host),
                }, json.ClusterJson);
                break;
            case "PUT /cluster/peers":
                Peers = await ReadAsync(http, json.PeersRequest);
                PeersPut++;
                http.Response.StatusCode = 204;
                break;
            case "PUT /cluster/disks":
                using (var body = new MemoryStream())
                {
                    await http.Request.Body.CopyToAsync(body);
                    http.Response.StatusCode = RefuseDisks != 0 ? RefuseDisks : world.PutDisk(
                        host, http.Request.QueryString.Value![1..], body.ToArray(), http.Request.Headers["CloudFS-Secret"]);
                }

                break;
            case "POST /cluster/follow":
                http.Response.StatusCode = world.Follow(host, (await ReadAsync(http, json.FollowRequest)).Disk);
                break;
            case "POST /cluster/members":
                http.Response.StatusCode = world.ChangeMembers(host, await ReadAsync(http, json.MembersRequest));
                break;
            case "POST /cluster/move":
                http.Response.StatusCode = world.Move(host, await ReadAsync(http, json.MoveRequest));
                break;
            case "POST /cluster/drop":
                http.Response.StatusCode = world.Drop(host, (await ReadAsync(http, json.DropRequest)).Disk);
                break;
            default:
                http.Response.StatusCode = 404;
                break;
        }
    }
}
