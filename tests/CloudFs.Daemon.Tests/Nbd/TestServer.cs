using System.Net;
using System.Net.Sockets;
using CloudFs.Daemon.Nbd;
using CloudFs.Daemon.Nbd.Exports;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>A server on a Unix socket of its own (and on TCP where a test wants that), and clients for it.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly string _folder;

    private TestServer(string folder, NbdServer server)
    {
        _folder = folder;
        Server = server;
    }

    public NbdServer Server { get; }

    public string SocketPath => Path.Combine(_folder, "nbd.sock");

    public static Task<TestServer> StartAsync(params IBlockTarget[] targets) => StartAsync(o => o, targets);

    public static async Task<TestServer> StartAsync(
        Func<NbdServerOptions, NbdServerOptions> change, IBlockTarget[] targets, ILogger? log = null)
    {
        var folder = Directory.CreateTempSubdirectory("nbd").FullName;
        var options = change(new NbdServerOptions { UnixSocketPath = Path.Combine(folder, "nbd.sock") });
        var server = new NbdServer(new MemoryCatalog(targets), options, log ?? NullLogger.Instance);
        await server.StartAsync(CancellationToken.None);
        return new TestServer(folder, server);
    }

    public Socket Connect()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
        return socket;
    }

    public NbdTestClient Client() => new(Connect());

    /// <summary>
    /// A client in transmission on the export, with structured replies and base:allocation unless not wanted.
    /// </summary>
    public NbdTestClient Attach(string export = "", bool structured = true)
    {
        var client = Client();
        client.Attach(export, structured);
        return client;
    }

    /// <summary>Waits until something is so; false after ten seconds.</summary>
    public static async Task<bool> BecomesAsync(Func<bool> condition, int seconds = 10)
    {
        for (var i = 0; i < seconds * 100; i++)
        {
            if (condition())
            {
                return true;
            }

            await Task.Delay(10);
        }

        return condition();
    }

    public static IPEndPoint AnyPort => new(IPAddress.Loopback, 0);

    public async ValueTask DisposeAsync()
    {
        await Server.StopAsync(TimeSpan.FromSeconds(5));
        Directory.Delete(_folder, recursive: true);
    }
}
