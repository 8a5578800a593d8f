using BenchmarkDotNet.Attributes;
using CloudFs.Core.Disks;

namespace CloudFs.Micro;

/// <summary>What a write of 4 KiB, 128 KiB and 1 MiB costs before it is in the log.</summary>
public class SealBenchmarks
{
    private SampleEntry _entry = new(1);
    private byte[] _header = [];

    [Params(1, 32, 256)]
    public int Pages { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _entry = new SampleEntry(Pages);
        _header = new byte[_entry.Header.Length];
    }

    /// <summary>Outside of all locks: both hashes of each page.</summary>
    [Benchmark]
    public int CutAndHash()
    {
        var draft = WriteDraft.Rent();
        var taken = draft.Cut(4096, _entry.Body);
        WriteDraft.Return(draft);
        return taken;
    }

    /// <summary>Under the disk's gate and the log's: the header, its check, and five links of the chain.</summary>
    [Benchmark]
    public int Seal() => _entry.SealInto(_header).HeaderLength;
}
