using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CloudFs.Cli.Tests;

/// <summary>A daemon or replicator that gives prepared answers, and remembers what it was asked. Anything else is a 404.</summary>
internal sealed class FakeHost : IDisposable
{
    private readonly HttpListener _listener = new();
    private readonly Task _serving;

    public FakeHost()
    {
        using (var probe = new TcpListener(IPAddress.Loopback, 0))
        {
            probe.Start();
            Address = "127.0.0.1:" + ((IPEndPoint)probe.LocalEndpoint).Port;
        }

        _listener.Prefixes.Add($"http://{Address}/");
        _listener.Start();
        _serving = Task.Run(ServeAsync);
    }

    public string Address { get; }

    public string Url => "http://" + Address;

    /// <summary>"GET /hosts" to status and JSON.</summary>
    public ConcurrentDictionary<string, (int Status, string Body)> Answers { get; } = new();

    /// <summary>"POST /move {…}", in the order they came.</summary>
    public ConcurrentQueue<string> Asked { get; } = new();

    public void Dispose()
    {
        _listener.Close();
        _serving.Wait();
    }

    private async Task ServeAsync()
    {
        while (true)
        {
            HttpListenerContext exchange;
            try
            {
                exchange = await _listener.GetContextAsync();
            }
            catch (Exception closed) when (closed is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            using var reader = new StreamReader(exchange.Request.InputStream, Encoding.UTF8);
            var body = (await reader.ReadToEndAsync()).ReplaceLineEndings("").Replace(" ", "", StringComparison.Ordinal);
            var key = $"{exchange.Request.HttpMethod} {exchange.Request.RawUrl}";
            Asked.Enqueue($"{key} {body}".TrimEnd());
            var (status, text) = Answers.GetValueOrDefault(key, (404, """{"error":"no such disk"}"""));
            exchange.Response.StatusCode = status;
            exchange.Response.ContentType = "application/json";
            if (status != 204)
            {
                await exchange.Response.OutputStream.WriteAsync(Encoding.UTF8.GetBytes(text));
            }

            exchange.Response.Close();
        }
    }
}
