using System.Buffers.Binary;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>Each rule of a header, broken alone, gives its own error. LSN 4 has extents data, zero, data and two
/// pages.</summary>
public sealed class EntryHeaderCodecTests
{
    private const int FirstExtent = EntryLayout.FixedSize;
    private const int ZeroExtent = FirstExtent + EntryLayout.ExtentSize;
    private const int FirstPage = FirstExtent + (3 * EntryLayout.ExtentSize);
    private const int PaddingStart = FirstPage + (2 * EntryLayout.PageRecordSize);

    private static readonly StoredEntry View = EntryStream.Entries("golden-1.stream")[0];
    private static readonly StoredEntry Update = EntryStream.Entries("golden-1.stream")[3];

    [Theory]
    [InlineData(EntryLayout.MagicOffset + 3, 'e', FormatError.Magic)]
    [InlineData(EntryLayout.FormatOffset, 2, FormatError.FormatVersion)]
    [InlineData(EntryLayout.FormatOffset, 0, FormatError.FormatVersion)]
    [InlineData(EntryLayout.KindOffset, 0, FormatError.Kind)]
    [InlineData(EntryLayout.KindOffset, 5, FormatError.Kind)]
    [InlineData(EntryLayout.DigestOffset, 2, FormatError.Digest)]
    [InlineData(EntryLayout.FlagsOffset, 2, FormatError.Flags)]
    [InlineData(EntryLayout.HeaderLengthOffset, 1, FormatError.HeaderLength)]
    [InlineData(EntryLayout.HeaderLengthOffset + 1, 0, FormatError.HeaderLength)]
    [InlineData(EntryLayout.HeaderLengthOffset + 2, 1, FormatError.HeaderLength)]
    [InlineData(EntryLayout.HeaderLengthOffset + 3, 0x80, FormatError.HeaderLength)]
    [InlineData(EntryLayout.BodyLengthOffset, 1, FormatError.BodyLength)]
    [InlineData(EntryLayout.BodyLengthOffset + 2, 0x11, FormatError.BodyLength)]
    [InlineData(EntryLayout.BodyLengthOffset + 3, 0x80, FormatError.BodyLength)]
    public void A_byte_of_the_framing_that_breaks_a_rule_is_refused_before_anything_is_allocated(
        int offset, int value, FormatError expected)
    {
        var header = Mutants.Of(Update, bytes => bytes[offset] = (byte)value);

        Assert.False(EntryHeaderCodec.TryReadLengths(header, out var headerLength, out var bodyLength, out var error));
        Assert.Equal((expected, 0, 0), (error, headerLength, bodyLength));
        Assert.Equal(expected, ErrorOf(header));
    }

    [Theory]
    [InlineData(EntryLayout.HeaderLengthOffset + 1, 4, FormatError.HeaderSize)]
    [InlineData(EntryLayout.BodyLengthOffset + 1, 0x22, FormatError.BodySum)]
    [InlineData(EntryLayout.ExtentCountOffset, 60, FormatError.Counts)]
    [InlineData(EntryLayout.ExtentCountOffset, 2, FormatError.PageSectors)]
    [InlineData(EntryLayout.PageCountOffset, 1, FormatError.PageCount)]
    [InlineData(EntryLayout.PageCountOffset, 3, FormatError.PageCount)]
    [InlineData(EntryLayout.ReservedOffset, 1, FormatError.Reserved)]
    [InlineData(EntryLayout.ReservedOffset + 15, 1, FormatError.Reserved)]
    [InlineData(FirstExtent + EntryLayout.ExtentLbaOffset, 63, FormatError.PageSectors)]
    [InlineData(FirstExtent + EntryLayout.ExtentLbaOffset + 7, 1, FormatError.ExtentRange)]
    [InlineData(FirstExtent + EntryLayout.ExtentSectorsOffset, 0, FormatError.ExtentSectors)]
    [InlineData(FirstExtent + EntryLayout.ExtentSectorsOffset, 7, FormatError.PageSectors)]
    [InlineData(FirstExtent + EntryLayout.ExtentSectorsOffset + 3, 0xFF, FormatError.PageCount)]
    [InlineData(FirstExtent + EntryLayout.ExtentKindOffset, 2, FormatError.ExtentKind)]
    [InlineData(FirstExtent + EntryLayout.ExtentKindOffset, 1, FormatError.PageCount)]
    [InlineData(ZeroExtent + EntryLayout.ExtentKindOffset, 0, FormatError.PageCount)]
    [InlineData(FirstExtent + EntryLayout.ExtentReservedOffset + 2, 1, FormatError.ExtentReserved)]
    [InlineData(FirstPage + EntryLayout.PageSectorsOffset, 0, FormatError.PageSectors)]
    [InlineData(FirstPage + EntryLayout.PageSectorsOffset, 9, FormatError.PageSectors)]
    [InlineData(FirstPage + EntryLayout.PageStateOffset, 2, FormatError.PageState)]
    [InlineData(FirstPage + EntryLayout.PageStateOffset, 1, FormatError.CompactedFlag)]
    [InlineData(EntryLayout.FlagsOffset, 1, FormatError.CompactedFlag)]
    [InlineData(FirstPage + EntryLayout.PageReservedOffset, 1, FormatError.PageReserved)]
    [InlineData(PaddingStart, 1, FormatError.Padding)]
    [InlineData(511, 1, FormatError.Padding)]
    [InlineData(EntryLayout.LsnOffset, 5, FormatError.Id)]
    [InlineData(EntryLayout.TimeOffset, 0, FormatError.Id)]
    [InlineData(EntryLayout.PreviousOffset, 0, FormatError.Id)]
    [InlineData(EntryLayout.ParentOffset, 0, FormatError.Id)]
    [InlineData(EntryLayout.LockOffset, 0, FormatError.Id)]
    [InlineData(EntryLayout.IdOffset, 0, FormatError.Id)]
    [InlineData(ZeroExtent + EntryLayout.ExtentLbaOffset, 0, FormatError.Id)]
    [InlineData(FirstPage + EntryLayout.PageSha1Offset, 0, FormatError.Id)]
    public void A_byte_of_an_update_that_breaks_a_rule_is_refused_for_that_rule(
        int offset, int value, FormatError expected)
    {
        Assert.Equal(expected, ErrorOf(Mutants.Of(Update, bytes => bytes[offset] = (byte)value)));
    }

