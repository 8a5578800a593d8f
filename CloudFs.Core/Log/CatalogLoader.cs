using System.Buffers;
using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;

namespace CloudFs.Core.Log;

/// <summary>
/// Reads the headers of a sealed segment by its footer, without reading a body: the copies in the footer in one go, those in
/// trailers in runs. A copy that does not prove its header is had from the original's place, if that does; else it is left
/// out, and the catalog is incomplete. Serves one segment.
/// </summary>
/// <param name="footer">The footer's record.</param>
/// <param name="read">Reads bytes of the segment from an offset; false when they can't be had.</param>
public sealed class CatalogLoader(SegmentFooter footer, Func<uint, Memory<byte>, ValueTask<bool>> read)
{
    /// <summary>The most that is read of trailers at once; longer than any copy.</summary>
    private const int WindowBytes = 128 << 10;

    /// <summary>Copies of one trailer lie no further from each other than this, mostly.</summary>
    private const int GapBytes = 4096;

    private readonly byte[] _window = ArrayPool<byte>.Shared.Rent(WindowBytes);
    private readonly byte[] _tail = ArrayPool<byte>.Shared.Rent(footer.CopiesLength + (footer.CopyCount * SegmentFooter.PlaceBytes));
    private uint _windowStart;
    private int _windowLength;

    private int TailLength => footer.CopiesLength + (footer.CopyCount * SegmentFooter.PlaceBytes);

    /// <summary>Bytes that were read.</summary>
    public int BytesRead { get; private set; }

    /// <summary>The catalog; null when the table of places can't be read. To be called once.</summary>
    /// <param name="spare">A catalog that nobody looks at any more, whose memory is used; or null.</param>
    public async ValueTask<SegmentCatalog?> LoadAsync(SegmentCatalog? spare = null)
    {
        try
        {
            return await ReadAsync((uint)footer.CopiesStart, _tail.AsMemory(0, TailLength))
                && footer.ProvesPlaces(_tail.AsSpan(footer.CopiesLength, footer.CopyCount * SegmentFooter.PlaceBytes))
                ? await LoadItemsAsync(spare?.ReuseFor(footer.Use) ?? new SegmentCatalog(footer.Use))
                : null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(_window);
            ArrayPool<byte>.Shared.Return(_tail);
        }
    }

    private async ValueTask<SegmentCatalog?> LoadItemsAsync(SegmentCatalog catalog)
    {
        uint end = 0;
        uint running = 0;
        for (var i = 0; i < footer.CopyCount; i++)
        {
            var (place, second) = Place(i);
            if (place < end || place >= footer.CommitsEnd)
            {
                return null;
            }

            end = place + EntryLayout.SectorSize;
            bool isSound;
            if (footer.IsFirstVersion)
            {
                if (second > footer.CopiesLength - running)
                {
                    return null;
                }

                var copy = _tail.AsSpan((int)running, (int)second);
                isSound = catalog.TryAddCopy(copy, copy.Length, place, 0);
                running += second;
            }
            else if (second >= footer.CopiesStart)
            {
                isSound = TryAddFromFooter(catalog, place, second);
            }
            else
            {
                isSound = await TryAddFromTrailerAsync(catalog, i, place, second);
            }

            catalog.DamagedCopies += isSound ? 0 : 1;
            if (!isSound && !await TryAddOriginalAsync(catalog, place))
            {
                catalog.IsIncomplete = true;
                continue;
            }

            end = place + (uint)catalog.Copy(catalog.Count - 1).Length;
            if (end > footer.CommitsEnd)
            {
                return null;
            }
        }

        return catalog;
    }

    private bool TryAddFromFooter(SegmentCatalog catalog, uint place, uint at)
    {
        var offset = at - (uint)footer.CopiesStart;
        if (offset >= footer.CopiesLength)
        {
            return false;
        }

        var bytes = _tail.AsSpan((int)offset, footer.CopiesLength - (int)offset);
        return LogItem.TryMeasureCopy(bytes, out var length, out var headerLength)
            && catalog.TryAddCopy(bytes[..length], headerLength, place, 0);
    }

    private async ValueTask<bool> TryAddFromTrailerAsync(SegmentCatalog catalog, int index, uint place, uint at)
    {
        if (at < AppendSize.PrefixHeaderBytes || at >= footer.CommitsEnd)
        {
            return false;
        }

        var start = at - AppendSize.PrefixHeaderBytes;
        return TryAddFromWindow(catalog, place, start)
            || (await FillWindowAsync(start, RunEnd(index, start)) && TryAddFromWindow(catalog, place, start))
            || (_windowLength < WindowBytes && await FillWindowAsync(start, start + WindowBytes)
                && TryAddFromWindow(catalog, place, start));
    }

    private bool TryAddFromWindow(SegmentCatalog catalog, uint place, uint start)
    {
        if (start < _windowStart || start >= _windowStart + _windowLength)
        {
            return false;
        }

        var bytes = _window.AsSpan((int)(start - _windowStart), (int)(_windowStart + _windowLength - start));
        return TrailerPrefix.TryRead(bytes, footer.DeviceId, footer.Use, place, out var copy)
            && LogItem.TryMeasureCopy(copy, out var length, out var headerLength) && length == copy.Length
            && catalog.TryAddCopy(copy, headerLength, place, start + AppendSize.PrefixHeaderBytes);
    }

    /// <summary>Where to read to, so that the copies behind this one come with it, and no body.</summary>
    private uint RunEnd(int index, uint start)
    {
        var last = Place(index).Copy;
        for (var i = index + 1; i < footer.CopyCount; i++)
        {
            var next = Place(i).Copy;
            if (next < last || next - last > GapBytes || next + GapBytes - start > WindowBytes)
            {
                break;
            }

            last = next;
        }

        return last + GapBytes;
    }

    private async ValueTask<bool> FillWindowAsync(uint start, uint end)
    {
        _windowStart = start;
        _windowLength = (int)(Math.Min(end, (uint)footer.CommitsEnd) - start);
        if (await ReadAsync(start, _window.AsMemory(0, _windowLength)))
        {
            return true;
        }

        _windowLength = 0;
        return false;
    }

    private async ValueTask<bool> TryAddOriginalAsync(SegmentCatalog catalog, uint place)
    {
        _windowLength = 0;
        if (!await ReadAsync(place, _window.AsMemory(0, EntryLayout.SectorSize))
            || !LogItem.TryMeasure(_window.AsSpan(0, EntryLayout.SectorSize), out var length, out _)
            || length > Math.Min(EntryLayout.MaxHeaderLength, footer.CommitsEnd - place)
            || !await ReadAsync(place, _window.AsMemory(0, length)) || !LogItem.Proves(_window.AsSpan(0, length)))
        {
            return false;
        }

        catalog.Add(_window.AsSpan(0, length), place);
        return true;
    }

    private (uint Original, uint Copy) Place(int index)
    {
        var place = _tail.AsSpan(footer.CopiesLength + (index * SegmentFooter.PlaceBytes), SegmentFooter.PlaceBytes);
        return (BinaryPrimitives.ReadUInt32LittleEndian(place), BinaryPrimitives.ReadUInt32LittleEndian(place[4..]));
    }

    private ValueTask<bool> ReadAsync(uint place, Memory<byte> bytes)
    {
        BytesRead += bytes.Length;
        return read(place, bytes);
    }
}
