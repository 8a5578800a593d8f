using BenchmarkDotNet.Attributes;
using CloudFs.Core.Index;

namespace CloudFs.Micro;

/// <summary>What a write does to its disk's map, and what a checkpoint makes of many.</summary>
public class IndexApplyBenchmarks
{
    private const int Pages = 1 << 18;

    /// <summary>Writes between two checkpoints, of a disk that is written at leisure.</summary>
    private const int LayerPages = 1 << 12;

    private readonly int[] _written = Samples.Shuffled(1 << 16, Pages);
    private readonly ExtentMap _full = new(null);
    private TreeRig? _tree;
    private int _next;
    private ulong _lsn;

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _tree = new TreeRig();
        for (var i = 0; i < Pages; i++)
        {
            _full.Apply(Samples.Page(i, ++_lsn));
        }

        await _tree.MergeAsync(_full.Runs());
    }

    [GlobalCleanup]
    public void Cleanup() => _tree?.Dispose();

    /// <summary>A page written again, in a layer that has all pages of 1 GiB.</summary>
    [Benchmark]
    public void Overwrite() => _full.Apply(Samples.Page(Next(), ++_lsn));

    /// <summary>Pages at random into a new layer; the memory is the layer's.</summary>
    [Benchmark(OperationsPerInvoke = LayerPages)]
    public ExtentMap NewLayerAtRandom()
    {
        var map = new ExtentMap(null);
        for (var i = 0; i < LayerPages; i++)
        {
            map.Apply(Samples.Page(Next(), ++_lsn));
        }

        return map;
    }

    /// <summary>The same in ascending order.</summary>
    [Benchmark(OperationsPerInvoke = LayerPages)]
    public ExtentMap NewLayerInOrder()
    {
        var map = new ExtentMap(null);
        for (var i = 0; i < LayerPages; i++)
        {
            map.Apply(Samples.Page(i, ++_lsn));
        }

        return map;
    }

    /// <summary>A random layer made, and merged into a tree of 1 GiB on a file: every leaf is written anew.</summary>
    [Benchmark(OperationsPerInvoke = LayerPages)]
    public Task LayerAndMerge() => _tree!.MergeAsync(NewLayerAtRandom().Runs());

    private int Next() => _written[_next++ & (_written.Length - 1)];
}
