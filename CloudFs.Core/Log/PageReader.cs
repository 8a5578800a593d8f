using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>The outcome of reading an extent, and for a bad one the sectors that can't be had.</summary>
public readonly record struct PageReadOutcome(LogRead Status, ulong BadLba, ulong BadSectors)
{
    public static PageReadOutcome Ok => default;
}

/// <summary>
/// Reads the sectors of a mapped extent: the entry's header tells where its pages lie and what their hashes are, and every
/// page that is touched is checked whole before a byte of it is given out. With a cache, pages that were checked stay in
/// memory, and those that are there are not read.
/// </summary>
public sealed class PageReader(LogReader log, ReadCache? cache = null)
{
    /// <summary>Pages in memory; null where none are kept.</summary>
    public ReadCache? Cache => cache;

    /// <summary>Fills <paramref name="destination"/> with all the sectors of the extent.</summary>
    /// <param name="extent">A data extent, clipped to what is wanted.</param>
    /// <param name="disk">The disk whose entry it is.</param>
    /// <param name="destination">Exactly the extent's sectors.</param>
    /// <param name="run">The reads that this is one of, if any.</param>
    public ValueTask<PageReadOutcome> ReadAsync(
        MappedExtent extent, Id160 disk, Memory<byte> destination, ExtentRun? run = null)
    {
        if (cache is not null)
        {
            var had = cache.CopyStart(extent, disk, destination.Span);
            if (had == extent.Sectors)
            {
                return ValueTask.FromResult(PageReadOutcome.Ok);
            }

            extent = extent.Clip(extent.Lba + had, extent.End);
            destination = destination[((int)had * EntryLayout.SectorSize)..];
        }

        return ReadLogAsync(extent, disk, destination, run);
    }

    /// <summary>
    /// Says that these extents are about to be read, so that the device fetches what is not in memory of them beside each other:
    /// reading them one after another then waits for few of them.
    /// </summary>
    public void Prefetch(ReadOnlySpan<MappedExtent> extents, Id160 disk)
    {
        var ranges = ArrayPool<LogRange>.Shared.Rent(2 * extents.Length);
        var count = 0;
        foreach (ref readonly var extent in extents)
        {
            if (extent.Content != MappedContent.Data || cache?.HasStart(extent, disk) == true)
            {
                continue;
            }

            var guess = EntryGuess.Of(extent);
            ranges[count++] = new LogRange(extent.Position, guess.FirstRead);
            if (guess.HasPagesApart)
            {
                ranges[count++] = guess.PagesOf(extent);
            }
        }

        log.Prefetch(ranges.AsSpan(0, count));
        ArrayPool<LogRange>.Shared.Return(ranges);
    }

    /// <summary>The same for those extents that are of this entry, whose header says where their pages lie.</summary>
    private void PrefetchOf(ReadOnlySpan<byte> header, in MappedExtent first, Id160 disk, ReadOnlySpan<MappedExtent> rest)
    {
        var ranges = ArrayPool<LogRange>.Shared.Rent(1 + rest.Length);
        var count = 0;
        Add(header, first);
        foreach (ref readonly var extent in rest)
        {
            if (extent.Position == first.Position && extent.Lsn == first.Lsn && cache?.HasStart(extent, disk) != true)
            {
                Add(header, extent);
            }
        }

        log.Prefetch(ranges.AsSpan(0, count));
        ArrayPool<LogRange>.Shared.Return(ranges);

        void Add(ReadOnlySpan<byte> header, in MappedExtent extent)
        {
            var plan = PagePlan.Make(header, extent);
            if (plan.Status == LogRead.Ok)
            {
                ranges[count++] = new LogRange(extent.Position.Plus(header.Length + plan.BodyOffset), plan.Bytes);
            }
        }
    }

