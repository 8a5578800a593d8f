using CloudFs.Core.Primitives;
using Microsoft.AspNetCore.Http.Features;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Takes each request to its endpoint, and makes an answer of whatever is thrown there: an expected refusal becomes its
/// status and line, an answer that can't be finished is broken off, and what nobody expected is logged.
/// </summary>
internal sealed partial class Dispatcher(HttpServices services)
{
    public async Task HandleAsync(HttpContext http)
    {
        using var busy = services.Connections.Busy(http);
        using var exchange = new Exchange(http, services);
        try
        {
            await RouteTable.Find(exchange).Handler(exchange);
        }
        catch (Exception thrown)
        {
            await ExplainAsync(exchange, thrown);
            await exchange.DrainAsync();
        }

        services.Counters.Answered(http.Response.StatusCode);
    }

    private Task ExplainAsync(Exchange exchange, Exception thrown)
    {
        switch (thrown)
        {
            case HttpRefusalException refusal:
                return exchange.RefuseAsync(refusal.Status, refusal.Message);
            case RefusalException refusal:
                return exchange.RefuseAsync(StatusMap.For(refusal.Reason), refusal.Message);
            case BadHttpRequestException bad:
                return exchange.RefuseAsync(bad.StatusCode, bad.Message);
            case OperationCanceledException when exchange.Http.RequestAborted.IsCancellationRequested:
            case IOException when exchange.Http.RequestAborted.IsCancellationRequested:
                // The client went away; nobody is left to be told.
                return Task.CompletedTask;
            case OperationCanceledException when services.Stopping.IsCancellationRequested:
                return exchange.RefuseAsync(503, "the daemon is stopping; try again");
            default:
                var target = exchange.Http.Features.Get<IHttpRequestFeature>()?.RawTarget ?? string.Empty;
                Unexpected(services.Logger, thrown, exchange.Request.Method, target);
                return exchange.RefuseAsync(500, "the daemon met an error that it did not expect; its log has more");
        }
    }

    [LoggerMessage(LogLevel.Error, "a request failed by an error that nobody expected")]
    private static partial void Unexpected(ILogger logger, Exception exception, string method, string target);
}
