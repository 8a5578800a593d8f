using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>No single bit of an entry can change unnoticed.</summary>
public sealed class FlippedBitTests
{
    [Theory]
    [InlineData("golden-1")]
    [InlineData("golden-1-compacted")]
    [InlineData("golden-1-forced")]
    [InlineData("golden-1-branch")]
    public void Every_single_flipped_bit_of_a_header_is_refused(string name)
    {
        foreach (var entry in EntryStream.Entries(name + ".stream"))
        {
            for (var bit = 0; bit < entry.Header.Length * 8; bit++)
            {
                Flip(entry.Header, bit);
                if (EntryHeaderCodec.TryRead(entry.Header, out _, out _))
                {
                    Assert.Fail($"{name}: bit {bit} of the header at {entry.Offset} can change unnoticed");
                }

                Flip(entry.Header, bit);
            }
        }
    }

    [Fact]
    public void Every_single_flipped_bit_of_a_body_is_refused()
    {
        foreach (var entry in EntryStream.Entries("golden-1.stream"))
        {
            foreach (var page in EntryPages.Of(entry.Header, entry.Fields))
            {
                var bytes = entry.Body.AsSpan(page.BodyOffset, page.Record.Length);

                // The sixteen pages of the 64 KiB update are as good as one: a sample of their bits does.
                var step = entry.Fields.PageCount == 16 ? 31 : 1;
                for (var bit = 0; bit < bytes.Length * 8; bit += step)
                {
                    Flip(bytes, bit);
                    if (EntryBody.VerifyPage(page.Record, bytes, entry.Fields.Kind) == FormatError.None)
                    {
                        Assert.Fail($"bit {bit} of page {page.Index}, entry at {entry.Offset}, can change unnoticed");
                    }

                    Flip(bytes, bit);
                }
            }
        }
    }

    [Fact]
    public void A_flipped_bit_anywhere_in_a_stream_ends_it_at_that_entry()
    {
        var stream = EntryStream.ReadGolden("golden-1.stream");
        var starts = GoldenJson.Entries.Select(entry => entry.Offset).ToList();
        var chance = new Random(3);
        for (var i = 0; i < 400; i++)
        {
            var bit = chance.Next(stream.Length * 8);
            Flip(stream, bit);
            var verdicts = EntryStream.Verify(new ChainVerifier(), stream);
            Assert.False(verdicts[^1].Accepted);
            Assert.Equal(starts.Count(start => start <= bit / 8), verdicts.Count);
            Flip(stream, bit);
        }
    }

    private static void Flip(Span<byte> bytes, int bit) => bytes[bit / 8] ^= (byte)(1 << (bit % 8));
}
