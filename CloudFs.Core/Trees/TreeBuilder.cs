using CloudFs.Core.Format;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// Makes the pages of a new tree from rows that come in order, level over level. Of each level up to two pages' worth of
/// rows is held back, so that what is left at the end of a run can be split evenly.
/// </summary>
internal sealed class TreeBuilder(IndexSpace space, PageCache cache, PageBatch batch)
{
    /// <summary>A page filled less than this takes in its neighbour, too.</summary>
    private const int SmallBytes = (IndexPageLayout.Size - IndexPageLayout.HeaderBytes) / 4;

    private readonly List<Pending> _levels = [];

    /// <summary>Pages made.</summary>
    public ulong Pages { get; private set; }

    /// <summary>Whether leaves go into the cache: where those did that they replace.</summary>
    public bool AreLeavesCached { get; set; }

    /// <summary>True when rows wait that would make a page so small that its neighbour should share it.</summary>
    /// <param name="level">The level.</param>
    /// <param name="isMoreComing">True when an extent is about to be appended.</param>
    public bool IsSmall(int level, bool isMoreComing)
    {
        var waiting = At(level);
        for (var below = 0; below < level; below++)
        {
            isMoreComing |= _levels[below].Count > 0;
        }

        return waiting.Cut == 0 && waiting.Frame.Bytes < SmallBytes && (waiting.Count > 0 || isMoreComing);
    }

    /// <summary>Takes in a row; pages that become full go to the batch, and rows for them one level up.</summary>
    public void Append(int level, in PageRow row)
    {
        var pending = At(level);
        pending.Total++;
        if (!pending.Frame.TryAdd(row))
        {
            if (pending.Cut > 0)
            {
                Emit(level, pending, pending.Cut);
            }

            pending.Cut = pending.Count;
            pending.Frame = default;
            pending.Frame.TryAdd(row);
        }

        pending.Add(row);
    }

    /// <summary>Takes in a subtree as it is, behind all that came before.</summary>
    public void Graft(int level, in PagePointer child)
    {
        for (var below = 0; below <= level; below++)
        {
            Close(below, isLast: false);
        }

        Append(level + 1, PageRow.Of(child));
    }

    /// <summary>No more comes: the root's page and check, and how many levels there are. No page for no extents.</summary>
    public (PagePointer Root, int Height) Finish()
    {
        for (var level = 0; level < _levels.Count; level++)
        {
            if (level > 0 && _levels[level].Total == 1 && _levels.FindLastIndex(above => above.Total > 0) == level)
            {
                return (ChildOf(_levels[level].Rows[0]), level);
            }

            Close(level, isLast: true);
        }

        return default;
    }

    private static PagePointer ChildOf(in PageRow row) => new(row[0], row[1], row[2]);

    private Pending At(int level)
    {
        while (_levels.Count <= level)
        {
            _levels.Add(new Pending());
        }

        return _levels[level];
    }

    /// <summary>Makes pages of all that waits: evenly filled ones, but at the tree's end full ones.</summary>
    private void Close(int level, bool isLast)
    {
        var pending = At(level);
        if (pending.Cut > 0)
        {
            var half = pending.Count / 2;
            var isEven = !isLast && PageFrame.Fits(pending.Rows.AsSpan(0, half))
                && PageFrame.Fits(pending.Rows.AsSpan(half, pending.Count - half));
            Emit(level, pending, isEven ? half : pending.Cut);
        }

        if (pending.Count > 0)
        {
            Emit(level, pending, pending.Count);
        }

        (pending.Cut, pending.Frame) = (0, default);
    }

    private void Emit(int level, Pending pending, int count)
    {
        var page = space.Allocate();
        var bytes = batch.Add(page);
        PageFrame.Write(bytes, level, pending.Rows.AsSpan(0, count));
        var child = new PagePointer(pending.Rows[0].Key, page, XXH64.DigestOf(bytes));
        if (level > 0 || AreLeavesCached)
        {
            cache.Add(page, child.Check, bytes);
        }

        pending.RemoveFirst(count);
        Pages++;
        Append(level + 1, PageRow.Of(child));
    }

    /// <summary>The rows of a level that are in no page yet.</summary>
    private sealed class Pending
    {
        private PageRow[] _rows = new PageRow[64];

        /// <summary>The frame of those behind the cut.</summary>
        public PageFrame Frame;

        public PageRow[] Rows => _rows;

        public int Count { get; private set; }

        /// <summary>The first so many make a full page; 0 while there is none.</summary>
        public int Cut { get; set; }

        /// <summary>Rows that ever came.</summary>
        public long Total { get; set; }

        public void Add(in PageRow row)
        {
            if (Count == _rows.Length)
            {
                Array.Resize(ref _rows, Count * 2);
            }

            _rows[Count++] = row;
        }

        public void RemoveFirst(int count)
        {
            Array.Copy(_rows, count, _rows, 0, Count - count);
            Count -= count;
        }
    }
}
