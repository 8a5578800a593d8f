using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using CloudFs.Core.Contracts;
using CloudFs.Replicator.Hosting;
using Xunit;

namespace CloudFs.Replicator.Tests.Fakes;

/// <summary>A host: a fake daemon, and a real replicator in this process.</summary>
internal sealed class TestHost(FakeWorld world, string name, string? id = null) : IAsyncDisposable
{
    private readonly StringWriter _text = new();
    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false }) { Timeout = TimeSpan.FromSeconds(30) };
    private EventLog? _log;
    private int _port;

    public string Id { get; } = id ?? Make.Id(name);

    public FakeDaemon Daemon { get; } = new(world, id ?? Make.Id(name));

    public ReplicatorProcess? Replicator { get; private set; }

    public string Address => Replicator!.EndPoint.ToString();

    public string? Database { get; set; }

    public bool Witness { get; set; }

    public string Log => _text.ToString();

    public async Task<TestHost> StartAsync(params string[] seeds)
    {
        await Daemon.StartAsync();
        await StartReplicatorAsync(seeds);
        return this;
    }

    public async Task StartReplicatorAsync(params string[] seeds)
    {
        _log = new EventLog(TextWriter.Synchronized(_text), TimeProvider.System);
        Replicator = await ReplicatorProcess.StartAsync(
            new ReplicatorOptions
            {
                Seeds = seeds, Daemon = new Uri($"http://127.0.0.1:{Daemon.Port}"), Listen = new IPEndPoint(IPAddress.Loopback, _port),
                Grace = TimeSpan.FromSeconds(2), UnmadeAfter = TimeSpan.FromSeconds(2), Database = Database, Witness = Witness,
            }, _log, CancellationToken.None);
        _port = Replicator.EndPoint.Port;
    }

    public async Task StopReplicatorAsync()
    {
        if (Replicator is { } running)
        {
            Replicator = null;
            await running.DisposeAsync();
            _log!.Dispose();
        }
    }

    public async Task StopAsync()
    {
        await StopReplicatorAsync();
        await Daemon.StopAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _client.Dispose();
    }

    public async Task<(HttpStatusCode Status, string Body)> PostAsync<T>(string path, T value)
    {
        using var response = await _client.PostAsJsonAsync($"http://{Address}{path}", value, JsonSerializerOptions.Web);
        return (response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    public async Task<NewDiskAnswer> MakeDiskAsync(int replicas, string? name = null)
    {
        var (status, body) = await PostAsync("/disks", new NewDiskRequest { Replicas = replicas, Name = name, Size = 1 << 20 });
        Assert.True(status == HttpStatusCode.Created, body);
        return JsonSerializer.Deserialize(body, HttpContractsJson.Default.NewDiskAnswer)!;
    }

    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, HttpContent? content = null)
    {
        using var request = new HttpRequestMessage(method, $"http://{Address}{path}") { Content = content };
        return await _client.SendAsync(request);
    }

    public async Task<string> GetAsync(string path) => await _client.GetStringAsync($"http://{Address}{path}");

    public async Task<HostsJson> GetHostsAsync() =>
        JsonSerializer.Deserialize(await GetAsync("/hosts"), ReplicatorContractsJson.Default.HostsJson)!;

    public static async Task UntilAsync(Func<Task<bool>> holds, int seconds = 20)
    {
        for (var deadline = DateTime.UtcNow.AddSeconds(seconds); DateTime.UtcNow < deadline; await Task.Delay(50))
        {
            if (await holds())
            {
                return;
            }
        }

        Assert.Fail("it did not come about in time");
    }
}
