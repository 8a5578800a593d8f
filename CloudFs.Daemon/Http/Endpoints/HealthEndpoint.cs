using CloudFs.Core.Contracts;
using CloudFs.Daemon.Hosting;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary>
/// <c>GET /healthz</c>: ok, degraded (it serves, with the exceptions that the reasons name) or failed. Only failed is a
/// 503: a balancer must not take a whole host away because of one bad sector.
/// </summary>
internal static class HealthEndpoint
{
    public static Task GetAsync(Exchange exchange)
    {
        var engine = ReplicationHealth.Over(exchange.Engine.GetHealth(), exchange.Engine.Replication.GetGroups());
        var health = exchange.Services.Health.Combine(engine);
        return exchange.JsonAsync(
            Descriptions.Of(health), HttpContractsJson.Plain.HealthJson,
            health.Status == HealthBoard.Failed ? 503 : 200);
    }
}
