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
/// page that is touched is checked whole before a byte of it is given out.
/// </summary>
public sealed class PageReader(LogReader log)
{
    /// <summary>Fills <paramref name="destination"/> with all the sectors of the extent.</summary>
    /// <param name="extent">A data extent, clipped to what is wanted.</param>
    /// <param name="disk">The disk whose entry it is.</param>
    /// <param name="destination">Exactly the extent's sectors.</param>
    public async ValueTask<PageReadOutcome> ReadAsync(MappedExtent extent, Id160 disk, Memory<byte> destination)
    {
        var header = ArrayPool<byte>.Shared.Rent(EntryLayout.MaxHeaderLength);
        try
        {
            var (status, length) = await log.ReadHeaderAsync(extent.Position, disk, extent.Lsn, header);
            if (status != LogRead.Ok)
            {
                return new PageReadOutcome(status, extent.Lba, extent.Sectors);
            }

            var plan = PagePlan.Make(header.AsSpan(0, length), extent);
            return plan.Status == LogRead.Ok
                ? await ReadPlannedAsync(header, length, plan, extent, destination)
                : new PageReadOutcome(plan.Status, extent.Lba, extent.Sectors);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(header);
        }
    }

    private async ValueTask<PageReadOutcome> ReadPlannedAsync(
        byte[] header, int headerLength, PagePlan plan, MappedExtent extent, Memory<byte> destination)
    {
        var position = extent.Position.Plus(headerLength + plan.BodyOffset);
        if (plan.Bytes == destination.Length)
        {
            var whole = await log.ReadRawAsync(position, destination);
            return whole == LogRead.Ok
                ? plan.Verify(header.AsSpan(0, headerLength), destination.Span)
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

            var outcome = plan.Verify(header.AsSpan(0, headerLength), pages.Span);
            if (outcome.Status == LogRead.Ok)
            {
                var skip = (int)(extent.Lba - plan.FirstLba) * EntryLayout.SectorSize;
                pages.Slice(skip, destination.Length).CopyTo(destination);
            }

            return outcome;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
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
    }
}