    private async ValueTask<PageReadOutcome> ReadLogAsync(
        MappedExtent extent, Id160 disk, Memory<byte> destination, ExtentRun? run)
    {
        if (run?.HeaderOf(extent) is { IsEmpty: false } known)
        {
            return await ReadPlannedAsync(known, PagePlan.Make(known.Span, extent), extent, disk, destination);
        }

        var buffer = ArrayPool<byte>.Shared.Rent(EntryLayout.MaxHeaderLength);
        try
        {
            var guess = EntryGuess.Of(extent);
            var reading = log.ReadStartAsync(extent.Position, disk, extent.Lsn, buffer, guess.FirstRead);
            if (!reading.IsCompleted && guess.HasPagesApart && run is null)
            {
                log.Prefetch([guess.PagesOf(extent)]);
            }

            var start = await reading;
            if (start.Status != LogRead.Ok)
            {
                return new PageReadOutcome(start.Status, extent.Lba, extent.Sectors);
            }

            var header = buffer.AsMemory(0, start.HeaderLength);
            var plan = PagePlan.Make(header.Span, extent);
            var pagesAt = start.HeaderLength + plan.BodyOffset;
            if (plan.Status == LogRead.Ok && pagesAt + plan.Bytes <= start.Length)
            {
                // Most often the pages came with the header.
                return Take(header.Span, plan, extent, disk, buffer.AsSpan(pagesAt, plan.Bytes), destination.Span);
            }

            if (run?.TryKeep(extent, header.Span) == true)
            {
                PrefetchOf(header.Span, extent, disk, run.Rest);
            }

            return await ReadPlannedAsync(header, plan, extent, disk, destination);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async ValueTask<PageReadOutcome> ReadPlannedAsync(
        ReadOnlyMemory<byte> header, PagePlan plan, MappedExtent extent, Id160 disk, Memory<byte> destination)
    {
        if (plan.Status != LogRead.Ok)
        {
            return new PageReadOutcome(plan.Status, extent.Lba, extent.Sectors);
        }

        var position = extent.Position.Plus(header.Length + plan.BodyOffset);
        if (plan.Bytes == destination.Length)
        {
            var whole = await log.ReadRawAsync(position, destination);
            return whole == LogRead.Ok
                ? Check(header.Span, plan, extent, disk, destination.Span)
                : new PageReadOutcome(whole, extent.Lba, extent.Sectors);
        }

        var scratch = ArrayPool<byte>.Shared.Rent(plan.Bytes);
        try
        {
            var pages = scratch.AsMemory(0, plan.Bytes);
            var status = await log.ReadRawAsync(position, pages);
            if (status != LogRead.Ok)
            {
                return new PageReadOutcome(status, extent.Lba, extent.Sectors);
            }

            return Take(header.Span, plan, extent, disk, pages.Span, destination.Span);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
    }

    /// <summary>Checks pages that were read whole, and gives what is wanted of them when all are sound.</summary>
    private PageReadOutcome Take(
        ReadOnlySpan<byte> header, in PagePlan plan, in MappedExtent extent, Id160 disk, ReadOnlySpan<byte> pages, Span<byte> destination)
    {
        var outcome = Check(header, plan, extent, disk, pages);
        if (outcome.Status == LogRead.Ok)
        {
            pages.Slice((int)(extent.Lba - plan.FirstLba) * EntryLayout.SectorSize, destination.Length).CopyTo(destination);
        }

        return outcome;
    }

    /// <summary>Checks pages that were read whole, and keeps them when all are sound.</summary>
    private PageReadOutcome Check(
        ReadOnlySpan<byte> header, in PagePlan plan, in MappedExtent extent, Id160 disk, ReadOnlySpan<byte> pages)
    {
        var outcome = plan.Verify(header, pages);
        if (outcome.Status == LogRead.Ok && cache is not null)
        {
            plan.Keep(header, pages, cache, new ReadCache.Pages(disk, extent.Lsn, extent.Position, extent.ExtentIndex));
        }

        return outcome;
    }

    /// <summary>The run of whole pages that holds an extent's sectors; present pages of one extent adjoin in the body.</summary>
    private readonly record struct PagePlan(
        LogRead Status, int FirstPage, int PageCount, ulong FirstLba, int BodyOffset, int Bytes)
    {
        public static PagePlan Make(ReadOnlySpan<byte> header, in MappedExtent extent)
        {
            var fields = EntryHeaderCodec.ReadFields(header, default);
            var plan = new PagePlan(LogRead.Damaged, -1, 0, 0, 0, 0);
            var covered = extent.Lba;
            foreach (var page in EntryPages.Of(header, fields))
            {
                var end = page.Lba + page.Record.Sectors;
                if (page.Extent < extent.ExtentIndex || end <= extent.Lba)
                {
                    continue;
                }

                if (page.Extent > extent.ExtentIndex || page.Lba >= extent.End)
                {
                    break;
                }

                if (!page.IsPresent)
                {
                    return plan with { Status = LogRead.Dropped };
                }

                plan = plan.FirstPage < 0
                    ? new PagePlan(LogRead.Damaged, page.Index, 1, page.Lba, page.BodyOffset, page.Record.Length)
                    : plan with { PageCount = plan.PageCount + 1, Bytes = plan.Bytes + page.Record.Length };
                covered = end;
            }

            // An index that means sectors which the entry does not have is wrong: better EIO than other bytes.
            var sound = plan.FirstPage >= 0 && plan.FirstLba <= extent.Lba && covered >= extent.End;
            return plan with { Status = sound ? LogRead.Ok : LogRead.Damaged };
        }

        public PageReadOutcome Verify(ReadOnlySpan<byte> header, ReadOnlySpan<byte> pages)
        {
            var fields = EntryHeaderCodec.ReadFields(header, default);
            var offset = 0;
            for (var i = 0; i < PageCount; i++)
            {
                var record = EntryHeaderCodec.ReadPage(header, fields, FirstPage + i);
                if (XXH64.DigestOf(pages.Slice(offset, record.Length)) != record.Xxh64)
                {
                    return new PageReadOutcome(
                        LogRead.Damaged, FirstLba + (ulong)(offset / EntryLayout.SectorSize), record.Sectors);
                }

                offset += record.Length;
            }

            return PageReadOutcome.Ok;
        }

        public void Keep(ReadOnlySpan<byte> header, ReadOnlySpan<byte> pages, ReadCache cache, in ReadCache.Pages of)
        {
            var fields = EntryHeaderCodec.ReadFields(header, default);
            var lba = FirstLba;
            for (var i = 0; i < PageCount; i++)
            {
                var record = EntryHeaderCodec.ReadPage(header, fields, FirstPage + i);
                cache.Add(of, lba, pages[..record.Length]);
                pages = pages[record.Length..];
                lba += record.Sectors;
            }
        }
    }
}
