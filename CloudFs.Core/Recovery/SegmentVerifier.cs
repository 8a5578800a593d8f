using CloudFs.Core.Devices;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>What is known of a segment's end before it is verified.</summary>
public enum SegmentEnding
{
    /// <summary>It was sealed: there must be a footer.</summary>
    Sealed,

    /// <summary>
    /// Copies may still be added to it, and nobody may need it yet: what its footer states is whole; without one it states nothing.
    /// </summary>
    Growing,

    /// <summary>The log goes on in it, and its commits end exactly at what is durable, behind which nobody looks.</summary>
    Open,

    /// <summary>It is the last of a log that nobody writes: with or without a footer, and at least durable up to there.</summary>
    Last,
}

/// <summary>A segment to verify.</summary>
public readonly record struct SegmentToVerify(int Segment, ulong Use, SegmentEnding Ending, LogPosition Durable);

/// <summary>What verifying a segment leaves for mending it; it refers to the verifier's memory.</summary>
/// <param name="Scan">Its commits and items.</param>
/// <param name="Footer">Its footer's record; null where that is damaged or missing.</param>
/// <param name="Catalog">Its second copies; null where their table is damaged or missing.</param>
public sealed record VerifiedSegment(SegmentScan Scan, SegmentFooter? Footer, SegmentCatalog? Catalog);

/// <summary>
/// Checks everything in a segment that can be checked by its own bytes: commits, headers and their second copies, both hashes
/// of every page. One buffer of a segment's size is all that it holds. Used by one caller at a time.
/// </summary>
/// <param name="device">The device.</param>
/// <param name="deviceId">Its id.</param>
/// <param name="breathe">Awaited after each piece of work, so that others get their turn.</param>
public sealed class SegmentVerifier(IBlockDevice device, Id160 deviceId, Func<ValueTask>? breathe = null)
{
    /// <summary>Bytes read, or checked, at once.</summary>
    public const int PieceBytes = 1 << 20;

    /// <summary>Where a piece can't be read, what of it can.</summary>
    private const int SmallPieceBytes = 4096;

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(DeviceGeometry.SegmentBytes);
    private SegmentToVerify _what;
    private ISegmentFindings _findings = null!;
    private ulong _start;
    private int _unreadable;
    private int _sinceBreath;

    private string Where => $"segment {_what.Segment} (use {_what.Use})";

    private LogPosition Start => new(_what.Use, 0);

    /// <summary>Verifies a segment. What it gives holds until the next call.</summary>
    public async ValueTask<VerifiedSegment> VerifyAsync(SegmentToVerify what, ISegmentFindings findings)
    {
        (_what, _findings, _start, _unreadable) = (what, findings, DeviceGeometry.SegmentOffset(what.Segment), 0);
        var footer = await ReadAllAsync();
        if (_unreadable > 0)
        {
            Tell(SegmentFaultKind.Unreadable, $"{Where}: {_unreadable} bytes of it can't be read: the device answers an error");
        }

        if (footer is null && what.Ending == SegmentEnding.Sealed)
        {
            Tell(SegmentFaultKind.Footer, $"{Where}: its footer is damaged or missing");
        }

        var scan = Scan(footer);
        var catalog = footer is { } sealedBy ? await LoadCopiesAsync(sealedBy) : null;
        TellStructure(scan, catalog is { IsIncomplete: false });
        TellCopies(footer, catalog, scan);
        foreach (var item in scan.Items)
        {
            await BreatheAsync(VerifyItem(item, catalog));
        }

        if (catalog is not null && scan.Holes.Count > 0)
        {
            await VerifyHiddenAsync(scan, catalog);
        }

        return new VerifiedSegment(scan, footer, catalog);
    }

    private async ValueTask<SegmentFooter?> ReadAllAsync()
    {
        if (_what.Ending == SegmentEnding.Open)
        {
            await ReadAsync(0, (int)_what.Durable.Offset);
            return null;
        }

        await ReadAsync(SegmentFooter.RecordOffset, DeviceGeometry.SegmentBytes);
        if (SegmentFooter.TryRead(_bytes.AsSpan(SegmentFooter.RecordOffset), deviceId, out var footer) != LayoutFault.None
            || footer.Use != _what.Use)
        {
            await ReadAsync(0, SegmentFooter.RecordOffset);
            return null;
        }

        await ReadAsync(0, footer.CommitsEnd);
        await ReadAsync(footer.CopiesStart, SegmentFooter.RecordOffset);
        return footer;
    }

