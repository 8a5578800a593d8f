using System.Diagnostics;
using System.Globalization;
using System.Text;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>XXH64 against published values, against the xxhsum tool, and against itself in pieces.</summary>
public sealed class XXH64Tests
{
    [Theory]
    [InlineData("", 0xEF46DB3751D8E999)]
    [InlineData("a", 0xD24EC4F1A98C6E5B)]
    [InlineData("abc", 0x44BC2CF5AD770999)]
    [InlineData("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1)]
    public void A_published_text_has_the_published_digest(string text, ulong digest)
    {
        Assert.Equal(digest, XXH64.DigestOf(Encoding.ASCII.GetBytes(text)));
    }

    [Fact]
    public void Bytes_given_in_pieces_have_the_digest_of_the_whole()
    {
        var chance = new Random(1);
        var data = new byte[300];
        chance.NextBytes(data);
        for (var length = 0; length <= data.Length; length++)
        {
            var hash = default(XXH64);
            for (var at = 0; at < length;)
            {
                var piece = Math.Min(chance.Next(0, 70), length - at);
                hash.Update(data.AsSpan(at, piece));
                at += piece;
            }

            Assert.Equal(XXH64.DigestOf(data.AsSpan(0, length)), hash.Digest());
        }
    }

    [Fact]
    public void A_reset_hash_starts_anew()
    {
        var hash = new XXH64();
        hash.Update("something else"u8);
        hash.Reset();
        hash.Update("abc"u8);

        Assert.Equal(XXH64.DigestOf("abc"u8), hash.Digest());
    }

    [FactIfInstalled("xxhsum")]
    public void Files_of_all_small_lengths_have_the_digest_that_xxhsum_gives()
    {
        var folder = Directory.CreateTempSubdirectory("cloudfs-xxh64-");
        try
        {
            var data = new byte[70_000];
            new Random(2).NextBytes(data);
            var lengths = Enumerable.Range(0, 100).Concat([511, 512, 4096, 65_536, 70_000]).ToList();
            foreach (var length in lengths)
            {
                File.WriteAllBytes(Path.Combine(folder.FullName, $"{length}"), data[..length]);
            }

            var digests = Xxhsum(folder.FullName, lengths);

            Assert.Equal(lengths.Select(length => XXH64.DigestOf(data.AsSpan(0, length))), digests);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static List<ulong> Xxhsum(string folder, IEnumerable<int> names)
    {
        var start = new ProcessStartInfo("xxhsum", ["-H1", .. names.Select(name => $"{name}")])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        var lines = process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        process.WaitForExit();
        return [.. lines.Select(line => ulong.Parse(line.AsSpan(0, 16), NumberStyles.HexNumber, null))];
    }
}
