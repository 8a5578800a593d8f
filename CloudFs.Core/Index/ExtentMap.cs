using CloudFs.Core.Primitives;

namespace CloudFs.Core.Index;

/// <summary>
/// The extent map in memory: leaves of up to 128 sorted extents under one sorted array, so that lookups are two binary
/// searches over memory that lies together.
/// </summary>
public sealed class ExtentMap(ILiveness? liveness)
{
    /// <summary>5 KiB a leaf: an insertion moves 2.5 KiB on average, and a million extents need 8,000 leaves.</summary>
    private const int LeafCapacity = 128;

    private readonly List<Leaf> _leaves = [];

    /// <summary>One that fell empty: whoever writes the same few pages again and again would make a leaf for each write.</summary>
    private Leaf? _spare;

    public int Count { get; private set; }

    public ulong DataSectors { get; private set; }

    public ulong LostSectors { get; private set; }

    public void Apply(in MappedExtent extent)
    {
        Invariant.That(extent.Sectors > 0, "an extent maps at least one sector");
        RemoveRange(extent.Lba, extent.End);
        var (leaf, item) = Seek(extent.Lba);
        if (TryJoinBefore(leaf, item, extent))
        {
            return;
        }

        Insert(leaf, item, extent);
    }

    /// <summary>
    /// Maps a run of sectors only where nothing newer is mapped: for a rebuild, which finds entries in any order. Of two copies
    /// of one entry the later one counts, but never one whose bytes are lost.
    /// </summary>
    public void ApplyNewest(in MappedExtent extent)
    {
        Span<MappedExtent> found = stackalloc MappedExtent[8];
        for (var lba = extent.Lba; lba < extent.End;)
        {
            var count = Find(lba, extent.End, found);
            var to = count == found.Length ? found[count - 1].End : extent.End;
            for (var i = 0; i < count; i++)
            {
                if (!found[i].IsOlderThan(extent))
                {
                    ApplyWithin(extent, lba, found[i].Lba);
                    lba = found[i].End;
                }
            }

            ApplyWithin(extent, lba, to);
            lba = to;
        }
    }

    private void ApplyWithin(in MappedExtent extent, ulong from, ulong to)
    {
        if (from < to)
        {
            Apply(extent.Clip(from, to));
        }
    }

    public void Clear()
    {
        foreach (var leaf in _leaves)
        {
            for (var i = 0; i < leaf.Count; i++)
            {
                Forget(leaf.Items[i]);
            }
        }

        _leaves.Clear();
    }

    public int Find(ulong lba, ulong end, Span<MappedExtent> into)
    {
        var found = 0;
        var (leaf, item) = Seek(lba);
        while (found < into.Length && leaf < _leaves.Count)
        {
            if (item == _leaves[leaf].Count)
            {
                leaf++;
                item = 0;
                continue;
            }

            ref readonly var extent = ref _leaves[leaf].Items[item++];
            if (extent.Lba >= end)
            {
                break;
            }

            into[found++] = extent.Clip(lba, end);
        }

        return found;
    }

    /// <summary>What it maps now, in the map's own memory: good until the next change. Frozen layers have none.</summary>
    public ExtentRuns Runs() => new([.. _leaves.Select(leaf => new ArraySegment<MappedExtent>(leaf.Items, 0, leaf.Count))]);

