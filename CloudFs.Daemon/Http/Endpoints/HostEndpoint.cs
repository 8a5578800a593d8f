using CloudFs.Core.Contracts;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary><c>GET /host</c>: which daemon this is, where it listens, and the room on its device.</summary>
internal static class HostEndpoint
{
    public static Task GetAsync(Exchange exchange)
    {
        var facts = exchange.Services.Facts;
        var host = new HostJson
        {
            Host = exchange.Engine.HostId.ToString(),
            Device = exchange.Engine.DeviceId.ToString(),
            DevicePath = facts.DevicePath,
            Version = ProductVersion.Text,
            Pid = Environment.ProcessId,
            UptimeSeconds = (long)facts.Uptime.TotalSeconds,
            Nbd = facts.Nbd,
            Http = facts.Http,
            Space = Descriptions.Of(exchange.Engine.GetSpace()),
            Replicator = exchange.Services.Cluster.Replicator,
            Compaction = Descriptions.Of(exchange.Engine.GetCompaction()),
        };
        return exchange.JsonAsync(host, HttpContractsJson.Plain.HostJson);
    }
}
