using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>Finds versions in a disk's history, segment by segment from the newest on.</summary>
internal static class DiskHistory
{
    /// <summary>The LSN of a version. Throws Conflict when it is not in the chain, Gone when it may have been.</summary>
    public static async ValueTask<ulong> FindVersionAsync(
        Disk disk, HeaderCursor cursor, Id160 version, CancellationToken cancellation)
    {
        var durable = disk.Durable;
        if (version == durable.Id)
        {
            return durable.Lsn;
        }

        var (runs, oldest) = disk.Locked(state => (state.Lsns.Runs.ToArray(), state.Lsns.OldestLsn));
        if (version == disk.Id)
        {
            return 1;
        }

        for (var i = runs.Length - 1; i >= 0; i--)
        {
            cancellation.ThrowIfCancellationRequested();
            if (await FindInAsync(cursor, runs[i], version, durable.Lsn) is { } lsn)
            {
                return lsn;
            }
        }

        throw oldest > 1
            ? new RefusalException(
                Refusal.Gone, $"version {version} is not within the history of disk {disk.Id}, whose oldest LSN is {oldest}")
            : new RefusalException(Refusal.Conflict, $"version {version} is not in the chain of disk {disk.Id}");
    }

    /// <summary>
    /// Throws BeyondHead for a point behind the durable head, and Conflict for one whose version is known not to be the one
    /// that this chain has there. What is known: both ends, the history, the views for ever, and what survived.
    /// </summary>
    public static async ValueTask RequireNotForeignAsync(
        Disk disk, DiskServices services, ISurvivors survivors, DiskVersion point, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var durable = disk.Durable;
        if (point.Lsn > durable.Lsn)
        {
            throw new RefusalException(
                Refusal.BeyondHead, $"LSN {point.Lsn} lies beyond the head, which is at LSN {durable.Lsn}");
        }

        var known = point.Lsn == 0 ? default(Id160)
            : point.Lsn == 1 ? disk.Id
            : point.Lsn == durable.Lsn ? durable.Id
            : FindView(disk, point.Lsn) ?? await FindInHistoryAsync(disk, point.Lsn)
                ?? await FindSurvivorAsync(disk, services, survivors, point.Lsn);
        if (known is { } id && id != point.Id)
        {
            throw new RefusalException(
                Refusal.Conflict, $"version {point.Id} is not in the chain of disk {disk.Id}, which has {id} at LSN {point.Lsn}");
        }
    }

    /// <summary>A view tells its own id and that of the version before it.</summary>
    private static Id160? FindView(Disk disk, ulong lsn)
    {
        foreach (var view in disk.Locked(state => state.Views.ToArray()))
        {
            if (view.Lsn == lsn || view.Lsn == lsn + 1)
            {
                return view.Lsn == lsn ? view.Id : view.Previous;
            }
        }

        return null;
    }

    private static async ValueTask<Id160?> FindInHistoryAsync(Disk disk, ulong lsn)
    {
        var cursor = disk.NewCursor();
        if (disk.Locate(lsn).Use is { } use && await cursor.FindAsync(use, lsn))
        {
            return cursor.Fields.Id;
        }

        return disk.Locate(lsn + 1).Use is { } next && await cursor.FindAsync(next, lsn + 1) ? cursor.Fields.Previous : null;
    }

    private static async ValueTask<Id160?> FindSurvivorAsync(
        Disk disk, DiskServices services, ISurvivors survivors, ulong lsn)
    {
        var found = new (ulong Lsn, LogPosition Position)[2];
        var count = await survivors.NextAsync(lsn - 1, lsn + 2, found);
        var header = new byte[EntryLayout.MaxHeaderLength];
        for (var i = 0; i < count; i++)
        {
            var (status, length) = await services.Reader.ReadHeaderAsync(found[i].Position, disk.Id, found[i].Lsn, header);
            if (status == LogRead.Ok && EntryHeaderCodec.TryRead(header.AsSpan(0, length), out var fields, out _))
            {
                return found[i].Lsn == lsn ? fields.Id : fields.Previous;
            }
        }

        return null;
    }

    private static async ValueTask<ulong?> FindInAsync(HeaderCursor cursor, LsnRun run, Id160 version, ulong durable)
    {
        for (var lsn = run.FirstLsn; lsn <= run.LastLsn && lsn <= durable; lsn++)
        {
            if (await cursor.FindAsync(run.Use, lsn) && cursor.Fields.Id == version)
            {
                return lsn;
            }
        }

        return null;
    }
}
