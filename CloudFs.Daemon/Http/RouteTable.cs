using CloudFs.Daemon.Http.Endpoints;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Every route there is. docs/protocol/http.md and openapi.json describe the same ones; a test compares the three.
/// </summary>
internal static class RouteTable
{
    public static IReadOnlyList<Route> Routes { get; } =
    [
        new("GET", "/heads", "", HeadsEndpoint.GetAsync),
        new("GET", "/lsn", "?<disk>", HeadsEndpoint.GetLsnAsync),
        new("GET", "/stream", "?<disk>[&<lsn or version id>][&once]", StreamEndpoint.GetAsync),
        new("GET", "/state", "?<disk>[&<lsn>&<version id>][&once]", StreamEndpoint.GetStateAsync),
        new("GET", "/blocks", "?<disk>[&<version id>]", BlockReads.GetAsync),
        new("PUT", "/blocks", "?<disk>", BlockWrites.PutAsync),
        new("DELETE", "/blocks", "?<disk>", BlockWrites.DeleteAsync),
        new("GET", "/extents", "?<disk>", ExtentsEndpoint.GetAsync),
        new("PUT", "/log", "", LogUpload.PutAsync),
        new("GET", "/disks", "", DisksEndpoint.ListAsync),
        new("POST", "/disks", "", DisksEndpoint.CreateAsync),
        new("GET", "/disks/{disk}", "", DisksEndpoint.GetAsync),
        new("PATCH", "/disks/{disk}", "", DisksEndpoint.ChangeAsync),
        new("DELETE", "/disks/{disk}", "", DisksEndpoint.DeleteAsync),
        new("GET", "/scrub", "", ScrubEndpoint.GetAsync),
        new("POST", "/scrub", "", ScrubEndpoint.BeginAsync),
        new("GET", "/cluster", "", ClusterEndpoint.GetAsync),
        new("PUT", "/cluster/peers", "", ClusterEndpoint.PutPeersAsync),
        new("PUT", "/cluster/disks", "?<disk>", ClusterEndpoint.PutDiskAsync),
        new("POST", "/cluster/follow", "", ClusterEndpoint.FollowAsync),
        new("POST", "/cluster/members", "", ClusterEndpoint.ChangeMembersAsync),
        new("POST", "/cluster/move", "", ClusterEndpoint.MoveAsync),
        new("POST", "/cluster/drop", "", ClusterEndpoint.DropAsync),
        new("GET", "/cluster/link", "", LinkEndpoint.GetAsync),
        new("GET", "/host", "", HostEndpoint.GetAsync),
        new("GET", "/healthz", "", HealthEndpoint.GetAsync),
        new("GET", "/metrics", "", MetricsEndpoint.GetAsync),
    ];

    /// <summary>
    /// Finds the route of a request, or throws the refusal: 404 with what there is, 405 with what is allowed.
    /// </summary>
    public static Route Find(Exchange exchange)
    {
        var path = exchange.Request.Path.Value ?? "/";
        var method = exchange.IsHead ? HttpMethods.Get : exchange.Request.Method;
        List<string> allowed = [];
        foreach (var route in Routes)
        {
            if (!route.Matches(path, out var argument))
            {
                continue;
            }

            if (route.Method == method)
            {
                exchange.PathArgument = argument;
                return route;
            }

            allowed.Add(route.Method);
        }

        if (allowed.Count == 0)
        {
            throw new HttpRefusalException(404, NotFoundLine);
        }

        var list = string.Join(", ", allowed);
        exchange.Response.Headers.Allow = list;
        throw new HttpRefusalException(405, $"{path} takes {list}");
    }

    private static string NotFoundLine { get; } =
        "there is nothing here; there are "
        + string.Join(", ", Routes.DistinctBy(r => r.Path).Select(r => r.Path + r.Query));
}