    /// <summary>The place of the first extent that ends after <paramref name="lba"/>; past the end where there is none.</summary>
    private (int Leaf, int Item) Seek(ulong lba)
    {
        var low = 0;
        var high = _leaves.Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_leaves[middle].Last.End > lba)
            {
                high = middle;
            }
            else
            {
                low = middle + 1;
            }
        }

        return low == _leaves.Count ? (low, 0) : (low, _leaves[low].FirstEndingAfter(lba));
    }

    private void RemoveRange(ulong from, ulong to)
    {
        var (index, item) = Seek(from);
        while (index < _leaves.Count)
        {
            if (item == _leaves[index].Count)
            {
                index++;
                item = 0;
                continue;
            }

            if (_leaves[index].Items[item].Lba >= to)
            {
                return;
            }

            if (item == 0 && _leaves[index].Items[0].Lba >= from && _leaves[index].Last.End <= to)
            {
                RemoveLeaves(index, to);
                continue;
            }

            var leaf = _leaves[index];
            var extent = leaf.Items[item];
            Forget(extent);
            if (extent.Lba < from)
            {
                leaf.Items[item] = Remember(extent.Clip(extent.Lba, from));
                item++;
                if (extent.End > to)
                {
                    Insert(index, item, extent.Clip(to, extent.End));
                    return;
                }
            }
            else if (extent.End > to)
            {
                leaf.Items[item] = Remember(extent.Clip(to, extent.End));
                return;
            }
            else
            {
                item = RemoveContained(index, item, to);
            }
        }
    }

    /// <summary>Drops the run of whole leaves that end by <paramref name="to"/>: a trim of the whole disk moves no extent.</summary>
    private void RemoveLeaves(int index, ulong to)
    {
        var last = index;
        for (; last < _leaves.Count && _leaves[last].Last.End <= to; last++)
        {
            for (var i = 0; i < _leaves[last].Count; i++)
            {
                Forget(_leaves[last].Items[i]);
            }
        }

        Spare(_leaves[index]);
        _leaves.RemoveRange(index, last - index);
    }

    /// <summary>Drops the extents from an item on that lie wholly below <paramref name="to"/>; the first is forgotten already.</summary>
    private int RemoveContained(int index, int item, ulong to)
    {
        var leaf = _leaves[index];
        var last = item + 1;
        while (last < leaf.Count && leaf.Items[last].End <= to)
        {
            Forget(leaf.Items[last++]);
        }

        leaf.RemoveAt(item, last - item);
        if (leaf.Count == 0)
        {
            Spare(leaf);
            _leaves.RemoveAt(index);
            return 0;
        }

        return item;
    }

    private bool TryJoinBefore(int index, int item, in MappedExtent extent)
    {
        if (item == 0)
        {
            if (index == 0)
            {
                return false;
            }

            index--;
            item = _leaves[index].Count;
        }

        var before = _leaves[index].Items[item - 1];
        if (before.End != extent.Lba || !before.SameSource(extent))
        {
            return false;
        }

        Count -= 1;
        Tally(before, -1);
        liveness?.Removed(before);
        _leaves[index].Items[item - 1] = Remember(before with { Sectors = before.Sectors + extent.Sectors });
        return true;
    }

    private void Insert(int index, int item, in MappedExtent extent)
    {
        if (index == _leaves.Count)
        {
            if (index > 0 && _leaves[index - 1].Count < LeafCapacity)
            {
                index--;
                item = _leaves[index].Count;
            }
            else
            {
                _leaves.Add(TakeSpare());
            }
        }

        var leaf = _leaves[index];
        if (leaf.Count == LeafCapacity)
        {
            // Ascending writes fill leaves to the brim; others split in the middle.
            var at = item == LeafCapacity && index == _leaves.Count - 1 ? LeafCapacity : LeafCapacity / 2;
            _leaves.Insert(index + 1, leaf.SplitAt(at, TakeSpare()));
            if (item > at || at == LeafCapacity)
            {
                index++;
                item -= at;
                leaf = _leaves[index];
            }
        }

        leaf.InsertAt(item, Remember(extent));
    }

    private void Spare(Leaf leaf)
    {
        leaf.Clear();
        _spare = leaf;
    }

    private Leaf TakeSpare()
    {
        var leaf = _spare ?? new Leaf();
        _spare = null;
        return leaf;
    }

    private MappedExtent Remember(in MappedExtent extent)
    {
        Count++;
        Tally(extent, 1);
        liveness?.Added(extent);
        return extent;
    }

    private void Forget(in MappedExtent extent)
    {
        Count--;
        Tally(extent, -1);
        liveness?.Removed(extent);
    }

    private void Tally(in MappedExtent extent, int sign)
    {
        var sectors = unchecked((ulong)((long)extent.Sectors * sign));
        unchecked
        {
            DataSectors += extent.Content == MappedContent.Data ? sectors : 0;
            LostSectors += extent.Content == MappedContent.Lost ? sectors : 0;
        }
    }

    private sealed class Leaf
    {
        public MappedExtent[] Items { get; } = new MappedExtent[LeafCapacity];

        public int Count { get; private set; }

        public ref readonly MappedExtent Last => ref Items[Count - 1];

        public int FirstEndingAfter(ulong lba)
        {
            var low = 0;
            var high = Count;
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (Items[middle].End > lba)
                {
                    high = middle;
                }
                else
                {
                    low = middle + 1;
                }
            }

            return low;
        }

        public void InsertAt(int item, in MappedExtent extent)
        {
            Array.Copy(Items, item, Items, item + 1, Count - item);
            Items[item] = extent;
            Count++;
        }

        public void RemoveAt(int item, int count)
        {
            Array.Copy(Items, item + count, Items, item, Count - item - count);
            Count -= count;
        }

        public void Clear() => Count = 0;

        /// <summary>Moves what stands from an item on into an empty leaf.</summary>
        public Leaf SplitAt(int item, Leaf right)
        {
            right.Count = Count - item;
            Array.Copy(Items, item, right.Items, 0, right.Count);
            Count = item;
            return right;
        }
    }
}

/// <summary>All that a map holds: sorted runs of extents.</summary>
public sealed class ExtentRuns(IReadOnlyList<ArraySegment<MappedExtent>> leaves)
{
    /// <summary>Extents in all.</summary>
    public int Count => leaves.Sum(leaf => leaf.Count);

    /// <summary>The runs, in the order of their sectors.</summary>
    public IReadOnlyList<ArraySegment<MappedExtent>> Leaves => leaves;
}
