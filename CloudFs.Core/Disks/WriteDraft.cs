using System.Collections.Concurrent;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// One entry's worth of a write, cut into extents and pages and hashed: everything that can be done before the entry has
/// its place in the chain. Reused: rent one for an operation, and give it back.
/// </summary>
internal sealed class WriteDraft
{
    /// <summary>A body of 1 MiB that begins in mid-page has 257 pages; most writes are short, and many are under way at once.</summary>
    private const int PagesMax = (EntryLayout.MaxBodyLength / EntryLayout.PageSize) + 1;

    private const int PagesFirst = 2;

    /// <summary>As many as are under way at a deep queue; 4 MiB, if each was once used for 1 MiB.</summary>
    private const int PoolMax = 256;

    private static readonly ConcurrentBag<WriteDraft> Pool = [];
    private static int _pooled;

    private ExtentRecord[] _extents = new ExtentRecord[PagesFirst];
    private PageRecord[] _pages = new PageRecord[PagesFirst];
    private (int Offset, int Length)[] _slices = new (int, int)[PagesFirst];
    private int _extentCount;
    private int _pageCount;

    private WriteDraft()
    {
    }

    /// <summary>The extents, in order.</summary>
    public ReadOnlySpan<ExtentRecord> Extents => _extents.AsSpan(0, _extentCount);

    /// <summary>The hashed pages, in order.</summary>
    public ReadOnlySpan<PageRecord> Pages => _pages.AsSpan(0, _pageCount);

    /// <summary>Bytes of the body.</summary>
    public int BodyLength { get; private set; }

    /// <summary>True for trims and zeroes alone, which may use the reserve.</summary>
    public bool IsZeroOnly => _pageCount == 0;

    /// <summary>What it takes in the log.</summary>
    public AppendSize Size => AppendSize.OfEntry(_extentCount, _pageCount, BodyLength);

    public static WriteDraft Rent()
    {
        if (!Pool.TryTake(out var draft))
        {
            return new WriteDraft();
        }

        Interlocked.Decrement(ref _pooled);
        return draft;
    }

    public static void Return(WriteDraft draft)
    {
        if (Interlocked.Increment(ref _pooled) > PoolMax)
        {
            Interlocked.Decrement(ref _pooled);
            return;
        }

        Pool.Add(draft);
    }

    /// <summary>
    /// Takes the start of a write: up to 1 MiB, ending at a multiple of a page so that the next part begins with a whole
    /// one. Pages of zeroes become zero extents. Gives the bytes taken.
    /// </summary>
    public int Cut(ulong lba, ReadOnlySpan<byte> data)
    {
        Clear();
        var skew = (int)(lba % EntryLayout.PageSectors) * EntryLayout.SectorSize;
        var taken = Math.Min(data.Length, EntryLayout.MaxBodyLength - skew);
        MakeRoom((skew + taken + EntryLayout.PageSize - 1) / EntryLayout.PageSize);
        for (var offset = 0; offset < taken;)
        {
            var sectorsLeft = (taken - offset) / EntryLayout.SectorSize;
            var sectors = Math.Min(sectorsLeft, EntryLayout.PageSectors - (int)(lba % EntryLayout.PageSectors));
            var length = sectors * EntryLayout.SectorSize;
            var page = data.Slice(offset, length);
            if (EntryBody.IsZero(page))
            {
                Extend(lba, (uint)sectors, ExtentKind.Zero);
            }
            else
            {
                Extend(lba, (uint)sectors, ExtentKind.Data);
                _pages[_pageCount] = PageRecord.Of(page);
                _slices[_pageCount++] = (offset, length);
                BodyLength += length;
            }

            offset += length;
            lba += (uint)sectors;
        }

        return taken;
    }

    /// <summary>Makes a run of zeroes, of any length up to 2^32 - 1 sectors.</summary>
    public void SetZero(ulong lba, uint sectors)
    {
        Clear();
        Extend(lba, sectors, ExtentKind.Zero);
    }

    /// <summary>Copies the body's pages out of the data that was cut.</summary>
    public void CopyBody(ReadOnlySpan<byte> data, Span<byte> destination)
    {
        for (var i = 0; i < _pageCount;)
        {
            // Runs of pages that adjoin in the data are one copy.
            var (offset, length) = _slices[i++];
            while (i < _pageCount && _slices[i].Offset == offset + length)
            {
                length += _slices[i++].Length;
            }

            data.Slice(offset, length).CopyTo(destination);
            destination = destination[length..];
        }
    }

    /// <summary>Counts the data that it writes.</summary>
    public void CountIn(HeatMap heat, ulong disk)
    {
        foreach (ref readonly var extent in Extents)
        {
            if (extent.Kind == ExtentKind.Data)
            {
                heat.Wrote(disk, extent.Lba, extent.Sectors);
            }
        }
    }

    /// <summary>Gives the pages to the cache, out of the data that was cut: its entry was appended at that position.</summary>
    public void Keep(ReadOnlySpan<byte> data, ReadCache cache, Id160 disk, ulong lsn, LogPosition position)
    {
        var next = 0;
        for (var i = 0; i < _extentCount; i++)
        {
            var pages = new ReadCache.Pages(disk, lsn, position, i);
            for (var page = 0; page < _extents[i].Pages; page++)
            {
                var (offset, length) = _slices[next++];
                cache.Add(pages, PageCutter.LbaOf(_extents[i].Lba, page), data.Slice(offset, length));
            }
        }
    }

    private void MakeRoom(int pages)
    {
        if (pages > _pages.Length)
        {
            var room = Math.Min(PagesMax, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)pages));
            _extents = new ExtentRecord[room];
            _pages = new PageRecord[room];
            _slices = new (int, int)[room];
        }
    }

    private void Clear() => (_extentCount, _pageCount, BodyLength) = (0, 0, 0);

    private void Extend(ulong lba, uint sectors, ExtentKind kind)
    {
        if (_extentCount > 0 && _extents[_extentCount - 1] is var last && last.Kind == kind && last.End == lba)
        {
            _extents[_extentCount - 1] = last with { Sectors = last.Sectors + sectors };
            return;
        }

        _extents[_extentCount++] = new ExtentRecord(lba, sectors, kind);
    }
}
