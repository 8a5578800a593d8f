using System.Security.Cryptography;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Format;

public sealed class Sha1HashTests
{
    [Fact]
    public void It_is_the_SHA_1_of_any_length()
    {
        var bytes = new byte[70_000];
        new Random(1).NextBytes(bytes);
        int[] lengths = [.. Enumerable.Range(0, 300), 511, 512, 4095, 4096, 4097, 8191, 8192, 8193, bytes.Length];
        foreach (var length in lengths)
        {
            var some = bytes.AsSpan(bytes.Length - length);
            Assert.Equal(new Id160(SHA1.HashData(some)), Sha1Hash.Of(some));
        }
    }
}
