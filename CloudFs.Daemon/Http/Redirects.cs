using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Requests for bytes of a disk whose primary is another host: 307 to its daemon, where that is known, else to the replicator beside
/// this one.
/// </summary>
internal static class Redirects
{
    /// <summary>True when the request was answered by a redirect.</summary>
    public static bool TryRedirect(Exchange exchange, string idOrName)
    {
        var replication = exchange.Engine.Replication;
        string? to;
        if (exchange.Engine.TryGetDisk(idOrName, out var disk))
        {
            if (replication.GetGroup(disk.Id) is not { Role: not GroupRole.Primary } group)
            {
                return false;
            }

            to = replication.AddressOf(group.Ballot.Primary) is { } address ? $"http://{address}" : exchange.Services.Cluster.Replicator;
        }
        else
        {
            to = exchange.Services.Cluster.Replicator;
        }

        if (to is null)
        {
            return false;
        }

        exchange.Response.StatusCode = StatusCodes.Status307TemporaryRedirect;
        exchange.Response.Headers.Location = $"{to}/blocks{exchange.Request.QueryString.Value}";
        exchange.Response.ContentLength = 0;
        return true;
    }
}
