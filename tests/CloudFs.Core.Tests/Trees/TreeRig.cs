using CloudFs.Core.Devices;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Trees;
using Xunit;

namespace CloudFs.Core.Tests.Trees;

/// <summary>Segments as the log's table would give them.</summary>
internal sealed class FakeSegments(int count) : IIndexSegments
{
    private readonly SortedSet<int> _free = [.. Enumerable.Range(0, count)];

    public int Free => _free.Count;

    public int TakeForIndex()
    {
        var segment = _free.Count == 0 ? -1 : _free.Min;
        _free.Remove(segment);
        return segment;
    }

    public void ReleaseIndex(int segment) => Assert.True(_free.Add(segment), "a segment is given back once");

    public bool IsBad(int segment) => false;

    public Task CondemnIndexAsync(int segment, DeviceException why) => Task.CompletedTask;
}

/// <summary>What trees refer to, by position: extents and data sectors.</summary>
internal sealed class TreeReferences : ITreeLiveness
{
    private readonly Dictionary<ulong, (long Extents, long Sectors)> _all = [];

    public long Events { get; private set; }

    public HashSet<ulong> SupersededBy { get; } = [];

    public void Added(in MappedExtent extent) => Change(extent, 1);

    public void Removed(in MappedExtent extent, ulong byLsn)
    {
        SupersededBy.Add(byLsn);
        Change(extent, -1);
    }

    public TreeReferences Copy()
    {
        var copy = new TreeReferences();
        foreach (var (position, sums) in _all)
        {
            copy._all[position] = sums;
        }

        return copy;
    }

    public void AssertIs(IEnumerable<MappedExtent> extents)
    {
        var expected = new TreeReferences();
        foreach (var extent in extents)
        {
            expected.Added(extent);
        }

        Assert.Equal(expected._all.OrderBy(pair => pair.Key), _all.OrderBy(pair => pair.Key));
    }

    private void Change(in MappedExtent extent, int sign)
    {
        Events++;
        var (extents, sectors) = _all.GetValueOrDefault(extent.Position.Value);
        var data = extent.Content == MappedContent.Data ? (long)extent.Sectors : 0;
        _all[extent.Position.Value] = (extents + sign, sectors + (sign * data));
        if (_all[extent.Position.Value] == default)
        {
            _all.Remove(extent.Position.Value);
        }
    }
}

/// <summary>A device in memory with a tree on it.</summary>
internal sealed class TreeRig
{
    public TreeRig(int segments = 6, long cacheBytes = 4 << 20)
    {
        Device = new MemoryDevice(DeviceGeometry.SegmentOffset(segments));
        Segments = new FakeSegments(segments);
        Space = new IndexSpace(Device, Segments);
        Cache = new PageCache(cacheBytes);
        Tree = new PagedTree(Space, Cache, Device);
    }

    public static ExtentRuns NoLayer { get; } = new([]);

    public MemoryDevice Device { get; }

    public FakeSegments Segments { get; }

    public IndexSpace Space { get; }

    public PageCache Cache { get; private set; }

    public PagedTree Tree { get; private set; }

    public TreeReferences References { get; set; } = new();

    public TreeRoot Root { get; set; }

    /// <summary>Layer of extents that need not ascend.</summary>
    public static ExtentRuns Layer(IEnumerable<MappedExtent> extents)
    {
        var map = new ExtentMap(null);
        foreach (var extent in extents)
        {
            map.Apply(extent);
        }

        return map.Runs();
    }

    public static MappedExtent Data(ulong lba, ulong sectors, ulong lsn) => new(
        lba, sectors, MappedContent.Data, 0, lsn, new LogPosition(1 + (lsn / 3000), (uint)(lsn % 3000) * 5120));

    /// <summary>Extents with LSNs and positions from all over, so that few fit a leaf, and trees grow high.</summary>
    public static ExtentRuns Wide(int count) => Layer(Enumerable.Range(0, count).Select(i => new MappedExtent(
        (ulong)i * 16, 8, MappedContent.Data, 0, (ulong)(i + 1) * 0x9E3779B97F4A7, new LogPosition((ulong)(i + 1) * 0x9E3779B97F4A7C00))));

    public void Forget(long cacheBytes = 4 << 20)
    {
        Cache = new PageCache(cacheBytes);
        Tree = new PagedTree(Space, Cache, Device);
    }

