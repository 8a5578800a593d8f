using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>Describes a disk: its state, its damage, its ranges. Called under the disk's lock.</summary>
internal static class DiskRanges
{
    /// <summary>More ranges than this are counted, not listed.</summary>
    private const int DamageShown = 1000;

    public static DiskStatus StatusOf(DiskState state, DiskVersion durable, DiskServices services)
    {
        var head = state.Head;
        var view = head.View!;
        var primary = state.IsPrimary(services.HostId, services.DeviceId);
        var (ranges, damaged) = Damage(state.Damage, head.Attributes!.Size / EntryLayout.SectorSize);
        var reason = state.Suspect
            ?? (damaged == 0 ? "" : $"{damaged} bytes answer EIO until they are overwritten or trimmed");
        return new DiskStatus
        {
            Id = head.Disk,
            Name = head.Attributes!.Name,
            SizeBytes = head.Attributes.Size,
            Durability = head.Attributes.Durability,
            Role = primary ? DiskRole.Primary : DiskRole.Mirror,
            Writable = primary && state.Suspect is null,
            Newest = new DiskVersion(head.Lsn, head.Id),
            Durable = durable,
            OldestLsn = state.Lsns.OldestLsn,
            LiveBytes = state.Map.DataSectors * EntryLayout.SectorSize,
            HistoryBytes = (ulong)state.Lsns.HistoryBytes,
            View = view.Hash,
            Epoch = view.Body.Epoch,
            Primary = view.Body.Primary,
            Replicas = [.. view.Body.Replicas.Select(r => new ReplicaStatus(r.Host, r.Device, r.Witness))],
            TimeMicros = head.TimeMicros,
            Damage = ranges,
            DamagedBytes = damaged,
            Health = reason.Length == 0 ? "ok" : "degraded",
            Reason = reason,
        };
    }

    /// <exception cref="RefusalException">The size is not one that a disk can have.</exception>
    public static void RequireSize(ulong bytes)
    {
        if (bytes == 0 || bytes % EntryLayout.SectorSize != 0 || bytes / EntryLayout.SectorSize > EntryLayout.MaxSector)
        {
            throw new RefusalException(
                Refusal.Invalid, $"a disk's size is a positive multiple of {EntryLayout.SectorSize} bytes, not {bytes}");
        }
    }

    /// <exception cref="RefusalException">What a change of attributes ended with, in words.</exception>
    public static void RequireOk(IoStatus status, Disk disk)
    {
        switch (status)
        {
            case IoStatus.Ok:
                return;
            case IoStatus.NoSpace:
                throw new RefusalException(Refusal.NoSpace, "the device is full, its reserve too: delete or trim something");
            case IoStatus.ReadOnly:
                var state = disk.GetStatus();
                throw new RefusalException(Refusal.ReadOnly, state.Role == DiskRole.Mirror
                    ? $"disk {state.Id} is a mirror here; its primary is host {state.Primary}"
                    : $"disk {state.Id} can't be extended: {state.Reason}");
            case IoStatus.Deleted:
                throw new RefusalException(Refusal.NotFound, $"disk {disk.Id} was deleted");
            default:
                throw new RefusalException(Refusal.Unavailable, $"the device takes nothing more ({status}): see /healthz");
        }
    }

    /// <summary>What is beyond the disk's size may be damaged too, and nobody can read it.</summary>
    private static (List<DamageRange> Ranges, ulong Bytes) Damage(DamageBook damage, ulong sectors)
    {
        var ranges = new List<DamageRange>();
        ulong bytes = 0;
        foreach (var (lba, end, reason) in damage.Ranges.Where(range => range.Lba < sectors))
        {
            AddDamage(ranges, ref bytes, lba, Math.Min(end, sectors), reason);
        }

        return (ranges, bytes);
    }

    private static void AddDamage(List<DamageRange> ranges, ref ulong bytes, ulong lba, ulong end, string reason)
    {
        var length = (end - lba) * EntryLayout.SectorSize;
        bytes += length;
        if (ranges.Count < DamageShown)
        {
            ranges.Add(new DamageRange(lba * EntryLayout.SectorSize, length, reason));
        }
    }

    /// <summary>Adds what an extent holds, its damaged parts apart; false when there is no room for it.</summary>
    public static bool AddExtent(
        List<DiskRange> into, int first, int maxRanges, in MappedExtent extent, DamageBook damage)
    {
        if (extent.Content != MappedContent.Data || damage.Ranges.Count == 0)
        {
            return Add(into, first, maxRanges, extent.Lba, extent.End, extent.Content switch
            {
                MappedContent.Zero => RangeContent.Hole,
                MappedContent.Lost => RangeContent.Damaged,
                _ => RangeContent.Data,
            });
        }

        var (lba, extentLba, extentEnd) = (extent.Lba, extent.Lba, extent.End);
        foreach (var (from, to, _) in damage.Ranges
            .Where(range => range.Lba < extentEnd && range.End > extentLba).OrderBy(range => range.Lba))
        {
            var start = Math.Max(from, extent.Lba);
            if (!Add(into, first, maxRanges, lba, start, RangeContent.Data)
                || !Add(into, first, maxRanges, start, Math.Min(to, extent.End), RangeContent.Damaged))
            {
                return false;
            }

            lba = Math.Min(to, extent.End);
        }

        return Add(into, first, maxRanges, lba, extent.End, RangeContent.Data);
    }

    /// <summary>Adds a run of sectors, joined to the one before where that is alike; false when there is no room for it.</summary>
    public static bool Add(
        List<DiskRange> into, int first, int maxRanges, ulong lba, ulong end, RangeContent content)
    {
        if (lba >= end)
        {
            return true;
        }

        var range = new DiskRange(lba * EntryLayout.SectorSize, (end - lba) * EntryLayout.SectorSize, content);
        if (into.Count > first && into[^1].Content == content)
        {
            into[^1] = into[^1] with { Length = into[^1].Length + range.Length };
            return true;
        }

        if (into.Count - first >= maxRanges)
        {
            return false;
        }

        into.Add(range);
        return true;
    }
}