    private async ValueTask ReadAsync(int from, int to)
    {
        for (var at = from; at < to; at += PieceBytes)
        {
            var piece = _bytes.AsMemory(at, Math.Min(PieceBytes, to - at));
            try
            {
                await device.ReadAsync(_start + (ulong)at, piece);
            }
            catch (DeviceException)
            {
                await ReadSmallAsync(at, piece);
            }
        }
    }

    private async ValueTask ReadSmallAsync(int from, Memory<byte> piece)
    {
        for (var at = 0; at < piece.Length; at += SmallPieceBytes)
        {
            var small = piece.Slice(at, Math.Min(SmallPieceBytes, piece.Length - at));
            try
            {
                await device.ReadAsync(_start + (ulong)(from + at), small);
            }
            catch (DeviceException)
            {
                // Zeroes prove nothing, so what should have been here is found missing.
                small.Span.Clear();
                _unreadable += small.Length;
            }
        }
    }

    private SegmentScan Scan(SegmentFooter? footer)
    {
        var everything = new LogPosition(_what.Use + 1, 0);
        switch (_what.Ending)
        {
            case SegmentEnding.Open:
                return Scan(_what.Durable, (int)_what.Durable.Offset);
            case SegmentEnding.Growing when footer is null:
                return Scan(LogPosition.None, -1);
            case SegmentEnding.Last when footer is null:
                return Scan(_what.Durable, -1);
            default:
                var scan = Scan(everything, footer?.CommitsEnd ?? -1);
                return footer is null && scan.Frames.Count > 0
                    ? Scan(everything, (int)(scan.Frames[^1].Position.Offset + (uint)scan.Frames[^1].Length))
                    : scan;
        }
    }

    private SegmentScan Scan(LogPosition durable, int commitsEnd) =>
        SegmentScan.Scan(_bytes, deviceId, _what.Use, durable, LogPosition.None, commitsEnd);

    private ValueTask<SegmentCatalog?> LoadCopiesAsync(SegmentFooter footer) => new CatalogLoader(footer, (place, into) =>
    {
        _bytes.AsSpan((int)place, into.Length).CopyTo(into.Span);
        return ValueTask.FromResult(true);
    }).LoadAsync();

    private void TellStructure(SegmentScan scan, bool hasCopies)
    {
        if (scan.DamagedRecords > 0)
        {
            Tell(SegmentFaultKind.Frame, $"{Where}: {scan.DamagedRecords} commit records are damaged (their trailers are whole)");
        }

        if (scan.DamagedTrailers > 0)
        {
            Tell(SegmentFaultKind.Frame, $"{Where}: {scan.DamagedTrailers} commit trailers are damaged");
        }

        foreach (var hole in scan.Holes)
        {
            Tell(
                hasCopies ? SegmentFaultKind.KnownHole : SegmentFaultKind.Hole,
                $"{Where}: bytes {hole.Start} to {hole.End} can't be read as commits: "
                + (hasCopies ? "what was there is known by its second copies" : "what was there is lost"),
                new LogPosition(_what.Use, hole.Start));
        }
    }

    private void TellCopies(SegmentFooter? footer, SegmentCatalog? catalog, SegmentScan scan)
    {
        if (footer is not null && catalog is null)
        {
            Tell(SegmentFaultKind.Footer, $"{Where}: the table of its footer is damaged");
        }

        if (catalog is null)
        {
            return;
        }

        if (catalog.DamagedCopies > 0)
        {
            Tell(SegmentFaultKind.Footer, $"{Where}: {catalog.DamagedCopies} second copies of headers are damaged");
        }

        foreach (var item in scan.Items)
        {
            var index = catalog.IndexOf(item.Place);
            if (item.Kind == ScannedKind.Whole && index >= 0 && !catalog.Copy(index).SequenceEqual(item.Header.Span))
            {
                Tell(SegmentFaultKind.Difference, $"{Where}: the header at byte {item.Place} and its second copy differ");
            }
        }
    }

    /// <summary>Entries of which only the copies tell, since nothing of their commit can be read.</summary>
    private async ValueTask VerifyHiddenAsync(SegmentScan scan, SegmentCatalog catalog)
    {
        var seen = scan.Items.Select(item => item.Place).ToHashSet();
        for (var i = 0; i < catalog.Count; i++)
        {
            if (!seen.Contains(catalog.Position(i).Offset))
            {
                var hidden = new ScannedItem(ScannedKind.Whole, catalog.Position(i).Offset, catalog.Memory(i), IsRebuilt: true);
                await BreatheAsync(VerifyItem(hidden, catalog));
            }
        }
    }

