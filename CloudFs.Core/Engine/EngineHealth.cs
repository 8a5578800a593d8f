using CloudFs.Core.Disks;
using CloudFs.Core.Recovery;
using CloudFs.Core.Scrub;

namespace CloudFs.Core.Engine;

/// <summary>Gathers everything that is not as it should be.</summary>
internal static class EngineHealth
{
    /// <summary>Damage that the disks themselves tell, and cease to tell once it is overwritten.</summary>
    private static readonly string[] ToldByDisks = ["gap", "lost-entry", "head-lost", "lost-view"];

    public static HealthReport Of(
        DiskServices services, RecoveryReport recovery, Housekeeper housekeeper, Scrubber scrubber)
    {
        var issues = new List<HealthIssue>();
        if (services.Log.Failure is { } failure)
        {
            issues.Add(new HealthIssue(
                "poisoned",
                $"the device failed and takes nothing more until it is opened again: {failure.Message}; reads go on; check the "
                + "device, then restart the daemon"));
        }

        AddBad(issues, services);
        if (housekeeper.Trouble is { } trouble)
        {
            issues.Add(new HealthIssue("upkeep", trouble));
        }

        if (scrubber.Concern() is { } concern)
        {
            issues.Add(new HealthIssue("scrub", concern));
        }

        if (services.Segments.IsFull)
        {
            issues.Add(new HealthIssue(
                "full", "the device is full: writes answer ENOSPC; trim, delete a disk or grow the device, then they go on"));
        }

        if (services.IndexIsDamaged)
        {
            issues.Add(new HealthIssue(
                "damaged-index",
                "a page of the index is damaged: what it maps answers EIO; nothing is lost: restart the daemon, or stop it and run "
                + "cloudfs verify --rebuild-index"));
        }

        foreach (var disk in services.Disks.Live())
        {
            AddDisk(issues, disk.GetStatus());
        }

        foreach (var decision in recovery.Decisions)
        {
            if (decision.IsDamage && !ToldByDisks.Contains(decision.Code))
            {
                issues.Add(new HealthIssue(
                    decision.Code, $"found when the device was opened: {decision.Message}; nothing to do but to watch the device"));
            }
        }

        var status = services.Log.Failure is not null ? "failed" : issues.Count > 0 ? "degraded" : "ok";
        return new HealthReport(status, issues);
    }

    private static void AddBad(List<HealthIssue> issues, DiskServices services)
    {
        var bad = services.Segments.Tally().Bad;
        var condemned = services.Segments.Condemned;
        if (bad > 0)
        {
            issues.Add(new HealthIssue(
                "bad-segments",
                $"{Segments(bad)} bad: writes failed there; what was in them is elsewhere, and they are not used any more; nothing is "
                + "lost, but watch the device, and replace it when more go bad"));
        }

        if (condemned > 0)
        {
            issues.Add(new HealthIssue(
                "bad-segments",
                $"{Segments(condemned)} going out of use, since writes failed there: what is in them is read until it is not needed"));
        }

        if (services.Bad.Contains(Layout.BadList.IndexArea))
        {
            issues.Add(new HealthIssue(
                "bad-segments",
                "a write to the index pages before the segments failed: new pages go elsewhere; nothing is lost, but watch the device"));
        }

        static string Segments(int count) => count == 1 ? "1 segment is" : $"{count} segments are";
    }

    private static void AddDisk(List<HealthIssue> issues, DiskStatus disk)
    {
        var name = disk.Name is null ? $"{disk.Id}" : $"{disk.Id} ({disk.Name})";
        if (disk.Role == DiskRole.Primary && !disk.Writable)
        {
            issues.Add(new HealthIssue("disk-read-only", $"disk {name}: {disk.Reason}"));
        }

        foreach (var range in disk.Damage)
        {
            issues.Add(new HealthIssue(
                "damaged-range",
                $"disk {name}: {range.Length} bytes at {range.Offset} answer EIO: {range.Reason}; overwrite or trim them, or "
                + "restore them from a copy"));
        }
    }
}
