using System.Collections.Concurrent;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// One entry's worth of a write, cut into extents and pages and hashed: everything that can be done before the entry has
/// its place in the chain. Reused: rent one for an operation, and give it back.
/// </summary>
internal sealed class WriteDraft
{
    /// <summary>Most writes are short, and many are under way at once.</summary>
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

    /// <summary>Measures some of the entries that are made of it.</summary>
    public EntryWatch Watch { get; } = new();

    /// <summary>Where the watch counts, from the next entry on; null for nowhere.</summary>
    public StageLatencies? Stages { get; set; }

    /// <summary>Bytes of the body.</summary>
    public int BodyLength { get; private set; }

    /// <summary>True for trims and zeroes alone, which may use the reserve.</summary>
    public bool IsZeroOnly => _pageCount == 0;

    /// <summary>What it takes in the log.</summary>
    public AppendSize Size => AppendSize.OfEntry(_extentCount, _pageCount, BodyLength);

    /// <summary>An empty one.</summary>
    public static WriteDraft Rent(StageLatencies? stages = null)
    {
        if (!Pool.TryTake(out var draft))
        {
            return new WriteDraft { Stages = stages };
        }

        Interlocked.Decrement(ref _pooled);
        draft.Stages = stages;
        return draft;
    }

    public static void Return(WriteDraft draft)
    {
        draft.Clear();
        draft.Stages = null;
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
        Watch.Begin(Stages);
        var skew = (int)(lba % EntryLayout.PageSectors) * EntryLayout.SectorSize;
        var taken = Math.Min(data.Length, EntryLayout.MaxBodyLength - skew);
        LayOut(lba, data, 0, taken);
        Hash(0, data);
        Watch.Pause();
        return taken;
    }

    /// <summary>
    /// Takes a write that begins at <paramref name="start"/> of the data that all of this draft is cut from, behind those that it has.
    /// </summary>
    /// <returns>
    /// False, and nothing was taken: it overlaps one of them, or the header would be longer than the shortest one. Into an empty
    /// draft any write of up to 1 MiB less a page goes.
    /// </returns>
    public bool TryAdd(ulong lba, ReadOnlySpan<byte> data, int start, int length)
    {
        var (extents, pages, body) = (_extentCount, _pageCount, BodyLength);
        if (extents == 0)
        {
            Watch.Begin(Stages);
            LayOut(lba, data, start, length);
            Hash(0, data);
            Watch.Pause();
            return true;
        }

        var last = _extents[extents - 1];
        if (Overlaps(lba, lba + (ulong)(length / EntryLayout.SectorSize)))
        {
            return false;
        }

        LayOut(lba, data, start, length);
        if (EntryLayout.HeaderLength(_extentCount, _pageCount) > EntryLayout.SectorSize)
        {
            _extents[extents - 1] = last;
            (_extentCount, _pageCount, BodyLength) = (extents, pages, body);
            return false;
        }

        Watch.Resume();
        Hash(pages, data);
        Watch.Pause();
        return true;
    }

    /// <summary>Forgets what it was cut from.</summary>
    public void Clear()
    {
        Watch.End(isAppended: false);
        (_extentCount, _pageCount, BodyLength) = (0, 0, 0);
    }

    /// <summary>Makes a run of zeroes, of any length up to 2^32 - 1 sectors.</summary>
    public void SetZero(ulong lba, uint sectors)
    {
        Clear();
        Watch.Begin(Stages);
        Extend(lba, sectors, ExtentKind.Zero);
        Watch.Pause();
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

    private void LayOut(ulong lba, ReadOnlySpan<byte> data, int start, int length)
    {
        var end = start + length;
        MakeRoom(Math.Max(_extentCount, _pageCount) + (length / EntryLayout.PageSize) + 2);
        while (start < end)
        {
            var sectorsLeft = (end - start) / EntryLayout.SectorSize;
            var sectors = Math.Min(sectorsLeft, EntryLayout.PageSectors - (int)(lba % EntryLayout.PageSectors));
            var bytes = sectors * EntryLayout.SectorSize;
            if (EntryBody.IsZero(data.Slice(start, bytes)))
            {
                Extend(lba, (uint)sectors, ExtentKind.Zero);
            }
            else
            {
                Extend(lba, (uint)sectors, ExtentKind.Data);
                _slices[_pageCount++] = (start, bytes);
                BodyLength += bytes;
            }

            start += bytes;
            lba += (uint)sectors;
        }
    }

    private void Hash(int from, ReadOnlySpan<byte> data)
    {
        for (var i = from; i < _pageCount; i++)
        {
            var (start, length) = _slices[i];
            _pages[i] = PageRecord.Of(data.Slice(start, length));
        }
    }

    private bool Overlaps(ulong lba, ulong end)
    {
        foreach (ref readonly var extent in Extents)
        {
            if (extent.Lba < end && lba < extent.End)
            {
                return true;
            }
        }

        return false;
    }

    private void MakeRoom(int pages)
    {
        if (pages > _pages.Length)
        {
            // A whole 1 MiB from mid-page on has 257: not twice that for the odd one.
            var room = pages > 256 ? pages : (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)pages);
            Array.Resize(ref _extents, room);
            Array.Resize(ref _pages, room);
            Array.Resize(ref _slices, room);
        }
    }

    private void Extend(ulong lba, uint sectors, ExtentKind kind)
    {
        if (_extentCount > 0 && _extents[_extentCount - 1] is var last && last.Kind == kind && last.End == lba
            && (kind == ExtentKind.Zero || lba % EntryLayout.PageSectors == 0))
        {
            _extents[_extentCount - 1] = last with { Sectors = last.Sectors + sectors };
            return;
        }

        // An extent is cut into pages from its start on: what was written as two parts of a page stays two extents.
        _extents[_extentCount++] = new ExtentRecord(lba, sectors, kind);
    }
}