    /// <summary>Checks one item; gives how many bytes of it.</summary>
    private int VerifyItem(in ScannedItem item, SegmentCatalog? catalog)
    {
        var copy = item.Kind == ScannedKind.Whole ? -1 : catalog?.IndexOf(item.Place) ?? -1;
        var header = copy >= 0 ? catalog!.Memory(copy) : item.Header;
        var isWhole = item.Kind == ScannedKind.Whole || copy >= 0;
        if (DeviceRecord.IsAt(header.Span))
        {
            if (item.IsRebuilt || !isWhole)
            {
                Tell(
                    isWhole ? SegmentFaultKind.Header : SegmentFaultKind.Entry,
                    $"byte {_start + item.Place}: a device record is damaged", new LogPosition(_what.Use, item.Place));
            }

            return header.Length;
        }

        var claimed = EntryHeaderCodec.ReadFields(header.Span, default);
        if (item.IsRebuilt || copy >= 0)
        {
            var from = copy >= 0 ? " (it can be had again from its second copy)"
                : isWhole ? " (it can be had again from its trailer)" : "";
            var lost = isWhole ? [] : Extents(header.Span, claimed);
            Tell(isWhole ? SegmentFaultKind.Header : SegmentFaultKind.Entry, claimed, item.Place, $"its header is damaged{from}", lost);
        }

        if (!isWhole)
        {
            return claimed.HeaderLength;
        }

        var isValid = EntryHeaderCodec.TryRead(header.Span, out var fields, out var error);
        if (!isValid || (long)item.Place + fields.TotalLength > _bytes.Length)
        {
            error = isValid ? FormatError.BodySize : error;
            Tell(SegmentFaultKind.Entry, claimed, item.Place, error.Text(), []);
            return claimed.HeaderLength;
        }

        var body = _bytes.AsSpan((int)item.Place + fields.HeaderLength, fields.BodyLength);
        var holds = VerifyPages(header.Span, fields, body, item.Place);
        _findings.Entry(header.Span, fields, body, _start + item.Place, holds);
        return fields.TotalLength;
    }

    private bool VerifyPages(ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, uint place)
    {
        var hold = true;
        foreach (var page in EntryPages.Of(header, fields))
        {
            var error = page.IsPresent
                ? EntryBody.VerifyPage(page.Record, body.Slice(page.BodyOffset, page.Record.Length), fields.Kind)
                : FormatError.None;
            if (error != FormatError.None)
            {
                hold = false;
                Tell(
                    SegmentFaultKind.Page, fields, place,
                    $"page {page.Index} ({page.Record.Length} bytes of the disk at {page.Lba * EntryLayout.SectorSize}): {error.Text()}",
                    fields.HasJsonBody ? [] : [new ExtentRecord(page.Lba, page.Record.Sectors, ExtentKind.Data)]);
            }
        }

        return hold;
    }

    private static List<ExtentRecord> Extents(ReadOnlySpan<byte> prefix, in EntryHeader claimed)
    {
        var extents = new List<ExtentRecord>();
        for (var i = 0; i < claimed.ExtentCount; i++)
        {
            if (EntryHeaderCodec.ReadExtent(prefix, i) is { Kind: ExtentKind.Data } extent)
            {
                extents.Add(extent);
            }
        }

        return extents;
    }

    private async ValueTask BreatheAsync(int bytes)
    {
        _sinceBreath += bytes;
        if (_sinceBreath >= PieceBytes && breathe is not null)
        {
            _sinceBreath = 0;
            await breathe();
        }
    }

    private void Tell(SegmentFaultKind kind, string message) => Tell(kind, message, Start);

    private void Tell(SegmentFaultKind kind, string message, LogPosition position) =>
        _findings.Fault(new SegmentFault(kind, message, position, default, 0, []));

    private void Tell(
        SegmentFaultKind kind, in EntryHeader entry, uint place, string what, IReadOnlyList<ExtentRecord> extents) =>
        _findings.Fault(new SegmentFault(
            kind, $"byte {_start + place}: disk {entry.Disk} LSN {entry.Lsn}: {what}", new LogPosition(_what.Use, place), entry.Disk,
            entry.Lsn, extents));
}
