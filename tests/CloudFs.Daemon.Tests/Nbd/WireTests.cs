using System.Text;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>The bytes of the protocol, held against numbers written down here from its text.</summary>
public sealed class WireTests
{
    [Fact]
    public void Codes_are_the_protocols()
    {
        Assert.Equal([1U, 2, 3, 6, 7, 8, 9, 10], Enum.GetValues<NbdOption>().Select(v => (uint)v));
        Assert.Equal(
            [1U, 2, 3, 4, 0x80000001, 0x80000002, 0x80000003, 0x80000006, 0x80000007],
            Enum.GetValues<OptionReply>().Select(v => (uint)v));
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], Enum.GetValues<NbdCommand>().Select(v => (int)v));
        Assert.Equal([0, 1, 2, 4, 8, 16], Enum.GetValues<CommandFlags>().Select(v => (int)v));
        Assert.Equal([0, 1, 2, 5, 0x8001], Enum.GetValues<ChunkType>().Select(v => (int)v));
        Assert.Equal([0U, 1, 5, 22, 28, 75, 108], Enum.GetValues<NbdError>().Select(v => (uint)v));
        Assert.Equal([0, 1, 2, 3], Enum.GetValues<NbdInfo>().Select(v => (int)v));
        Assert.Equal(
            [1, 2, 4, 8, 32, 64, 128, 256, 1024, 2048],
            Enum.GetValues<TransmissionFlags>().Select(v => (int)v));
    }

    [Fact]
    public void A_request_is_read_as_it_lies_on_the_wire()
    {
        var bytes = Convert.FromHexString(
            "25609513" + "0011" + "0006" + "0102030405060708" + "0000010000000200" + "fffffe00");
        var request = NbdRequest.Read(bytes);
        Assert.Equal(
            new NbdRequest(
                CommandFlags.Fua | CommandFlags.FastZero,
                NbdCommand.WriteZeroes,
                0x0102030405060708,
                0x0000010000000200,
                0xfffffe00),
            request);
        bytes[0] = 0x26;
        Assert.Throws<NbdProtocolException>(() => NbdRequest.Read(bytes));
    }

    [Fact]
    public void Replies_are_written_as_they_lie_on_the_wire()
    {
        const ulong Cookie = 0x0102030405060708;
        var to = new byte[64];
        ReplyWriter.WriteSimple(to, NbdError.NoSpace, Cookie);
        Expect("67446698" + "0000001c" + "0102030405060708", to);
        ReplyWriter.WriteDataHeader(to, ChunkFlags.Done, Cookie, 0x200, 512);
        Expect("668e33ef" + "0001" + "0001" + "0102030405060708" + "00000208" + "0000000000000200", to);
        ReplyWriter.WriteHole(to, ChunkFlags.None, Cookie, 0x200, 0x1000);
        Expect("668e33ef" + "0000" + "0002" + "0102030405060708" + "0000000c" + "0000000000000200" + "00001000", to);
        ReplyWriter.WriteError(to, NbdError.Io, Cookie, "oh"u8);
        Expect("668e33ef" + "0001" + "8001" + "0102030405060708" + "00000008" + "00000005" + "0002" + "6f68", to);
        ReplyWriter.WriteBlockStatusHeader(to, Cookie, 1, 2);
        Expect("668e33ef" + "0001" + "0005" + "0102030405060708" + "00000014" + "00000001", to);
        ReplyWriter.WriteDescriptor(to, 0x1000, AllocationState.Hole | AllocationState.Zero);
        Expect("00001000" + "00000003", to);
    }

    [Theory]
    [InlineData("", true)]
    [InlineData("demo", true)]
    [InlineData("größe", true)]
    [InlineData("a\0b", false)]
    public void Strings_are_utf8_without_nul(string text, bool isGood)
    {
        Assert.Equal(isGood, OptionCodec.TryReadString(Encoding.UTF8.GetBytes(text), out var read));
        Assert.Equal(isGood ? text : "", read);
    }

    [Fact]
    public void Strings_are_bounded_and_valid()
    {
        Assert.True(OptionCodec.TryReadString(new string('x', 4096).Select(c => (byte)c).ToArray(), out _));
        Assert.False(OptionCodec.TryReadString(new string('x', 4097).Select(c => (byte)c).ToArray(), out _));
        Assert.False(OptionCodec.TryReadString([0xc3, 0x28], out _));
    }

    [Theory]
    [InlineData("00000000" + "0000", true, "")]
    [InlineData("00000001" + "61" + "0000", true, "")]
    [InlineData("00000001" + "61" + "0003" + "0001" + "0002" + "0003", true, "ndb")]
    [InlineData("00000001" + "61" + "0002" + "0003" + "00ff", true, "b")]
    [InlineData("", false, "")]
    [InlineData("000000", false, "")]
    [InlineData("00000002" + "61" + "0000", false, "")]
    [InlineData("ffffffff" + "61" + "0000", false, "")]
    [InlineData("00000001" + "61", false, "")]
    [InlineData("00000001" + "61" + "00", false, "")]
    [InlineData("00000001" + "61" + "0001", false, "")]
    [InlineData("00000001" + "61" + "0000" + "0001", false, "")]
    [InlineData("00000001" + "00" + "0000", false, "")]
    public void Info_and_go_are_read_to_the_last_byte(string hex, bool isGood, string wants)
    {
        Assert.Equal(isGood, OptionCodec.TryReadExportQuery(Convert.FromHexString(hex), out var query));
        Assert.Equal(
            wants,
            (query.WantsName ? "n" : "") + (query.WantsDescription ? "d" : "") + (query.WantsBlockSize ? "b" : ""));
    }

    [Theory]
    [InlineData("", "00000000", true, 0U, "")]
    [InlineData("a", "00000001" + "00000005" + "626173653a", true, 1U, "b")]
    [InlineData("a", "00000001" + "0000000f" + "626173653a616c6c6f636174696f6e", true, 1U, "a")]
    [InlineData("a", "00000002" + "00000000" + "00000003" + "783a79", true, 2U, "")]
    [InlineData("a", "00000002" + "00000000", false, 0U, "")]
    [InlineData("a", "00000001" + "00000005" + "6261", false, 0U, "")]
    [InlineData("a", "00000000" + "00", false, 0U, "")]
    [InlineData("a", "ffffffff", false, 0U, "")]
    [InlineData("a", "0000", false, 0U, "")]
    public void Context_queries_are_read_to_the_last_byte(
        string name, string rest, bool isGood, uint queries, string names)
    {
        byte[] data = [.. NbdTestClient.Bytes((uint)name.Length, name), .. Convert.FromHexString(rest)];
        Assert.Equal(isGood, OptionCodec.TryReadMetaQuery(data, out var query));
        Assert.Equal(queries, query.Queries);
        Assert.Equal(names, (query.NamesAllocation ? "a" : "") + (query.NamesBase ? "b" : ""));
    }

    [Fact]
    public void No_prefix_and_no_flipped_bit_of_an_option_throws()
    {
        byte[] go = Convert.FromHexString("00000004" + "64656d6f" + "0002" + "0001" + "0003");
        byte[] meta = Convert.FromHexString("00000001" + "61" + "00000001" + "00000005" + "626173653a");
        foreach (var good in new[] { go, meta })
        {
            for (var length = 0; length < good.Length; length++)
            {
                Assert.False(OptionCodec.TryReadExportQuery(good.AsSpan(0, length), out _) && good == go);
                Assert.False(OptionCodec.TryReadMetaQuery(good.AsSpan(0, length), out _) && good == meta);
            }

            for (var bit = 0; bit < good.Length * 8; bit++)
            {
                var bad = (byte[])good.Clone();
                bad[bit / 8] ^= (byte)(1 << (bit % 8));
                OptionCodec.TryReadExportQuery(bad, out _);
                OptionCodec.TryReadMetaQuery(bad, out _);
            }
        }
    }

    [Fact]
    public void Option_headers_with_garbage_end_the_connection()
    {
        var good = NbdTestClient.Bytes(0x49484156454f5054UL, 3U, 65536U);
        Assert.Equal(new OptionHeader(NbdOption.List, 65536), OptionHeader.Read(good));
        Assert.Throws<NbdProtocolException>(
            () => OptionHeader.Read(NbdTestClient.Bytes(0x49484156454f5055UL, 3U, 0U)));
        Assert.Throws<NbdProtocolException>(
            () => OptionHeader.Read(NbdTestClient.Bytes(0x49484156454f5054UL, 3U, 65537U)));
    }

    private static void Expect(string hex, byte[] found) =>
        Assert.Equal(hex, Convert.ToHexStringLower(found)[..hex.Length]);
}
