using System.Security.Cryptography;
using BenchmarkDotNet.Attributes;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Micro;

/// <summary>SHA-1 as the chain uses it, beside .NET's own: 40 bytes are a link of the chain, 4,096 a page.</summary>
public class Sha1Benchmarks
{
    private byte[] _bytes = [];

    [Params(40, 4096)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup() => _bytes = Samples.Bytes(Bytes);

    [Benchmark(Baseline = true)]
    public int DotNet()
    {
        Span<byte> digest = stackalloc byte[SHA1.HashSizeInBytes];
        return SHA1.HashData(_bytes, digest);
    }

    [Benchmark]
    public Id160 Ours() => Sha1Hash.Of(_bytes);
}

/// <summary>XXH64: what every read checks for each page, and every header for itself.</summary>
public class Xxh64Benchmarks
{
    private byte[] _bytes = [];

    [Params(512, 4096, 65536)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup() => _bytes = Samples.Bytes(Bytes);

    [Benchmark]
    public ulong AtOnce() => XXH64.DigestOf(_bytes);

    /// <summary>As a header's check is reckoned: around eight bytes that are taken as zeroes.</summary>
    [Benchmark]
    public ulong InPieces()
    {
        ReadOnlySpan<byte> zeroes = [0, 0, 0, 0, 0, 0, 0, 0];
        var hash = default(XXH64);
        hash.Update(_bytes.AsSpan(0, 120));
        hash.Update(zeroes);
        hash.Update(_bytes.AsSpan(128));
        return hash.Digest();
    }
}
