using System.Buffers.Binary;

namespace CloudFs.Core.Format;

/// <summary>
/// The checks of extents, page records and the body's length against each other: the part of a header that both the
/// reader and the sealer hold against the rules. Expects headerLength to agree with the counts.
/// </summary>
internal static class EntryShape
{
    /// <summary>The first rule that is broken, or None.</summary>
    public static FormatError Check(ReadOnlySpan<byte> header)
    {
        var kind = (EntryKind)header[EntryLayout.KindOffset];
        var bodyLength = BinaryPrimitives.ReadInt32LittleEndian(header[EntryLayout.BodyLengthOffset..]);
        var (extents, pages) = EntryHeaderCodec.ReadCounts(header);
        if (kind != EntryKind.Update)
        {
            return extents == 0 ? CheckJsonPages(header, bodyLength, pages) : FormatError.UnexpectedExtents;
        }

        return extents > 0 ? CheckUpdate(header, bodyLength, extents, pages) : FormatError.EmptyUpdate;
    }

    private static FormatError CheckJsonPages(ReadOnlySpan<byte> header, int bodyLength, int pages)
    {
        var sectors = (uint)(bodyLength / EntryLayout.SectorSize);
        if (pages != PageCutter.Count(0, sectors))
        {
            return FormatError.PageCount;
        }

        var tally = default(PageTally);
        var error = CheckPages(header[EntryLayout.FixedSize..], 0, sectors, pages, ref tally);
        if (error != FormatError.None)
        {
            return error;
        }

        return tally.Dropped ? FormatError.PageDropped : FormatError.None;
    }

    private static FormatError CheckUpdate(ReadOnlySpan<byte> header, int bodyLength, int extents, int pages)
    {
        var records = header[(EntryLayout.FixedSize + (extents * EntryLayout.ExtentSize))..];
        var tally = default(PageTally);
        var next = 0;
        for (var i = 0; i < extents; i++)
        {
            var error = CheckExtent(header.Slice(EntryLayout.FixedSize + (i * EntryLayout.ExtentSize),
                EntryLayout.ExtentSize));
            if (error != FormatError.None)
            {
                return error;
            }

            var extent = EntryHeaderCodec.ReadExtent(header, i);
            var count = extent.Pages;
            if (count > pages - next)
            {
                return FormatError.PageCount;
            }

            error = CheckPages(records[(next * EntryLayout.PageRecordSize)..], extent.Lba, extent.Sectors, count,
                ref tally);
            if (error != FormatError.None)
            {
                return error;
            }

            next += count;
        }

        return next == pages ? CheckTally(header, bodyLength, tally) : FormatError.PageCount;
    }

    private static FormatError CheckTally(ReadOnlySpan<byte> header, int bodyLength, in PageTally tally)
    {
        var flagged = (header[EntryLayout.FlagsOffset] & EntryLayout.FlagCompacted) != 0;
        if (flagged != tally.Dropped)
        {
            return FormatError.CompactedFlag;
        }

        // An entry was never longer than this before its pages were dropped, or nobody could fill them again.
        if (tally.AllBytes > EntryLayout.MaxBodyLength)
        {
            return FormatError.BodyLength;
        }

        return bodyLength == tally.PresentBytes ? FormatError.None : FormatError.BodySum;
    }

    private static FormatError CheckExtent(ReadOnlySpan<byte> bytes)
    {
        var extent = ExtentRecord.Read(bytes);
        if (extent.Sectors == 0)
        {
            return FormatError.ExtentSectors;
        }

        // Compared without a sum, which could wrap.
        if (extent.Lba > EntryLayout.MaxSector - extent.Sectors)
        {
            return FormatError.ExtentRange;
        }

        if (extent.Kind is not (ExtentKind.Data or ExtentKind.Zero))
        {
            return FormatError.ExtentKind;
        }

        var reserved = bytes.Slice(EntryLayout.ExtentReservedOffset, EntryLayout.ExtentReservedSize);
        return EntryBody.IsZero(reserved) ? FormatError.None : FormatError.ExtentReserved;
    }

    private static FormatError CheckPages(
        ReadOnlySpan<byte> records, ulong lba, uint sectors, int count, ref PageTally tally)
    {
        for (var i = 0; i < count; i++)
        {
            var record = records.Slice(i * EntryLayout.PageRecordSize, EntryLayout.PageRecordSize);
            var pageSectors = record[EntryLayout.PageSectorsOffset];
            if (pageSectors != PageCutter.SectorsOf(lba, sectors, i))
            {
                return FormatError.PageSectors;
            }

            var state = (PageState)record[EntryLayout.PageStateOffset];
            if (state is not (PageState.Present or PageState.Dropped))
            {
                return FormatError.PageState;
            }

            if (!EntryBody.IsZero(record.Slice(EntryLayout.PageReservedOffset, EntryLayout.PageReservedSize)))
            {
                return FormatError.PageReserved;
            }

            tally.Add(pageSectors * EntryLayout.SectorSize, state);
        }

        return FormatError.None;
    }

    private struct PageTally
    {
        public int AllBytes;
        public int PresentBytes;

        public readonly bool Dropped => AllBytes != PresentBytes;

        public void Add(int bytes, PageState state)
        {
            AllBytes += bytes;
            PresentBytes += state == PageState.Present ? bytes : 0;
        }
    }
}
