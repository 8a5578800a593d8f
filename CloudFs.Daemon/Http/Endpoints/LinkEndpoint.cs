using CloudFs.Daemon.Links;
using Microsoft.AspNetCore.Http.Features;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>GET /cluster/link</c>: the connection becomes a link to another host. Most never come here: <see cref="LinkDoor"/> takes them before.
/// </summary>
internal static class LinkEndpoint
{
    public static async Task GetAsync(Exchange exchange)
    {
        var upgrade = exchange.Http.Features.Get<IHttpUpgradeFeature>();
        if (upgrade is not { IsUpgradableRequest: true } || exchange.Request.Headers.Upgrade != LinkHeads.Protocol)
        {
            exchange.Response.Headers.Upgrade = LinkHeads.Protocol;
            throw new HttpRefusalException(426, $"expected Connection: Upgrade and Upgrade: {LinkHeads.Protocol}");
        }

        var links = exchange.Services.Links;
        if (!links.TryEnter())
        {
            throw new HttpRefusalException(503, $"{LinkRoom.MaxLinks} links are open already; try again when one has ended");
        }

        exchange.Response.Headers.Upgrade = LinkHeads.Protocol;
        var connection = exchange.Http.Connection;
        Stream stream;
        try
        {
            stream = await upgrade.UpgradeAsync();
        }
        catch
        {
            links.Leave();
            throw;
        }

        await links.ServeAsync(new StreamChannel(stream, $"{connection.RemoteIpAddress}:{connection.RemotePort}"));
    }
}
