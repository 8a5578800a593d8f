using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// Reads a disk's sectors by its map. The map says where, under the disk's lock; the log is read outside it; if a segment
/// was reclaimed in between, the place is looked up again.
/// </summary>
internal sealed class DiskReader(DiskServices services, DiskState state, DamageBook damage, Lock gate)
{
    /// <summary>Extents looked up at once.</summary>
    private const int BatchExtents = 64;

    /// <summary>A segment is reclaimed only when the map has left it, so one more look suffices; more is a defect.</summary>
    private const int LookupsMax = 16;

    /// <summary>Fills <paramref name="destination"/>, whole sectors, from <paramref name="lba"/> on.</summary>
    public async ValueTask<IoStatus> ReadAsync(ulong lba, Memory<byte> destination)
    {
        var extents = ArrayPool<MappedExtent>.Shared.Rent(BatchExtents);
        try
        {
            var lookups = 0;
            var end = lba + ((ulong)destination.Length / EntryLayout.SectorSize);
            for (var next = lba; next < end;)
            {
                int count;
                lock (gate)
                {
                    count = state.Map.Find(next, end, extents.AsSpan(0, BatchExtents));
                }

                var to = count == BatchExtents ? extents[count - 1].End : end;
                var part = destination[Bytes(next - lba)..Bytes(to - lba)];
                var (status, read) = await ReadBatchAsync(next, part, extents.AsMemory(0, count));
                if (status == LogRead.Reclaimed && ++lookups < LookupsMax)
                {
                    next = read;
                    continue;
                }

                if (status != LogRead.Ok)
                {
                    return IoStatus.Damaged;
                }

                next = to;
            }

            services.Io.AddRead(destination.Length);
            return IoStatus.Ok;
        }
        finally
        {
            ArrayPool<MappedExtent>.Shared.Return(extents);
        }
    }

    /// <summary>
    /// Reads from a run of extents that was looked up. Gives, when a segment was reclaimed, the sector to look up again from.
    /// </summary>
    public async ValueTask<(LogRead Status, ulong From)> ReadBatchAsync(
        ulong lba, Memory<byte> destination, ReadOnlyMemory<MappedExtent> extents)
    {
        var next = lba;
        for (var i = 0; i < extents.Length; i++)
        {
            var extent = extents.Span[i];
            destination.Span[Bytes(next - lba)..Bytes(extent.Lba - lba)].Clear();
            next = extent.End;
            var part = destination.Slice(Bytes(extent.Lba - lba), Bytes(extent.Sectors));
            switch (extent.Content)
            {
                case MappedContent.Zero:
                    part.Span.Clear();
                    break;
                case MappedContent.Lost:
                    return (LogRead.Damaged, extent.Lba);
                default:
                    var outcome = await services.Pages.ReadAsync(extent, state.Head.Disk, part);
                    if (outcome.Status != LogRead.Ok)
                    {
                        Note(extent, outcome);
                        return (outcome.Status, extent.Lba);
                    }

                    break;
            }
        }

        destination.Span[Bytes(next - lba)..].Clear();
        return (LogRead.Ok, next);
    }

    /// <summary>
    /// Notes that sectors of an entry were found damaged before anybody read them, as far as the disk still has them from there.
    /// </summary>
    /// <returns>How many sectors that were.</returns>
    public ValueTask<ulong> NoteDamageAsync(LogPosition position, ulong lsn, ulong lba, ulong sectors)
    {
        var found = new MappedExtent[BatchExtents];
        ulong noted = 0;
        for (var next = lba; next < lba + sectors;)
        {
            int count;
            lock (gate)
            {
                count = state.Map.Find(next, lba + sectors, found);
            }

            foreach (var extent in found.AsSpan(0, count))
            {
                if (extent.Content == MappedContent.Data && extent.Position == position && extent.Lsn == lsn)
                {
                    Note(extent, new PageReadOutcome(LogRead.Damaged, extent.Lba, extent.Sectors));
                    noted += extent.Sectors;
                }
            }

            next = count == BatchExtents ? found[count - 1].End : lba + sectors;
        }

        return ValueTask.FromResult(noted);
    }

    private static int Bytes(ulong sectors) => checked((int)(sectors * EntryLayout.SectorSize));

    private void Note(in MappedExtent extent, in PageReadOutcome outcome)
    {
        if (outcome.Status == LogRead.Reclaimed)
        {
            return;
        }

        var clipped = new MappedExtent(outcome.BadLba, outcome.BadSectors, extent.Content, 0, 0, extent.Position);
        services.Io.AddDamaged();
        bool isNew;
        lock (gate)
        {
            isNew = damage.Add(
                clipped.Lba, clipped.Sectors, $"its bytes in the log are damaged ({extent.Position}, LSN {extent.Lsn})");
        }

        if (isNew)
        {
            services.Runtime.Report(new EngineEvent(
                EventLevel.Error,
                "damaged-range",
                $"disk {state.Head.Disk}: {Bytes(clipped.Sectors)} bytes at {clipped.Lba * EntryLayout.SectorSize} are damaged on "
                + $"the device ({extent.Position}): reads answer EIO until they are overwritten or trimmed"));
        }
    }
}
