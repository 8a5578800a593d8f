using System.Net;
using System.Net.Sockets;
using CloudFs.Daemon.Links;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace CloudFs.Daemon.Http;

/// <summary>
/// The HTTP server: Kestrel with nothing on top but the dispatcher. It owns its connections; requests reach the engine
/// through <see cref="HttpServices"/>.
/// </summary>
internal sealed class HttpFace : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly CancellationTokenSource _stopping;
    private readonly LinkRoom _links;

    private HttpFace(WebApplication application, CancellationTokenSource stopping, LinkRoom links)
    {
        _links = links;
        _application = application;
        _stopping = stopping;
    }

    /// <summary>Where it listens, with the port that was found where 0 was asked.</summary>
    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Loopback, 0);

    /// <summary>Makes the server and listens. Throws <see cref="IOException"/> where the address is taken.</summary>
    public static async Task<HttpFace> StartAsync(
        IPEndPoint endPoint, ILoggerFactory log, Func<CancellationToken, HttpServices> services)
    {
        // An empty builder: no configuration files, no command line, no default middleware, half the start-up time.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(log);
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.WebHost.UseKestrelCore();
        var stopping = new CancellationTokenSource();
        var shared = services(stopping.Token);

        // The last transport that is registered is the one that is asked first.
        builder.Services.AddSingleton<IConnectionListenerFactory>(new LinkDoor(shared.Links, log));
        builder.WebHost.ConfigureKestrel(options =>
        {
            SetLimits(options);
            options.Listen(endPoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                listen.Use(shared.Connections.Around);
            });
        });
        var face = new HttpFace(builder.Build(), stopping, shared.Links);
        face._application.Run(new Dispatcher(shared).HandleAsync);
        try
        {
            await face._application.StartAsync(CancellationToken.None);
        }
        catch (Exception failed)
        {
            await face.DisposeAsync();
            if (failed is IOException or SocketException)
            {
                throw new IOException($"can't listen on {endPoint} for HTTP: {Innermost(failed)}", failed);
            }

            throw;
        }

        var bound = BindingAddress.Parse(face._application.Urls.First());
        face.EndPoint = new IPEndPoint(endPoint.Address, bound.Port);
        return face;
    }

    /// <summary>
    /// Stops: nothing new is let in, what is under way is told to end and gets <paramref name="patience"/> to do so.
    /// </summary>
    public async Task StopAsync(TimeSpan patience)
    {
        await _stopping.CancelAsync();
        using var deadline = new CancellationTokenSource(patience);
        await _application.StopAsync(deadline.Token);
        await _links.StopAsync(patience);
    }

    public async ValueTask DisposeAsync()
    {
        await _application.DisposeAsync();
        _stopping.Dispose();
    }

    private static string Innermost(Exception failed) => failed.GetBaseException().Message;

    private static void SetLimits(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        var limits = options.Limits;
        limits.MaxConcurrentConnections = HttpLimits.MaxSockets;

        // Each endpoint bounds what it reads; a limit of Kestrel's own resets the connection before the answer is read.
        limits.MaxRequestBodySize = null;
        limits.MaxRequestLineSize = 2 << 10;
        limits.MaxRequestHeadersTotalSize = 8 << 10;
        limits.MaxRequestHeaderCount = 64;

        // Half-open connections hold one of the places: ten seconds are plenty for one line and a few headers.
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
    }

    /// <summary>Signals are the daemon's own affair: it has more to stop than HTTP.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
