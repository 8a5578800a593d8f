using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli;

/// <summary>How listings look, for people and as JSON. Pure: what goes in decides what comes out.</summary>
internal static class Listing
{
    // As in the hash chain's own texts: enough digits to tell disks apart at a glance, and a valid prefix.
    private const int ShortId = 12;

    public static void Json<T>(TextWriter output, T value, JsonTypeInfo<T> type) =>
        output.WriteLine(JsonSerializer.Serialize(value, type));

    /// <summary>As much of an id as tells it apart for people.</summary>
    public static string Short(string id) => id.Length > ShortId ? id[..ShortId] : id;

    public static void Disks(TextWriter output, IReadOnlyList<DiskJson> disks)
    {
        Table(
            output,
            ["ID", "NAME", "SIZE", "DATA", "LSN", "ROLE", "HEALTH"],
            [.. disks.Select(disk => new[]
            {
                Short(disk.Id),
                disk.Name ?? "-",
                SizeText.Format(disk.Size),
                SizeText.Format(disk.LiveBytes),
                Number(disk.Lsn),
                disk.Writable ? disk.Role : disk.Role + ", read-only",
                disk.Health.Status,
            })]);
    }

    public static void Disk(TextWriter output, DiskJson disk)
    {
        Field("id", disk.Id);
        Field("name", disk.Name ?? "-");
        Field("size", $"{SizeText.Format(disk.Size)} ({Number(disk.Size)} bytes)");
        Field("durability", disk.Durability);
        Field("role", disk.Writable ? disk.Role : disk.Role + ", read-only");
        if (disk.State is { } state)
        {
            Field("state", disk.StateReason is { Length: > 0 } why ? $"{state}: {why}" : state);
        }

        Field("head", $"{disk.Head} at LSN {Number(disk.Lsn)}");
        if (disk.Newest != disk.Head)
        {
            Field("newest", $"{disk.Newest} at LSN {Number(disk.NewestLsn)}, not durable yet");
        }

        Field("time", disk.Time);
        Field("data", SizeText.Format(disk.LiveBytes));
        Field("history", $"{SizeText.Format(disk.HistoryBytes)}, from LSN {Number(disk.OldestLsn)}");
        Field("view", $"{disk.View.Id}, epoch {Number(disk.View.Epoch)}");
        Field("primary", disk.View.Primary);
        foreach (var replica in disk.Replicas)
        {
            Field("replica", $"host {replica.Host}, device {replica.Device}{(replica.Witness ? ", witness" : "")}");
        }

        var reason = disk.Health.Reason;
        Field("health", reason.Length == 0 ? disk.Health.Status : $"{disk.Health.Status}: {reason}");
        foreach (var damage in disk.Health.Damage)
        {
            var last = damage.Offset + damage.Length - 1;
            Field("damaged", $"bytes {Number(damage.Offset)}-{Number(last)}: {damage.Reason}");
        }

        ClusterListing.Replicas(output, disk);

        void Field(string name, string value) => output.WriteLine($"{name,-12}{value}");
    }

    public static void Host(TextWriter output, HostJson host, HealthJson health)
    {
        Field("state", $"up, {health.Status}");
        foreach (var reason in health.Reasons)
        {
            Field("", $"{reason.Code}: {reason.Message}");
        }

        Field("version", host.Version);
        Field("pid", Number((ulong)host.Pid));
        Field("host", host.Host);
        Field("device", $"{host.Device} at {host.DevicePath}");
        Field("http", host.Http);
        Field("nbd", string.Join(", ", host.Nbd));
        var space = host.Space;
        var free = space.Free + space.Reclaimable;
        Field("space", $"{Size(free)} of {Size(space.Capacity)} free, {Size(space.Reserved)} of it kept back");
        Field("", $"live {Size(space.Live)}, headers {Size(space.Headers)}, pinned {Size(space.Pinned)}");
        Field("", $"history {Size(space.History)}, dead {Size(space.Dead)}, open {Size(space.Open)}");
        Field("", $"index {Size(space.Index)}, checkpoint {Size(space.Checkpoint)}, bad {Size(space.Bad)}");
        if (host.Compaction is { } compaction)
        {
            Field("compaction", Progress(compaction));
            Field("", string.Create(
                CultureInfo.InvariantCulture,
                $"write amplification {compaction.WriteAmplification:0.00}, {Size(compaction.RelocatedBytes)} relocated, ")
                + $"{Number(compaction.SegmentsFreed)} segments freed");
        }

        void Field(string name, string value) => output.WriteLine($"{name,-12}{value}");
    }

    /// <summary>What compaction does now, what it owes, and when that is paid.</summary>
    private static string Progress(CompactionJson compaction)
    {
        var state = compaction.Pressure == "full" ? "full: writes are refused"
            : compaction.Running ? "running"
            : compaction.Pressure == "none" ? "idle" : "due";
        if (compaction.DebtBytes == 0)
        {
            return state;
        }

        var left = compaction.EstimatedSeconds is { } seconds
            ? DurationText.Format(TimeSpan.FromSeconds(Math.Min(seconds, DurationText.Max.TotalSeconds))) : "nobody knows how long";
        return $"{state}, {Size(compaction.DebtBytes)} to relocate: {left}";
    }

    private static string Size(ulong bytes) => SizeText.Format(bytes);

    /// <summary>A line for each finding; what is more than the daemon lists is counted.</summary>
    public static void Scrub(TextWriter output, ScrubJson scrub)
    {
        foreach (var finding in scrub.Findings)
        {
            output.WriteLine($"{finding.Verdict,-10}{finding.Place}: {finding.Message}");
        }

        if (scrub.FindingCount > (ulong)scrub.Findings.Count)
        {
            output.WriteLine($"and {Number(scrub.FindingCount - (ulong)scrub.Findings.Count)} more");
        }
    }

    /// <summary>Columns as wide as their widest cell, two spaces apart, no space at the end of a line.</summary>
    public static void Table(TextWriter output, string[] head, IReadOnlyList<string[]> rows)
    {
        var widths = head.Select((cell, i) => rows.Select(row => row[i].Length).Append(cell.Length).Max()).ToArray();
        foreach (var row in rows.Prepend(head))
        {
            output.WriteLine(string.Join("  ", row.Select((cell, i) => cell.PadRight(widths[i]))).TrimEnd());
        }
    }

    private static string Number(ulong value) => value.ToString(CultureInfo.InvariantCulture);
}