    public async Task MergeAsync(ExtentRuns layer, params ExtentMove[] moves) =>
        Root = await Tree.MergeAsync(Root, layer, moves, References);

    public async Task<List<MappedExtent>> AllAsync(TreeRoot? root = null, ulong from = 0)
    {
        var all = new List<MappedExtent>();
        Assert.Equal(TreeRead.Ok, await Tree.WalkAsync(root ?? Root, from, extents =>
        {
            all.AddRange(extents.Span);
            return true;
        }));
        return all;
    }

    public async Task<List<MappedExtent>> FindAsync(ulong lba, ulong end, int atOnce)
    {
        var into = new MappedExtent[atOnce];
        var all = new List<MappedExtent>();
        while (true)
        {
            var (status, count) = await Tree.FindAsync(Root, lba, end, into);
            Assert.Equal(TreeRead.Ok, status);
            all.AddRange(into.AsSpan(0, count));
            if (count < atOnce)
            {
                return all;
            }

            lba = into[count - 1].End;
        }
    }

    /// <summary>Everything that must hold of a tree, whatever is in it.</summary>
    public async Task<List<MappedExtent>> AssertSoundAsync()
    {
        var damage = new List<string>();
        var pages = new HashSet<ulong>();
        var read = await Tree.VerifyAsync(Root, damage.Add, page => Assert.True(pages.Add(page), "a page has one parent"));
        Assert.Empty(damage);
        Assert.Equal((Root.Pages, (long)Root.Pages), ((ulong)pages.Count, read));
        Assert.Equal(pages.Order(), InUse());
        Assert.Equal(pages.Count, Space.PagesInUse);
        var all = await AllAsync();
        References.AssertIs(all);
        Assert.Equal(Root.Extents, (ulong)all.Count);
        Assert.Equal(Root.DataSectors, Sum(all, MappedContent.Data));
        Assert.Equal(Root.LostSectors, Sum(all, MappedContent.Lost));
        return all;
    }

    public IEnumerable<ulong> InUse() => Space.Snapshot()
        .SelectMany(area => Enumerable.Range(0, area.Used.Length * 8)
            .Where(slot => (area.Used[slot / 8] >> (slot % 8) & 1) != 0).Select(slot => IndexPageNumber.Of(area.Segment, slot)));

    public ulong OffsetOf(ulong page)
    {
        Assert.True(IndexPageNumber.TryOffset(page, Device.Length, out var offset));
        return offset;
    }

    private static ulong Sum(IEnumerable<MappedExtent> extents, MappedContent content) =>
        (ulong)extents.Where(extent => extent.Content == content).Sum(extent => (long)extent.Sectors);
}

/// <summary>A disk as an array of sectors: slow, and hard to get wrong.</summary>
internal sealed class SectorModel(int sectors)
{
    private readonly MappedExtent?[] _all = new MappedExtent?[sectors];

    public MappedExtent? this[int lba] => _all[lba];

    public void Apply(ExtentRuns layer, IEnumerable<ExtentMove> moves)
    {
        foreach (var move in moves)
        {
            for (var lba = (int)move.Lba; lba < (int)move.End; lba++)
            {
                if (_all[lba] is { } old && old.Lsn == move.Lsn && old.Position == move.From)
                {
                    _all[lba] = old with { Position = move.To, Content = move.To.IsNone ? MappedContent.Lost : old.Content };
                }
            }
        }

        foreach (var extent in layer.Leaves.SelectMany(leaf => leaf))
        {
            for (var lba = extent.Lba; lba < extent.End; lba++)
            {
                _all[lba] = extent with { Lba = lba, Sectors = 1 };
            }
        }
    }

    public void AssertIs(List<MappedExtent> extents, int from = 0, int? to = null)
    {
        var next = from;
        foreach (var extent in extents)
        {
            Assert.True((int)extent.Lba >= next && extent.Sectors > 0, "extents ascend and don't overlap");
            for (; next < (int)extent.Lba; next++)
            {
                Assert.Null(_all[next]);
            }

            for (; next < (int)extent.End; next++)
            {
                if (_all[next] is not { } expected || !expected.SameSource(extent))
                {
                    Assert.Fail($"sector {next}: {extent} is not {_all[next]}");
                }
            }
        }

        for (; next < (to ?? _all.Length); next++)
        {
            Assert.Null(_all[next]);
        }

        Assert.Equal(to ?? _all.Length, next);
    }
}
