using System.Globalization;
using CloudFs.Core.Contracts;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Replication;
using CloudFs.Core.Scrub;

namespace CloudFs.Daemon.Http;

/// <summary>Makes the JSON records of what the engine says of itself and its disks.</summary>
internal static class Descriptions
{
    public static DiskJson Of(Disk disk, ReplicationHub replication)
    {
        var status = disk.GetStatus();
        var group = replication.GetGroup(status.Id);
        return new DiskJson
        {
            Id = status.Id.ToString(),
            Name = status.Name,
            Size = status.SizeBytes,
            Durability = status.Durability.Text(),
            Role = group is null ? Word(status.Role) : ClusterDescriptions.Word(group.Role),
            State = group is null ? null : ClusterDescriptions.Word(group.State),
            StateReason = group?.Reason,
            Committed = group?.Committed,
            Writable = status.Writable,
            Lsn = status.Durable.Lsn,
            Head = status.Durable.Id.ToString(),
            NewestLsn = status.Newest.Lsn,
            Newest = status.Newest.Id.ToString(),
            OldestLsn = status.OldestLsn,
            LiveBytes = status.LiveBytes,
            HistoryBytes = status.HistoryBytes,
            Time = Time(status.TimeMicros),
            View = new ViewJson(status.View.ToString(), status.Epoch, status.Primary.ToString()),
            Replicas = group is not null
                ? [.. group.Replicas.Select(r => new ReplicaJson(
                    r.Replica.Host.ToString(), r.Replica.Device.ToString(), r.Replica.Witness) { Status = ClusterDescriptions.Of(r) })]
                : [.. status.Replicas.Select(r => new ReplicaJson(r.Host.ToString(), r.Device.ToString(), r.Witness))],
            Health = new DiskHealthJson(
                status.Health, status.Reason, status.DamagedBytes,
                [.. status.Damage.Select(d => new DamageJson(d.Offset, d.Length, d.Reason))]),
        };
    }

    public static SpaceJson Of(SpaceReport space) =>
        new(space.Capacity, space.Free, space.Reclaimable, space.Reserved, space.Live)
        {
            Headers = space.Headers,
            Pinned = space.Pinned,
            History = space.History,
            Dead = space.Dead,
            Index = space.Index,
            Checkpoint = space.Checkpoint,
            Bad = space.Bad,
            Open = space.Open,
        };

    public static CompactionJson Of(CompactionReport compaction) => new()
    {
        Running = compaction.Running,
        Pressure = compaction.Pressure,
        DebtBytes = compaction.DebtBytes,
        EstimatedSeconds = compaction.EstimatedSeconds,
        WriteAmplification = Math.Round(compaction.WriteAmplification, 3),
        RelocatedBytes = compaction.RelocatedBytes,
        SegmentsFreed = compaction.VictimsFreed,
    };

    public static HealthJson Of(HealthReport health) =>
        new(health.Status, [.. health.Issues.Select(issue => new HealthIssueJson(issue.Code, issue.Message))]);

    public static ScrubJson Of(ScrubStatus scrub) => new()
    {
        Running = scrub.Running,
        Pass = scrub.Pass,
        Started = scrub.StartedMicros == 0 ? null : Time(scrub.StartedMicros),
        BytesTotal = scrub.BytesTotal,
        BytesDone = scrub.BytesDone,
        Rate = scrub.Rate,
        IntervalSeconds = (ulong)scrub.Interval.TotalSeconds,
        FindingCount = scrub.FindingCount,
        Findings = [.. scrub.Findings.Select(Of)],
        LastCompleted = scrub.LastCompletedMicros == 0 ? null : Time(scrub.LastCompletedMicros),
        LastFindings = scrub.LastFindings,
    };

    /// <summary>
    /// ISO 8601 with microseconds, UTC. An entry's time may be any number: one beyond the calendar is its end.
    /// </summary>
    internal static string Time(ulong micros)
    {
        var last = (ulong)((DateTime.MaxValue - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond);
        var time = DateTime.UnixEpoch.AddTicks((long)Math.Min(micros, last) * TimeSpan.TicksPerMicrosecond);
        return time.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);
    }

    private static ScrubFindingJson Of(ScrubFinding finding) => new()
    {
        Verdict = Word(finding.Verdict),
        Place = finding.Place,
        Message = finding.Message,
        Disk = finding.Disk?.ToString(),
        Lsn = finding.Lsn == 0 ? null : finding.Lsn,
        Ranges = [.. finding.Ranges.Select(range => new ScrubRangeJson(range.Offset, range.Length))],
    };

    private static string Word(ScrubVerdict verdict) => verdict switch
    {
        ScrubVerdict.Lost => "lost",
        ScrubVerdict.Unknown => "unknown",
        ScrubVerdict.Readable => "readable",
        ScrubVerdict.History => "history",
        ScrubVerdict.Healed => "healed",
        _ => throw new ArgumentOutOfRangeException(nameof(verdict), verdict, "a verdict without a word"),
    };

    private static string Word(DiskRole role) => role switch
    {
        DiskRole.Primary => "primary",
        DiskRole.Mirror => "mirror",
        _ => throw new ArgumentOutOfRangeException(nameof(role), role, "a role without a word"),
    };
}
