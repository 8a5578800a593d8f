using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What became of damaged pages that another host may have.</summary>
internal enum Mended
{
    /// <summary>The disk does not read them from there (any more).</summary>
    NotRead,

    /// <summary>Nobody within reach has them.</summary>
    NotFound,

    /// <summary>Another host has them; here they could not be written again.</summary>
    NotWritten,

    /// <summary>They are whole on the device.</summary>
    Healed,
}

/// <summary>How reading an extent with damaged pages ended.</summary>
/// <param name="Read">As for any read: with Ok the destination holds the extent's sectors, proved.</param>
/// <param name="Fetched">The pages that were damaged, and were had from another host.</param>
/// <param name="NotWritten">Null when these are on the device again; else one line: why not.</param>
internal readonly record struct MendOutcome(PageReadOutcome Read, IReadOnlyList<EntryPage> Fetched, string? NotWritten);

/// <summary>
/// Reads an extent of which some page is damaged: page by page, those that don't prove themselves by the entry's header from
/// another host, which are then written again. The header must be whole here: nothing from outside is believed but by it.
/// </summary>
internal sealed class PageMender(DiskServices services, IPageHealer healer)
{
    /// <summary>Fills <paramref name="destination"/>, exactly the extent's sectors.</summary>
    public async ValueTask<MendOutcome> ReadAsync(MappedExtent extent, Id160 disk, Memory<byte> destination)
    {
        var header = ArrayPool<byte>.Shared.Rent(EntryLayout.MaxHeaderLength);
        try
        {
            var (status, length) = await services.Reader.ReadHeaderAsync(extent.Position, disk, extent.Lsn, header);
            var pages = status == LogRead.Ok ? PagesOf(header.AsSpan(0, length), extent, out status) : [];
            if (status != LogRead.Ok)
            {
                return new MendOutcome(new PageReadOutcome(status, extent.Lba, extent.Sectors), [], null);
            }

            var fetched = new List<EntryPage>();
            var writes = new List<LogBytes>();
            var outcome = PageReadOutcome.Ok;
            foreach (var page in pages)
            {
                var at = extent.Position.Plus(length + page.BodyOffset);
                var bytes = new byte[page.Record.Length];
                status = await services.Reader.ReadRawAsync(at, bytes);
                if (status == LogRead.Reclaimed)
                {
                    outcome = new PageReadOutcome(status, extent.Lba, extent.Sectors);
                    break;
                }

                if (status != LogRead.Ok || !Proves(page.Record, bytes))
                {
                    bytes = await healer.FetchAsync(disk, extent.Lsn, page.Lba, page.Record, CancellationToken.None);
                    if (bytes is null || !Proves(page.Record, bytes))
                    {
                        outcome = new PageReadOutcome(LogRead.Damaged, page.Lba, page.Record.Sectors);
                        break;
                    }

                    fetched.Add(page);
                    writes.Add(new LogBytes(at, bytes));
                }

                Give(page, bytes, extent, destination.Span);
                services.Pages.Cache?.Add(new ReadCache.Pages(disk, extent.Lsn, extent.Position, extent.ExtentIndex), page.Lba, bytes);
            }

            // What was had before it failed is not given away.
            var notWritten = writes.Count > 0 ? await services.Rewriter.WriteAsync(writes) : null;
            return new MendOutcome(outcome, fetched, notWritten);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(header);
        }
    }

    /// <summary>True when the bytes are those of which the record tells, by both of its hashes.</summary>
    public static bool Proves(in PageRecord record, ReadOnlySpan<byte> bytes) =>
        bytes.Length == record.Length && EntryBody.VerifyPage(record, bytes, EntryKind.Update) == FormatError.None;

    private static List<EntryPage> PagesOf(ReadOnlySpan<byte> header, in MappedExtent extent, out LogRead status)
    {
        var pages = new List<EntryPage>();
        status = LogRead.Ok;
        foreach (var page in EntryPages.Of(header, EntryHeaderCodec.ReadFields(header, default)))
        {
            if (page.Extent == extent.ExtentIndex && page.Lba < extent.End && EndOf(page) > extent.Lba)
            {
                status = page.IsPresent ? status : LogRead.Dropped;
                pages.Add(page);
            }
        }

        if (pages.Count == 0 || pages[0].Lba > extent.Lba || EndOf(pages[^1]) < extent.End)
        {
            // An index that means sectors which the entry does not have is wrong.
            status = LogRead.Damaged;
        }

        return pages;
    }

    private static void Give(in EntryPage page, ReadOnlySpan<byte> bytes, in MappedExtent extent, Span<byte> destination)
    {
        var from = Math.Max(page.Lba, extent.Lba);
        var sectors = Math.Min(EndOf(page), extent.End) - from;
        bytes.Slice(Bytes(from - page.Lba), Bytes(sectors)).CopyTo(destination[Bytes(from - extent.Lba)..]);
    }

    private static ulong EndOf(in EntryPage page) => page.Lba + page.Record.Sectors;

    private static int Bytes(ulong sectors) => (int)(sectors * EntryLayout.SectorSize);
}