    [Theory]
    [InlineData(EntryLayout.FlagsOffset, 1, FormatError.Flags)]
    [InlineData(EntryLayout.BodyLengthOffset + 1, 0, FormatError.BodyLength)]
    [InlineData(EntryLayout.BodyLengthOffset + 1, 2, FormatError.PageSectors)]
    [InlineData(EntryLayout.BodyLengthOffset + 1, 0x12, FormatError.PageCount)]
    [InlineData(EntryLayout.ExtentCountOffset, 1, FormatError.UnexpectedExtents)]
    [InlineData(EntryLayout.PageCountOffset, 0, FormatError.PageCount)]
    [InlineData(EntryLayout.FixedSize + EntryLayout.PageStateOffset, 1, FormatError.PageDropped)]
    [InlineData(EntryLayout.KindOffset, 1, FormatError.EmptyUpdate)]
    [InlineData(EntryLayout.KindOffset, 3, FormatError.Id)]
    [InlineData(EntryLayout.LsnOffset, 0, FormatError.Lsn)]
    public void A_byte_of_a_view_that_breaks_a_rule_is_refused_for_that_rule(
        int offset, int value, FormatError expected)
    {
        Assert.Equal(expected, ErrorOf(Mutants.Of(View, bytes => bytes[offset] = (byte)value)));
    }

    [Fact]
    public void A_check_that_is_not_the_headers_is_refused()
    {
        var header = (byte[])Update.Header.Clone();
        header[EntryLayout.CheckOffset] ^= 1;

        Assert.Equal(FormatError.Check, ErrorOf(header));
    }

    [Fact]
    public void Every_shorter_or_longer_piece_is_refused()
    {
        for (var length = 0; length < Update.Header.Length; length++)
        {
            var expected = length < EntryLayout.FramingSize ? FormatError.Cut : FormatError.HeaderSize;
            Assert.Equal(expected, ErrorOf(Update.Header[..length]));
        }

        Assert.Equal(FormatError.HeaderSize, ErrorOf([.. Update.Header, 0]));
    }

    [Fact]
    public void An_extent_may_end_at_the_last_sector_and_not_beyond()
    {
        Assert.Equal(FormatError.None, WithZeroExtentAt(EntryLayout.MaxSector - 8));
        Assert.Equal(FormatError.ExtentRange, WithZeroExtentAt(EntryLayout.MaxSector - 7));
        Assert.Equal(FormatError.ExtentRange, WithZeroExtentAt(ulong.MaxValue - 7));
        Assert.Equal(FormatError.ExtentRange, WithZeroExtentAt(ulong.MaxValue));
    }

    [Fact]
    public void A_dropped_page_needs_the_flag_and_takes_its_bytes_out_of_the_length()
    {
        void Drop(byte[] bytes)
        {
            bytes[FirstPage + EntryLayout.PageStateOffset] = 1;
            bytes[EntryLayout.FlagsOffset] = 1;
        }

        Assert.Equal(FormatError.BodySum, ErrorOf(Mutants.Of(Update, Drop)));
        Assert.Equal(FormatError.None, ErrorOf(Mutants.Of(Update, bytes =>
        {
            Drop(bytes);
            bytes[EntryLayout.BodyLengthOffset + 1] -= 0x10;
        })));
    }

    [Fact]
    public void The_body_must_be_as_long_as_stated_and_a_bad_page_is_named()
    {
        var fields = Update.Fields;
        Assert.False(EntryBody.VerifyPages(Update.Header, fields, Update.Body.AsSpan(1), out var error, out var page));
        Assert.Equal((FormatError.BodySize, -1), (error, page));

        var body = (byte[])Update.Body.Clone();
        body[5000] ^= 1;
        Assert.False(EntryBody.VerifyPages(Update.Header, fields, body, out error, out page));
        Assert.Equal((FormatError.PageXxh64, 1), (error, page));
    }

    [Fact]
    public void A_page_with_the_right_checksum_but_another_digest_is_refused()
    {
        var record = PageRecord.Of(Update.Body.AsSpan(0, EntryLayout.PageSize));
        var other = record with { Sha1 = default };

        var page = Update.Body.AsSpan(0, EntryLayout.PageSize);
        Assert.Equal(FormatError.PageSha1, EntryBody.VerifyPage(other, page, EntryKind.Update));
    }

    private static FormatError WithZeroExtentAt(ulong lba) => ErrorOf(Mutants.Of(
        Update,
        bytes => BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(ZeroExtent), lba),
        mendId: true));

    private static FormatError ErrorOf(byte[] header)
    {
        var sound = EntryHeaderCodec.TryRead(header, out _, out var error);
        Assert.Equal(sound, error == FormatError.None);
        return error;
    }
}
