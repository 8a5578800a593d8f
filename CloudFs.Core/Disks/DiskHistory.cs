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
