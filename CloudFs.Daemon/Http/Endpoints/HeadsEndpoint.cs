using System.Globalization;
using System.Text;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary><c>GET /heads</c> and <c>GET /lsn</c>: where each disk stands, as far as it is durable here.</summary>
internal static class HeadsEndpoint
{
    public static Task GetAsync(Exchange exchange)
    {
        var text = new StringBuilder();
        foreach (var disk in exchange.Engine.ListDisks())
        {
            text.Append(HeadLine(disk));
        }

        return exchange.TextAsync(text.ToString());
    }

    public static Task GetLsnAsync(Exchange exchange)
    {
        var query = exchange.ReadQuery();
        if (query.Lsn is not null || query.Version is not null || query.Once)
        {
            throw new HttpRefusalException(400, "expected ?<disk> and nothing else");
        }

        var lsn = exchange.FindDisk(query).Durable.Lsn;
        return exchange.TextAsync(lsn.ToString(CultureInfo.InvariantCulture) + "\n");
    }

    /// <summary><c>&lt;base id&gt;:&lt;version id&gt;</c> and a line feed.</summary>
    internal static string HeadLine(Core.Disks.Disk disk) => $"{disk.Id}:{disk.Durable.Id}\n";
}
