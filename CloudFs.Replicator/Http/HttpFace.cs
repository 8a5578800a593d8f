using System.Net;
using System.Net.Sockets;
using CloudFs.Replicator.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace CloudFs.Replicator.Http;

/// <summary>The HTTP server: Kestrel, a table of routes, and bounds on everything that comes in.</summary>
internal sealed class HttpFace : IAsyncDisposable
{
    private const int MaxConnections = 512;

    /// <summary>Requests at work at once; more are told to come again, so that a flood holds up nobody for long.</summary>
    private const int MaxRequests = 128;

    private readonly WebApplication _application;
    private readonly SemaphoreSlim _room = new(MaxRequests);
    private readonly TaskCompletionSource<(Node Node, IReadOnlyList<HttpRoute> Routes)> _node =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private HttpFace(WebApplication application) => _application = application;

    /// <summary>Where it listens, with the port that was found where 0 was asked.</summary>
    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Loopback, 0);

    /// <summary>Listens; requests wait until <see cref="Serve"/>.</summary>
    /// <exception cref="IOException">The address is taken.</exception>
    public static async Task<HttpFace> StartAsync(IPEndPoint endPoint)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance);
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(options =>
        {
            options.AddServerHeader = false;
            options.Limits.MaxConcurrentConnections = MaxConnections;
            options.Limits.MaxRequestBodySize = null;
            options.Limits.MaxRequestLineSize = 2 << 10;
            options.Limits.MaxRequestHeadersTotalSize = 8 << 10;
            options.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
            options.Listen(endPoint, listen => listen.Protocols = HttpProtocols.Http1);
        });
        var face = new HttpFace(builder.Build());
        face._application.Run(face.HandleAsync);
        try
        {
            await face._application.StartAsync(CancellationToken.None);
        }
        catch (Exception failed) when (failed is IOException or SocketException)
        {
            await face.DisposeAsync();
            throw new IOException($"can't listen on {endPoint}: {failed.GetBaseException().Message}", failed);
        }

        face.EndPoint = new IPEndPoint(endPoint.Address, BindingAddress.Parse(face._application.Urls.First()).Port);
        return face;
    }

    public void Serve(Node node, IReadOnlyList<HttpRoute> routes) => _node.TrySetResult((node, routes));

    public async Task StopAsync(TimeSpan patience)
    {
        _node.TrySetCanceled();
        using var deadline = new CancellationTokenSource(patience);
        await _application.StopAsync(deadline.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _application.DisposeAsync();
        _room.Dispose();
    }

    private async Task HandleAsync(HttpContext http)
    {
        var (node, routes) = await _node.Task.WaitAsync(http.RequestAborted);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, node.Stopping);
        var (route, argument, refusal) = HttpRoute.Find(routes, http);
        var exchange = new Exchange(http, node, ended.Token) { PathArgument = argument };
        if (!await _room.WaitAsync(0, ended.Token))
        {
            http.Response.Headers.RetryAfter = "1";
            await exchange.RefuseAsync(503, "too many requests are at work; try again in a second");
            return;
        }

        try
        {
            await (route is null ? throw refusal! : route.Handler(exchange));
        }
        catch (HttpRefusalException refused)
        {
            await exchange.RefuseAsync(refused.Status, refused.Message);
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException bad)
        {
            await exchange.RefuseAsync(bad.StatusCode, bad.Message);
        }
        catch (Exception gone) when (gone is OperationCanceledException or IOException && ended.IsCancellationRequested)
        {
            if (!http.RequestAborted.IsCancellationRequested)
            {
                http.Abort();
            }
        }
        catch (Exception unexpected)
        {
            node.Log.Error($"{http.Request.Method} {http.Request.Path} failed by an error that nobody expected: {unexpected}");
            await exchange.RefuseAsync(500, "the replicator met an error that it did not expect; its log has more");
        }
        finally
        {
            _room.Release();
        }
    }

    /// <summary>Signals are the process's own affair.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}

/// <summary>A method on a path; a path that ends in a slash takes one more segment.</summary>
internal sealed record HttpRoute(string Method, string Path, Func<Exchange, Task> Handler)
{
    public static (HttpRoute? HttpRoute, string Argument, HttpRefusalException? Refusal) Find(
        IReadOnlyList<HttpRoute> routes, HttpContext http)
    {
        var path = http.Request.Path.Value ?? "/";
        var method = HttpMethods.IsHead(http.Request.Method) ? HttpMethods.Get : http.Request.Method;
        List<string> allowed = [];
        foreach (var route in routes)
        {
            var takesMore = route.Path.EndsWith('/');
            if (takesMore ? !path.StartsWith(route.Path, StringComparison.Ordinal) || path.Length == route.Path.Length : path != route.Path)
            {
                continue;
            }

            if (route.Method == method)
            {
                return (route, takesMore ? path[route.Path.Length..] : string.Empty, null);
            }

            allowed.Add(route.Method);
        }

        if (allowed.Count > 0)
        {
            http.Response.Headers.Allow = string.Join(", ", allowed);
            return (null, "", new HttpRefusalException(405, $"{path} takes {string.Join(", ", allowed)}"));
        }

        var all = string.Join(", ", routes.Select(route => route.Path).Distinct());
        return (null, "", new HttpRefusalException(404, $"there is nothing here; there are {all}"));
    }
}
