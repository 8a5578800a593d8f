using BenchmarkDotNet.Attributes;
using CloudFs.Core.Format;

namespace CloudFs.Micro;

/// <summary>An entry read back: by a recovery, a mirror or a scrub.</summary>
public class CodecBenchmarks
{
    private SampleEntry _entry = new(1);
    private EntryHeader _fields;

    [Params(1, 256)]
    public int Pages { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _entry = new SampleEntry(Pages);
        ReadHeader();
        VerifyBody();
    }

    /// <summary>All that a header can prove by itself, its id included.</summary>
    [Benchmark]
    public void ReadHeader()
    {
        if (!EntryHeaderCodec.TryReadLengths(_entry.Header, out _, out _, out var error)
            || !EntryHeaderCodec.TryRead(_entry.Header, out _fields, out error))
        {
            throw new InvalidOperationException(error.Text());
        }
    }

    /// <summary>Each page against both of its hashes.</summary>
    [Benchmark]
    public void VerifyBody()
    {
        if (!EntryBody.VerifyPages(_entry.Header, _fields, _entry.Body, out var error, out _))
        {
            throw new InvalidOperationException(error.Text());
        }
    }
}
