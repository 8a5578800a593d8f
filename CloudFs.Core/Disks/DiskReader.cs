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
internal sealed class DiskReader(DiskServices services, DiskState state, Lock gate)
{
    private readonly MapReader _map = new(services, state, gate);

    /// <summary>Extents looked up at once.</summary>
    private const int BatchExtents = 256;

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
                var (found, count, to) = await _map.FindAsync(next, end, extents.AsMemory(0, BatchExtents));
                if (found != TreeRead.Ok)
                {
                    return IoStatus.Damaged;
                }

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
        ExtentRun? run = null;
        try
        {
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
                        var outcome = await BeginRead(extents, i, part, ref run);
                        var isNoted = false;
                        if (outcome.Status == LogRead.Damaged && services.Healer is { } healer)
                        {
                            (outcome, isNoted) = (await ReadMendingAsync(extent, part, healer), true);
                        }

                        if (outcome.Status != LogRead.Ok)
                        {
                            if (!isNoted)
                            {
                                Note(extent, outcome);
                            }

                            return (outcome.Status, extent.Lba);
                        }

                        break;
                }
            }
        }
        finally
        {
            run?.Dispose();
        }

        destination.Span[Bytes(next - lba)..].Clear();
        return (LogRead.Ok, next);
    }

    /// <summary>Looks a range up; see <see cref="Disk.LookUpAsync"/>.</summary>
    public async ValueTask<(TreeRead Status, int Count)> LookUpAsync(ulong lba, ulong end, Memory<MappedExtent> into)
    {
        var count = 0;
        while (lba < end && count < into.Length)
        {
            var (status, found, to) = await _map.FindAsync(lba, end, into[count..]);
            if (status != TreeRead.Ok)
            {
                return (status, 0);
            }

            count += found;
            lba = to;
        }

        return (TreeRead.Ok, count);
    }

    /// <summary>Every extent of a view; null when the map went on meanwhile, so that a new view is needed.</summary>
    public async ValueTask<MappedExtent[]?> ResolveAsync(MapView view) => await _map.ResolveAsync(view);

    /// <summary>
    /// Where the entries of these extents lie now, after they were relocated; null when some of them are not the newest there
    /// any more, so that they may be gone.
    /// </summary>
    public async ValueTask<MappedExtent[]?> FindAgainAsync(MappedExtent[] extents)
    {
        var again = new List<MappedExtent>();
        var some = new MappedExtent[BatchExtents];
        foreach (var extent in extents)
        {
            if (extent.Content != MappedContent.Data)
            {
                again.Add(extent);
                continue;
            }

            for (var lba = extent.Lba; lba < extent.End;)
            {
                var from = lba;
                var (_, count, _) = await _map.FindAsync(lba, extent.End, some);
                for (var i = 0; i < count && some[i].Lba == lba && some[i].Lsn == extent.Lsn; i++)
                {
                    again.Add(some[i]);
                    lba = some[i].End;
                }

                if (lba == from)
                {
                    return null;
                }
            }
        }

        return [.. again];
    }

    /// <summary>True when the view's tree was replaced since.</summary>
    public bool IsOutdated(MapView view) => _map.WasReplaced(view.Tree);

    /// <summary>Appends what a range holds; see <see cref="Disk.DescribeAsync"/>.</summary>
    public async ValueTask<IoStatus> DescribeAsync(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        var lba = offset / EntryLayout.SectorSize;
        var end = (offset + length) / EntryLayout.SectorSize;
        var first = into.Count;
        var extents = ArrayPool<MappedExtent>.Shared.Rent(BatchExtents);
        try
        {
            while (lba < end)
            {
                var (status, count, to) = await _map.FindAsync(lba, end, extents.AsMemory(0, BatchExtents));
                if (status != TreeRead.Ok)
                {
                    // Nothing is known of it: that reads of it fail is true.
                    DiskRanges.Add(into, first, maxRanges, lba, end, RangeContent.Damaged);
                    return IoStatus.Ok;
                }

                if (!AddAll(extents.AsSpan(0, count), ref lba, to, first, maxRanges, into))
                {
                    return IoStatus.Ok;
                }
            }

            return IoStatus.Ok;
        }
        finally
        {
            ArrayPool<MappedExtent>.Shared.Return(extents);
        }
    }

    private bool AddAll(
        ReadOnlySpan<MappedExtent> extents, ref ulong lba, ulong to, int first, int maxRanges, List<DiskRange> into)
    {
        lock (gate)
        {
            foreach (ref readonly var extent in extents)
            {
                if (!DiskRanges.Add(into, first, maxRanges, lba, extent.Lba, RangeContent.Hole)
                    || !DiskRanges.AddExtent(into, first, maxRanges, extent, state.Damage))
                {
                    return false;
                }

                lba = extent.End;
            }

            var more = DiskRanges.Add(into, first, maxRanges, lba, to, RangeContent.Hole);
            lba = to;
            return more;
        }
    }

    /// <summary>
    /// Notes that sectors of an entry were found damaged before anybody read them, as far as the disk still has them from there.
    /// </summary>
    /// <returns>How many sectors that were.</returns>
    public async ValueTask<ulong> NoteDamageAsync(
        LogPosition position, ulong lsn, ulong lba, ulong sectors, string? notWritten = null)
    {
        var found = new MappedExtent[BatchExtents];
        ulong noted = 0;
        for (var next = lba; next < lba + sectors;)
        {
            var (status, count, to) = await _map.FindAsync(next, lba + sectors, found);
            if (status != TreeRead.Ok)
            {
                // It is not known who has them; that the index is damaged was told.
                return noted;
            }

            foreach (var extent in found.AsSpan(0, count))
            {
                if (extent.Content == MappedContent.Data && extent.Position == position && extent.Lsn == lsn)
                {
                    Note(extent, new PageReadOutcome(LogRead.Damaged, extent.Lba, extent.Sectors), notWritten);
                    noted += extent.Sectors;
                }
            }

            next = to;
        }

        return noted;
    }

    /// <summary>Has damaged pages from another host; see <see cref="Disk.MendAsync"/>.</summary>
    public async ValueTask<(Mended Mended, string? NotWritten)> MendAsync(LogPosition position, ulong lsn, ulong lba, ulong sectors)
    {
        var found = new MappedExtent[BatchExtents];
        var (status, count) = await LookUpAsync(lba, lba + sectors, found);
        var read = found.Take(count).FirstOrDefault(
            extent => extent.Content == MappedContent.Data && extent.Position == position && extent.Lsn == lsn);
        if (status != TreeRead.Ok || read.Sectors == 0)
        {
            return (Mended.NotRead, null);
        }

        if (services.Healer is not { } healer)
        {
            return (Mended.NotFound, null);
        }

        // The page whole, of which the disk may read a part only.
        var page = read with { Lba = lba, Sectors = sectors };
        var mended = await new PageMender(services, healer).ReadAsync(page, state.Head.Disk, new byte[Bytes(sectors)]);
        switch (mended.Read.Status)
        {
            case LogRead.Ok when mended.NotWritten is null:
                Settle(page, mended.Fetched, healer);
                return (Mended.Healed, null);
            case LogRead.Ok:
                await NoteDamageAsync(position, lsn, lba, sectors, mended.NotWritten);
                return (Mended.NotWritten, mended.NotWritten);
            case LogRead.Reclaimed:
                return (Mended.NotRead, null);
            default:
                return (Mended.NotFound, null);
        }
    }

    /// <summary>
    /// Reads an extent with damage, has its pages from another host, and notes what can't be had or written. That takes its time, in
    /// which the disk may have been written to: only what it still reads from there is noted, and where that is nothing, the place is
    /// to be looked up again.
    /// </summary>
    private async ValueTask<PageReadOutcome> ReadMendingAsync(MappedExtent extent, Memory<byte> destination, IPageHealer healer)
    {
        var mended = await new PageMender(services, healer).ReadAsync(extent, state.Head.Disk, destination);
        if (mended.NotWritten is { } why)
        {
            foreach (var page in mended.Fetched)
            {
                await NoteDamageAsync(extent.Position, extent.Lsn, page.Lba, page.Record.Sectors, why);
            }
        }
        else if (mended.Fetched.Count > 0)
        {
            Settle(extent, mended.Fetched, healer);
            var bytes = mended.Fetched.Sum(page => page.Record.Length);
            services.Runtime.Report(new EngineEvent(
                EventLevel.Warning,
                "healed",
                $"disk {state.Head.Disk}: {bytes} bytes from {mended.Fetched[0].Lba * EntryLayout.SectorSize} on were damaged on "
                + $"the device ({extent.Position}): they were had from another host, and are written again"));
        }

        var read = mended.Read;
        return read.Status is LogRead.Ok or LogRead.Reclaimed
            || await NoteDamageAsync(extent.Position, extent.Lsn, read.BadLba, read.BadSectors) > 0
            ? read : read with { Status = LogRead.Reclaimed };
    }

    /// <summary>Pages are on the device again: what was noted of them is over.</summary>
    private void Settle(in MappedExtent extent, IReadOnlyList<EntryPage> pages, IPageHealer healer)
    {
        lock (gate)
        {
            foreach (var page in pages)
            {
                state.Damage.Clear(page.Lba, page.Lba + page.Record.Sectors, ReasonOf(extent));
                services.Io.AddDamaged();
            }
        }

        healer.NoteHealed(pages.Count);
    }

    /// <summary>Begins to read an extent. If that has to wait, the device fetches those that follow meanwhile.</summary>
    private ValueTask<PageReadOutcome> BeginRead(
        ReadOnlyMemory<MappedExtent> extents, int index, Memory<byte> destination, ref ExtentRun? run)
    {
        run?.MoveTo(index);
        var reading = services.Pages.ReadAsync(extents.Span[index], state.Head.Disk, destination, run);
        if (!reading.IsCompleted && index + 1 < extents.Length)
        {
            run ??= new ExtentRun(extents);
            services.Pages.Prefetch(run.TakeAhead(index), state.Head.Disk);
        }

        return reading;
    }

    private static int Bytes(ulong sectors) => checked((int)(sectors * EntryLayout.SectorSize));

    private static string ReasonOf(in MappedExtent extent) =>
        $"its bytes in the log are damaged ({extent.Position}, LSN {extent.Lsn})";

    /// <param name="extent">What was read.</param>
    /// <param name="outcome">What of it is bad.</param>
    /// <param name="notWritten">Where another host has it, why it could not be written again here.</param>
    private void Note(in MappedExtent extent, in PageReadOutcome outcome, string? notWritten = null)
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
            isNew = state.Damage.Add(clipped.Lba, clipped.Sectors, ReasonOf(extent));
        }

        if (isNew)
        {
            services.Runtime.Report(new EngineEvent(
                EventLevel.Error,
                "damaged-range",
                $"disk {state.Head.Disk}: {Bytes(clipped.Sectors)} bytes at {clipped.Lba * EntryLayout.SectorSize} are damaged on "
                + $"the device ({extent.Position}): "
                + (notWritten is null ? "reads answer EIO until they are overwritten or trimmed"
                    : $"reads have them from another host until they can be written again here, which failed now: {notWritten}")));
        }
    }
}
