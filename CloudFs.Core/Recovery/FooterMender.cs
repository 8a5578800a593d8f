using System.Buffers.Binary;
using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Writes a sealed segment's footer again: the headers in it are to exist twice. Only what proves itself goes into it, and
/// only where nothing is missing.
/// </summary>
public sealed class FooterMender(IBlockDevice device, Id160 deviceId, int physicalBlock)
{
    /// <summary>The headers that a scan found whole.</summary>
    public static SegmentCatalog CatalogOf(SegmentScan scan, ulong use)
    {
        var catalog = new SegmentCatalog(use);
        foreach (var item in scan.Items)
        {
            if (item.Kind == ScannedKind.Whole)
            {
                catalog.Add(item.Header.Span, item.Place, item.Copy);
            }
        }

        return catalog;
    }

    /// <summary>
    /// What a scan found of a segment in which the log goes on. What is damaged or missing has a place in it too, with a header
    /// that proves nothing: so the footer will say that something was there, and who reads it looks at the commits.
    /// </summary>
    public static SegmentCatalog CatalogWithDamage(SegmentScan scan, ulong use)
    {
        var catalog = new SegmentCatalog(use);
        var holes = scan.Holes.Select(hole => new ScannedItem(ScannedKind.PrefixOnly, hole.Start, Nothing(), false));
        foreach (var item in scan.Items.Concat(holes).OrderBy(item => item.Place))
        {
            catalog.Add(item.Kind == ScannedKind.Whole ? item.Header.Span : Padded(item.Header), item.Place, item.Copy);
        }

        return catalog;
    }

    /// <summary>A prefix as long as the header that it is of, whose pages are not known: its check can't hold.</summary>
    private static byte[] Padded(ReadOnlyMemory<byte> prefix)
    {
        LogItem.TryMeasure(prefix.Span, out var length, out _);
        var header = new byte[length];
        prefix.CopyTo(header);
        return header;
    }

    /// <summary>A header's frame without any field: it can be measured, and proves nothing.</summary>
    private static byte[] Nothing()
    {
        var header = new byte[EntryLayout.SectorSize];
        BinaryPrimitives.WriteUInt32LittleEndian(header, EntryLayout.Magic);
        header[EntryLayout.FormatOffset] = EntryLayout.FormatVersion;
        header[EntryLayout.KindOffset] = (byte)EntryKind.Update;
        header[EntryLayout.DigestOffset] = EntryLayout.DigestSha1;
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(EntryLayout.HeaderLengthOffset), header.Length);
        return header;
    }

    /// <summary>Writes the footer from the originals, if all of them were found. False when some are missing.</summary>
    public async ValueTask<bool> TryMendAsync(SegmentScan scan, int segment, ulong use, int commitsEnd, int next)
    {
        var catalog = CatalogOf(scan, use);
        catalog.DropCopies(DeviceGeometry.SegmentBytes - commitsEnd, physicalBlock);
        return scan.Holes.Count == 0 && catalog.Count == scan.Items.Count
            && await TryWriteAsync(catalog, segment, commitsEnd, next, scan.LastSequence);
    }

    /// <summary>Writes the footer. False when there is no room for it behind the commits.</summary>
    public async ValueTask<bool> TryWriteAsync(
        SegmentCatalog catalog, int segment, int commitsEnd, int next, ulong lastSequence)
    {
        var length = catalog.FooterBytes(0, 0, physicalBlock);
        if (commitsEnd + length > DeviceGeometry.SegmentBytes)
        {
            return false;
        }

        var footer = new byte[length];
        catalog.WriteFooter(footer, deviceId, commitsEnd, next, lastSequence);
        await device.WriteAsync(DeviceGeometry.SegmentOffset(segment) + (ulong)(DeviceGeometry.SegmentBytes - length), footer);
        return true;
    }

    /// <summary>
    /// Where the commits of a segment end whose footer can't be read, though it had one, by what is left of it; -1 where nothing says
    /// that it ever had one. A footer is written when all before it is durable: so even a damaged one of this use is worth
    /// something, if what it says of the last commit is true of the last that was found.
    /// </summary>
    /// <param name="scan">What was found, all of it taken as durable.</param>
    /// <param name="segment">Which.</param>
    /// <param name="use">Its use.</param>
    public async ValueTask<int> FindSealedEndAsync(SegmentScan scan, int segment, ulong use)
    {
        var record = new byte[SegmentFooterLayout.Size];
        try
        {
            await device.ReadAsync(DeviceGeometry.SegmentOffset(segment) + SegmentFooter.RecordOffset, record);
        }
        catch (DeviceException)
        {
            // Unreadable: it may never have been written.
            return -1;
        }

        return scan.Frames.Count > 0 && SegmentFooter.IsTraceOf(record, use, scan.Frames[^1].End, scan.LastSequence)
            ? (int)scan.Frames[^1].Position.Offset + scan.Frames[^1].Length
            : -1;
    }

    /// <summary>
    /// Where the commits of a segment end whose footer is missing: behind the last that was found, if the next segment's
    /// first continues its sequence; else some may be missing, anywhere up to the segment's end.
    /// </summary>
    /// <param name="scan">What was found.</param>
    /// <param name="use">The segment's use.</param>
    /// <param name="following">The segment that holds the next use; -1 for none.</param>
    public async ValueTask<int> FindCommitsEndAsync(SegmentScan scan, ulong use, int following)
    {
        if (scan.Frames.Count > 0 && following >= 0)
        {
            var record = new byte[CommitFrameLayout.RecordBytes];
            try
            {
                await device.ReadAsync(DeviceGeometry.SegmentOffset(following), record);
            }
            catch (DeviceException)
            {
                // Unreadable: it continues nothing then.
                Array.Clear(record);
            }

            if (CommitFrame.TryReadRecord(record, deviceId, new LogPosition(use + 1, 0), out var first) == LayoutFault.None
                && first.Sequence == scan.LastSequence + 1)
            {
                return (int)(scan.Frames[^1].Position.Offset + (uint)scan.Frames[^1].Length);
            }
        }

        return DeviceGeometry.SegmentBytes;
    }
}
