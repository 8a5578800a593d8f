using System.Runtime.InteropServices;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Compaction;

/// <summary>A run of sectors that a tree maps to an entry of the victim.</summary>
/// <param name="Item">The entry, as its index in the catalog.</param>
/// <param name="Lba">The first sector.</param>
/// <param name="Sectors">At least 1.</param>
/// <param name="Extent">Which extent of the entry; of zeroes any.</param>
/// <param name="IsZero">True when it reads as zeroes.</param>
internal readonly record struct LiveFragment(int Item, ulong Lba, ulong Sectors, ushort Extent, bool IsZero)
{
    public ulong End => Lba + Sectors;
}

/// <summary>
/// Finds what of a victim is live: its extents are looked up in the trees in the order of disk and address, so that pages of
/// the trees are read once and in order; what is found is kept by entry. Its memory is used again for the next victim.
/// </summary>
internal sealed class LiveFragments(TreeLookup lookup)
{
    private const int Batch = 256;

    /// <summary>What the memory is cut back to: a victim seldom has more.</summary>
    private const int KeptFragments = 1 << 15;

    private readonly MappedExtent[] _found = new MappedExtent[Batch];
    private readonly List<(ulong Lba, ulong End)> _extents = [];
    private readonly Dictionary<Id160, int> _diskOrder = [];
    private readonly List<Id160> _disks = [];
    private readonly List<Range> _ranges = [];
    private readonly List<LiveFragment> _fragments = [];
    private int _next;

    /// <summary>Looks everything up that a victim's entries set.</summary>
    /// <param name="catalog">The victim's headers.</param>
    /// <param name="limit">How many fragments are too many.</param>
    /// <param name="cancellation">Looked at between look-ups.</param>
    public async ValueTask<RelocationOutcome> FindAsync(SegmentCatalog catalog, int limit, CancellationToken cancellation)
    {
        Clear();
        CollectRanges(catalog);
        foreach (var range in _ranges)
        {
            cancellation.ThrowIfCancellationRequested();
            var outcome = await FindAsync(range, catalog.Position(range.Item), limit);
            if (outcome != RelocationOutcome.Done)
            {
                return outcome;
            }
        }

        _fragments.Sort(static (left, right) =>
            left.Item != right.Item ? left.Item.CompareTo(right.Item) : left.Lba.CompareTo(right.Lba));
        return RelocationOutcome.Done;
    }

    /// <summary>What is live of an item, by address. Items are asked for in ascending order, from <see cref="Rewind"/> on.</summary>
    public ReadOnlySpan<LiveFragment> Of(int item)
    {
        while (_next < _fragments.Count && _fragments[_next].Item < item)
        {
            _next++;
        }

        var end = _next;
        while (end < _fragments.Count && _fragments[end].Item == item)
        {
            end++;
        }

        return CollectionsMarshal.AsSpan(_fragments)[_next..end];
    }

    /// <summary>Forgets the last victim.</summary>
    public void Clear()
    {
        _fragments.Clear();
        _next = 0;
        if (_fragments.Capacity > KeptFragments)
        {
            _fragments.Capacity = KeptFragments;
        }
    }

    /// <summary>Begins again with the first item.</summary>
    public void Rewind() => _next = 0;

    private async ValueTask<RelocationOutcome> FindAsync(Range range, LogPosition position, int limit)
    {
        var disk = _disks[range.Disk];
        for (var from = range.Lba; from < range.End;)
        {
            var (status, count) = await lookup(disk, from, range.End, _found);
            if (status != TreeRead.Ok)
            {
                return RelocationOutcome.IndexDamaged;
            }

            foreach (ref readonly var extent in _found.AsSpan(0, count))
            {
                if (extent.Position == position && extent.Lsn == range.Lsn && extent.Content != MappedContent.Lost)
                {
                    _fragments.Add(new LiveFragment(
                        range.Item, extent.Lba, extent.Sectors, extent.ExtentIndex, extent.Content == MappedContent.Zero));
                }
            }

            if (_fragments.Count > limit)
            {
                return RelocationOutcome.TooMuch;
            }

            from = count == Batch ? _found[count - 1].End : range.End;
        }

        return RelocationOutcome.Done;
    }

    private void CollectRanges(SegmentCatalog catalog)
    {
        _ranges.Clear();
        _disks.Clear();
        _diskOrder.Clear();
        for (var item = 0; item < catalog.Count; item++)
        {
            var header = catalog.Copy(item);
            if (DeviceRecord.IsAt(header))
            {
                continue;
            }

            var fields = EntryHeaderCodec.ReadFields(header, default);
            if (fields.Kind == EntryKind.Update)
            {
                CollectRanges(item, header, fields);
            }
        }

        _ranges.Sort(static (left, right) =>
            left.Disk != right.Disk ? left.Disk.CompareTo(right.Disk) : left.Lba.CompareTo(right.Lba));
    }

    /// <summary>Extents of one entry may overlap: as disjoint ranges, no fragment is found twice.</summary>
    private void CollectRanges(int item, ReadOnlySpan<byte> header, in EntryHeader fields)
    {
        if (!_diskOrder.TryGetValue(fields.Disk, out var disk))
        {
            disk = _disks.Count;
            _diskOrder.Add(fields.Disk, disk);
            _disks.Add(fields.Disk);
        }

        _extents.Clear();
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(header, i);
            _extents.Add((extent.Lba, extent.End));
        }

        _extents.Sort();
        var (from, end) = _extents[0];
        foreach (var next in _extents)
        {
            if (next.Lba > end)
            {
                _ranges.Add(new Range(disk, item, from, end, fields.Lsn));
                (from, end) = next;
            }

            end = Math.Max(end, next.End);
        }

        _ranges.Add(new Range(disk, item, from, end, fields.Lsn));
    }

    private readonly record struct Range(int Disk, int Item, ulong Lba, ulong End, ulong Lsn);
}
