using BenchmarkDotNet.Attributes;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;

namespace CloudFs.Micro;

/// <summary>Where one page lies, of 262,144 that were each written by an entry of its own: a disk of 1 GiB, written at random.</summary>
public class IndexLookupBenchmarks
{
    private const int Pages = 1 << 18;

    /// <summary>Pages that were written since the last checkpoint, or the one before.</summary>
    private const int LayerPages = 1 << 13;

    private readonly int[] _asked = Samples.Shuffled(1 << 16, Pages);
    private readonly MappedExtent[] _into = new MappedExtent[8];
    private readonly ExtentMap _map = new(null);
    private readonly ReadCache _cache = new(64 << 20);
    private readonly MappedExtent[] _kept = new MappedExtent[LayerPages];
    private readonly byte[] _page = new byte[EntryLayout.PageSize];
    private DiskMap _layers = new(null);
    private TreeRig? _tree;
    private int _next;

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _tree = new TreeRig();
        var order = Samples.Shuffled(Pages, Pages);
        for (var i = 0; i < Pages; i++)
        {
            _map.Apply(Samples.Page(order[i], (ulong)i + 1));
        }

        await _tree.MergeAsync(_map.Runs());
        await _tree.WarmAsync();
        _layers = new DiskMap(null);
        _layers.Restore(_tree.Root, lsn: Pages);
        for (var i = 0; i < 2 * LayerPages; i++)
        {
            _layers.Apply(Samples.Page(_asked[^(1 + i)], (ulong)(Pages + i)));
            if (i == LayerPages)
            {
                _layers.Freeze();
            }
        }

        for (var i = 0; i < LayerPages; i++)
        {
            _kept[i] = Samples.Page(_asked[i], (ulong)i + 1);
            _cache.Add(new ReadCache.Pages(Samples.Disk, _kept[i].Lsn, _kept[i].Position, 0), _kept[i].Lba, _page);
        }
    }

    [GlobalCleanup]
    public void Cleanup() => _tree?.Dispose();

    /// <summary>The map of one layer.</summary>
    [Benchmark]
    public int InOneLayer()
    {
        var (lba, end) = Next();
        return _map.Find(lba, end, _into);
    }

    /// <summary>Two layers, and that the tree below them must be asked.</summary>
    [Benchmark]
    public int ThroughTheLayers()
    {
        var (lba, end) = Next();
        return _layers.Look(lba, end, _into, out _);
    }

    /// <summary>The tree on the device, its pages in the cache.</summary>
    [Benchmark]
    public int InTheTree()
    {
        var (lba, end) = Next();
        var find = _tree!.Tree.FindAsync(_tree.Root, lba, end, _into);
        return find.IsCompletedSuccessfully ? find.Result.Count : throw new InvalidOperationException("all pages are cached");
    }

    /// <summary>What comes after it in a cached read: 4 KiB out of the read cache.</summary>
    [Benchmark]
    public ulong CachedPage()
    {
        var sectors = _cache.CopyStart(_kept[_next++ & (LayerPages - 1)], Samples.Disk, _page);
        return sectors > 0 ? sectors : throw new InvalidOperationException("the page was put there");
    }

    private (ulong Lba, ulong End) Next()
    {
        var lba = (ulong)_asked[_next++ & (_asked.Length - 1)] * EntryLayout.PageSectors;
        return (lba, lba + EntryLayout.PageSectors);
    }
}
