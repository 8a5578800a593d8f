using CloudFs.Core.Caches;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// Pages of entries in memory, shared by all disks, bounded in bytes: what was read or written lately needs neither a header
/// nor a hash nor the device. Only bytes that were proved come in. A page is held under the place of its entry, which is
/// never given twice, and so is never wrong: what was overwritten or relocated is asked for no more, and ages out. Disk and
/// LSN are in the key as they are in the header, so that an index that is wrong finds nothing. Safe from any thread.
/// </summary>
/// <param name="capacityBytes">What it may take, its own tables included; at least sixteen pages are held.</param>
public sealed class ReadCache(long capacityBytes)
{
    /// <summary>
    /// Longer writes go past it: they are what is written in sequence, which is seldom read soon, and would drive out what is.
    /// </summary>
    internal const int LongestWriteKept = 64 << 10;

    private const int RunSectors = FrameKey.RunPages * EntryLayout.PageSectors;

    private readonly FrameCache _frames = new(capacityBytes);
    private long _misses;

    /// <summary>Pages that were had from here.</summary>
    public long Hits => _frames.Hits;

    /// <summary>Pages that had to be read from the log.</summary>
    public long Misses => Volatile.Read(ref _misses);

    /// <summary>What the pages held take.</summary>
    public long Bytes => _frames.Bytes;

    /// <summary>Copies what is here of an extent's beginning, page by page. Gives how many sectors that is.</summary>
    internal ulong CopyStart(in MappedExtent extent, Id160 disk, Span<byte> destination)
    {
        var pages = new Pages(disk, extent.Lsn, extent.Position, extent.ExtentIndex);
        var lba = extent.Lba;
        while (lba < extent.End)
        {
            var skip = (int)(lba % EntryLayout.PageSectors) * EntryLayout.SectorSize;
            var inRun = Math.Min(destination.Length, (int)(RunSectors - (lba % RunSectors)) * EntryLayout.SectorSize);
            var copied = _frames.CopyRun(pages.KeyOf(lba), skip, destination[..inRun]);
            lba += (uint)(copied / EntryLayout.SectorSize);
            destination = destination[copied..];
            if (copied < inRun)
            {
                Interlocked.Add(ref _misses, PageCutter.Count(lba, (uint)(extent.End - lba)));
                break;
            }
        }

        return lba - extent.Lba;
    }

    /// <summary>True when the page that an extent begins with is here. Nothing is counted.</summary>
    internal bool HasStart(in MappedExtent extent, Id160 disk)
    {
        var pages = new Pages(disk, extent.Lsn, extent.Position, extent.ExtentIndex);
        return _frames.TryCopy(
            pages.KeyOf(extent.Lba), (int)(extent.Lba % EntryLayout.PageSectors) * EntryLayout.SectorSize, []);
    }

    /// <summary>Takes in a page that was proved: one page record's sectors, all of them.</summary>
    internal void Add(in Pages of, ulong lba, ReadOnlySpan<byte> page) =>
        _frames.Add(of.KeyOf(lba), (int)(lba % EntryLayout.PageSectors) * EntryLayout.SectorSize, page);

    /// <summary>The pages of one extent of an entry.</summary>
    /// <param name="disk">The entry's disk.</param>
    /// <param name="lsn">Its LSN.</param>
    /// <param name="position">Where its header lies.</param>
    /// <param name="extentIndex">Which of its extents.</param>
    internal readonly struct Pages(Id160 disk, ulong lsn, LogPosition position, int extentIndex)
    {
        // Where the place is right, disk and LSN are as well, and add the same to all of its keys: those stay apart, and
        // pages that follow one another are of one run.
        private readonly ulong _salt = unchecked((disk.Word * 0x9FB21C651E98DF25) + (lsn * 0xD6E8FEB86659FD93))
            & ~((1UL << (FrameKey.RunShift + 4)) - 1);

        /// <summary>The key of the page that a sector is of.</summary>
        public FrameKey KeyOf(ulong lba) =>
            new(position.Value, unchecked(_salt + ((lba / EntryLayout.PageSectors) << FrameKey.RunShift) + (ulong)extentIndex));
    }
}
