using CloudFs.Core.Contracts;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary><c>/scrub</c>: how far the reading of the whole device is and what it found; a POST begins it anew.</summary>
internal static class ScrubEndpoint
{
    public static Task GetAsync(Exchange exchange) => exchange.JsonAsync(
        Descriptions.Of(exchange.Engine.Scrub.GetStatus()), HttpContractsJson.Plain.ScrubJson);

    public static Task BeginAsync(Exchange exchange)
    {
        exchange.Engine.Scrub.Begin();
        return exchange.JsonAsync(
            Descriptions.Of(exchange.Engine.Scrub.GetStatus()), HttpContractsJson.Plain.ScrubJson, status: 202);
    }
}
