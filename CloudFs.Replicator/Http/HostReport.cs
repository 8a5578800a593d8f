using System.Globalization;
using System.Text;
using CloudFs.Core.Contracts;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;

namespace CloudFs.Replicator.Http;

/// <summary>What this host knows, as <c>/hosts</c>, <c>/healthz</c> and <c>/metrics</c> tell it.</summary>
internal static class HostReport
{
    /// <summary>Disks that <c>/healthz</c> names one by one; the rest is a number.</summary>
    private const int MaxNamedDisks = 20;

    public static HostsJson Of(Node node)
    {
        var hosts = node.Table.Views();
        var known = hosts.Where(host => host.State != HostState.Down).ToList();
        return new HostsJson
        {
            Host = node.Self,
            Hosts = [.. hosts.Select(host => Describe(host, node.Table.SelfRecord.Id))],
            Disks = known.Sum(host => host.Record.Primaries),
            Degraded = known.Sum(host => host.Record.Degraded),
            Evenness = Evenness(known),
        };
    }

    /// <summary>The fullest host's share of what is held to the share that its weight calls for; 1 where nothing is held.</summary>
    public static double Evenness(IReadOnlyList<HostView> hosts)
    {
        var data = hosts.Where(host => !host.Record.Witness && !host.Draining).ToList();
        double disks = data.Sum(host => host.Record.Disks), weight = data.Sum(host => host.Record.Weight);
        return disks == 0 || weight == 0
            ? 1 : Math.Round(data.Max(host => host.Record.Disks / disks / (host.Record.Weight / weight)), 3);
    }

    public static HealthJson HealthOf(Node node)
    {
        List<HealthIssueJson> issues = [];
        if (node.DaemonTrouble is { } trouble)
        {
            issues.Add(new HealthIssueJson("daemon", $"{trouble}; it is asked again each second"));
        }

        if (node.Table.IsForgotten)
        {
            issues.Add(new HealthIssueJson("forgotten", "this host was forgotten by command: start its replicator again to be let in"));
        }

        issues.AddRange(node.Table.Conflicts().Select(conflict => new HealthIssueJson("duplicate-id", conflict.Line)));
        issues.AddRange(node.Table.Views().Where(host => host.State != HostState.Up)
            .Select(host => new HealthIssueJson("host", $"{host.Name}: {ReasonOf(host)}")));
        var reasons = node.Intents.Reasons.OrderBy(pair => pair.Key, StringComparer.Ordinal).ToList();
        issues.AddRange(reasons.Take(MaxNamedDisks).Select(pair => new HealthIssueJson("disk", $"{pair.Key}: {pair.Value}")));
        if (reasons.Count > MaxNamedDisks)
        {
            issues.Add(new HealthIssueJson("disk", $"and {reasons.Count - MaxNamedDisks} disks more"));
        }

        return new HealthJson(issues.Count == 0 ? "ok" : "degraded", issues);
    }

    public static string MetricsOf(Node node)
    {
        var text = new StringBuilder();
        var hosts = node.Table.Views();
        Head(text, "cloudfs_replicator_hosts", "gauge", "Hosts that are known, by state.");
        foreach (var state in Enum.GetValues<HostState>())
        {
            text.Append(CultureInfo.InvariantCulture,
                $"cloudfs_replicator_hosts{{state=\"{Word(state)}\"}} {hosts.Count(h => h.State == state)}\n");
        }

        Gauge(text, "cloudfs_replicator_daemon_up", "1 while the daemon answers.", node.DaemonTrouble is null ? 1 : 0);
        Gauge(text, "cloudfs_replicator_disks", "Disks that the daemon holds.", node.Local.Count);
        Gauge(text, "cloudfs_replicator_disks_degraded", "Disks of which this host is the primary that lack something.",
            node.Table.SelfRecord.Degraded);
        Gauge(text, "cloudfs_replicator_id_conflicts", "Ids that two hosts claim.", node.Table.Conflicts().Count);
        Counter(text, "cloudfs_replicator_gossip_sent_total", "Messages of gossip sent.", node.Counters.GossipSent);
        Counter(text, "cloudfs_replicator_gossip_failed_total", "Of those, without an answer that could be used.",
            node.Counters.GossipFailed);
        Counter(text, "cloudfs_replicator_gossip_taken_total", "Messages of gossip taken in.", node.Counters.GossipTaken);
        Counter(text, "cloudfs_replicator_gossip_refused_total", "Messages of gossip refused.", node.Counters.GossipRefused);
        Counter(text, "cloudfs_replicator_disks_made_total", "Disks made by this host as coordinator.", node.Counters.DisksMade);
        Counter(text, "cloudfs_replicator_disks_refused_total", "Disks that got no majority.", node.Counters.DisksRefused);
        Counter(text, "cloudfs_replicator_repair_steps_total", "Steps of repair, moves and drains.", node.Counters.RepairSteps);
        Counter(text, "cloudfs_replicator_repair_failures_total", "Of those, failed.", node.Counters.RepairFailures);
        return text.ToString();
    }

    private static void Head(StringBuilder text, string name, string type, string help) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");

    private static void Gauge(StringBuilder text, string name, string help, long value)
    {
        Head(text, name, "gauge", help);
        text.Append(CultureInfo.InvariantCulture, $"{name} {value}\n");
    }

    private static void Counter(StringBuilder text, string name, string help, long value)
    {
        Head(text, name, "counter", help);
        text.Append(CultureInfo.InvariantCulture, $"{name} {value}\n");
    }

    private static string Word(HostState state) => state switch
    {
        HostState.Up => "up",
        HostState.Suspect => "suspect",
        _ => "down",
    };

    private static ClusterHostJson Describe(HostView host, string self) => new()
    {
        Host = host.Record.Id,
        Address = host.Record.Address,
        Daemon = host.Record.Daemon,
        Device = host.Record.Device.Length > 0 ? host.Record.Device : null,
        State = host.State != HostState.Up ? Word(host.State)
            : !host.Draining ? "up" : host.Record.Drained ? "drained" : "draining",
        Reason = ReasonOf(host),
        Zone = host.Record.Zone,
        Weight = host.Record.Weight,
        Witness = host.Record.Witness,
        CapacityBytes = host.Record.CapacityBytes,
        FreeBytes = host.Record.FreeBytes,
        Disks = host.Record.Disks,
        Primaries = host.Record.Primaries,
        SilentSeconds = host.Record.Id == self ? 0 : Math.Round(host.Silent.TotalSeconds, 1),
    };

    private static string? ReasonOf(HostView host)
    {
        var silent = host.Silent.TotalSeconds;
        return host.State switch
        {
            HostState.Down => $"nothing was heard of it for {silent:0} s; its replicas are replaced after the grace period; "
                + "it is known until it is forgotten by command",
            HostState.Suspect => $"nothing was heard of it for {silent:0} s; "
                + $"it counts as down in {(HostTable.DownAfter.TotalSeconds - silent):0} s",
            _ when host.Draining => host.Record.Drained ? "it holds nothing: it can be stopped and forgotten"
                : $"it is being drained: {host.Record.Disks} disks are still there, each goes elsewhere first",
            _ when !host.Record.Ready => "its daemon does not answer, or its device takes nothing more; nothing new goes there",
            _ when host.IsFull => "it is full: nothing new goes there",
            _ => null,
        };
    }
}
