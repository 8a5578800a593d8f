using CloudFs.Core.Caches;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// A look-up under way: which page it needs next, and what it found so far. Each page is looked at once, within the cache's
/// lock or in a buffer, so that nothing is held in between.
/// </summary>
internal struct TreeFind : FrameCache.IVisitor
{
    private readonly TreeRoot _root;
    private readonly ulong _end;
    private readonly Memory<MappedExtent> _into;
    private ulong _lba;
    private ulong _next;

    public TreeFind(in TreeRoot root, ulong lba, ulong end, Memory<MappedExtent> into)
    {
        _root = root;
        _lba = lba;
        _end = end;
        _into = into;
        if (root.IsEmpty || lba >= end || into.IsEmpty)
        {
            IsDone = true;
        }
        else
        {
            IsMismatch = root.Height is < 1 or > IndexPageLayout.HeightMax;
            IsDone = IsMismatch;
            StartAtRoot();
        }
    }

    public bool IsDone { get; private set; }

    public bool IsMismatch { get; set; }

    public int Found { get; private set; }

    public ulong Page { get; private set; }

    public ulong Check { get; private set; }

    public int Level { get; private set; }

    public void Visit(ReadOnlySpan<byte> bytes)
    {
        var page = new IndexPage(bytes);
        if (page.Level != Level)
        {
            (IsDone, IsMismatch) = (true, true);
            return;
        }

        var row = Math.Max(page.LastAtOrBefore(_lba), 0);
        if (Level > 0)
        {
            // The lowest level that has a neighbour to the right tells where the next leaf begins.
            _next = row + 1 < page.Count ? page.Key(row + 1) : _next;
            var child = page.Child(row);
            (Page, Check, Level) = (child.Page, child.Check, Level - 1);
            return;
        }

        Take(page, row);
        if (!IsDone)
        {
            _lba = _next;
            IsDone = _lba >= _end;
            StartAtRoot();
        }
    }

    private void Take(in IndexPage page, int row)
    {
        var extents = page.Extents();
        for (; row < page.Count; row++)
        {
            var extent = extents[row];
            if (extent.Lba >= _end)
            {
                IsDone = true;
                return;
            }

            if (extent.End > _lba)
            {
                _into.Span[Found++] = extent.Clip(_lba, _end);
                if (Found == _into.Length)
                {
                    IsDone = true;
                    return;
                }
            }
        }
    }

    private void StartAtRoot() => (Page, Check, Level, _next) = (_root.Page, _root.Check, _root.Height - 1, ulong.MaxValue);
}
