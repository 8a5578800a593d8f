using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>Given the secrets, the golden streams are written again byte for byte.</summary>
public sealed class EntrySealerTests
{
    [Theory]
    [InlineData("golden-1", "view one", "view two")]
    [InlineData("golden-1-forced", "view one", "view three")]
    [InlineData("golden-1-branch", "view three", "")]
    public void A_golden_stream_is_written_again_byte_for_byte(string name, string first, string second)
    {
        var head = default(ChainHead);
        var token = default(Id160);
        foreach (var entry in EntryStream.Entries(name + ".stream"))
        {
            var golden = entry.Fields;
            Assert.True(EntryBodyParsed.TryParse(golden.Kind, entry.Body, out var body, out _));
            var draft = new EntryDraft
            {
                Kind = golden.Kind,
                Lsn = head.Lsn + 1,
                Disk = head.Disk,
                Previous = golden.Kind == EntryKind.Branch ? body!.View!.Origin!.Version : head.Id,
                Parent = ChainRules.IsForced(body) ? default : token,
                Secret = GoldenJson.Secret(golden.Lsn < 9 ? first : second),
                TimeMicros = golden.TimeMicros,
                Extents = Extents(entry),
                Pages = HashPages(entry),
            };

            // Filled with rubbish before: sealing must write every byte.
            var header = Enumerable.Repeat((byte)0xA5, EntryLayout.MaxHeaderLength).ToArray();
            var made = EntrySealer.Seal(draft, header);

            Assert.Equal(entry.Header, header[..made.HeaderLength]);
            Assert.Equal(golden.BodyLength, made.BodyLength);
            Assert.All(header[made.HeaderLength..], value => Assert.Equal(0xA5, value));
            token = made.Token;
            head = head.Next(draft, made, body);
            Assert.Equal(head with { Entropy = golden.Entropy, Id = golden.Id, Lock = golden.Lock }, head);
        }
    }

    [Fact]
    public void The_head_after_sealing_is_the_head_after_reading()
    {
        var entry = EntryStream.Entries("golden-1.stream")[0];
        Assert.True(EntryBodyParsed.TryParse(EntryKind.View, entry.Body, out var body, out _));
        var draft = new EntryDraft
        {
            Kind = EntryKind.View,
            Lsn = 1,
            Secret = GoldenJson.Secret("view one"),
            TimeMicros = entry.Fields.TimeMicros,
            Pages = HashPages(entry),
        };
        var made = EntrySealer.Seal(draft, new byte[512]);

        var written = default(ChainHead).Next(draft, made, body);
        var read = default(ChainHead).Next(entry.Fields, body);

        Assert.Equal(read with { Attributes = null }, written with { Attributes = null });
        Assert.Equal(read.Attributes!.ToJson(), written.Attributes!.ToJson());
        Assert.Equal(made.Token, read.Token(GoldenJson.Secret("view one")));
    }

    [Fact]
    public void The_compacted_stream_is_the_golden_one_with_two_pages_dropped()
    {
        var compacted = EntryStream.Entries("golden-1.stream").Select(entry => entry.Fields.Lsn is 2 or 5
            ? Drop(entry, [0])
            : entry);

        Assert.Equal(
            EntryStream.ReadGolden("golden-1-compacted.stream"),
            compacted.SelectMany(entry => entry.Bytes).ToArray());
    }

    [Fact]
    public void Dropped_pages_are_filled_again_from_a_whole_copy()
    {
        foreach (var whole in EntryStream.Entries("golden-1.stream").Where(entry => entry.Fields.PageCount > 1
            && entry.Fields.Kind == EntryKind.Update))
        {
            var first = Drop(whole, [0]);
            var others = Drop(whole, [.. Enumerable.Range(1, whole.Fields.PageCount - 1)]);
            var header = new byte[whole.Header.Length];
            var body = new byte[whole.Body.Length];

            var length = EntryCompaction.Fill(
                first.Header, first.Fields, first.Body, others.Header, others.Fields, others.Body, header, body);

            Assert.Equal(whole.Body.Length, length);
            Assert.Equal(whole.Bytes, header.Concat(body));
        }
    }

    [Fact]
    public void Pages_are_dropped_in_place_and_twice_without_harm()
    {
        var entry = EntryStream.Entries("golden-1.stream")[7];
        var expected = Drop(entry, [0, 3, 15]);
        var once = EntryCompaction.Drop(entry.Header, entry.Fields, entry.Body, [3], entry.Header, entry.Body);
        var twice = EntryCompaction.Drop(
            entry.Header, entry.Fields, entry.Body.AsSpan(0, once), [0, 3, 15], entry.Header, entry.Body);

        Assert.Equal(expected.Header, entry.Header);
        Assert.Equal(expected.Body, entry.Body[..twice]);
    }

    [Fact]
    public void The_pages_of_a_view_are_never_dropped()
    {
        var view = EntryStream.Entries("golden-1.stream")[0];

        Assert.Throws<ArgumentException>(() => Drop(view, [0]));
    }

    [Fact]
    public void A_draft_that_no_reader_would_accept_is_not_sealed()
    {
        var data = new ExtentRecord(0, 8, ExtentKind.Data);
        var page = PageRecord.Of(EntryStream.Entries("golden-1.stream")[1].Body);
        AssertRefused(FormatError.EmptyUpdate, [], []);
        AssertRefused(FormatError.PageCount, [data], []);
        AssertRefused(FormatError.PageCount, [data], [page, page]);
        AssertRefused(FormatError.PageSectors, [data with { Lba = 1 }], [page, page]);
        AssertRefused(FormatError.ExtentSectors, [data with { Sectors = 0 }], []);
        AssertRefused(FormatError.ExtentRange, [new(EntryLayout.MaxSector - 7, 8, ExtentKind.Zero)], []);
        AssertRefused(FormatError.ExtentRange, [new(ulong.MaxValue, 8, ExtentKind.Zero)], []);
        AssertRefused(FormatError.ExtentKind, [data with { Kind = (ExtentKind)2 }], []);
        AssertRefused(FormatError.PageState, [data], [page with { State = PageState.Dropped }]);
        AssertRefused(FormatError.Lsn, [data], [page], lsn: 0);
        AssertRefused(FormatError.Kind, [data], [page], kind: 0);
        AssertRefused(FormatError.UnexpectedExtents, [data], [page], kind: EntryKind.Attributes);
        AssertRefused(FormatError.BodyLength, [], [], kind: EntryKind.Attributes);
        AssertRefused(FormatError.HeaderSize, [data], [page], room: 511);
        var many = Enumerable.Repeat(page, 257).ToArray();
        AssertRefused(FormatError.BodyLength, [data with { Sectors = 257 * 8 }], many);
        AssertRefused(FormatError.HeaderLength, Enumerable.Repeat(data, 5000).ToArray(), []);
    }

    private static void AssertRefused(
        FormatError error, ExtentRecord[] extents, PageRecord[] pages, ulong lsn = 2,
        EntryKind kind = EntryKind.Update, int room = EntryLayout.MaxHeaderLength)
    {
        var refusal = Assert.Throws<ArgumentException>(() => EntrySealer.Seal(
            new EntryDraft
            {
                Kind = kind,
                Lsn = lsn,
                Secret = GoldenJson.Secret("view one"),
                TimeMicros = 1,
                Extents = extents,
                Pages = pages,
            },
            new byte[room]));
        Assert.EndsWith(error.Text(), refusal.Message, StringComparison.Ordinal);
    }

    private static StoredEntry Drop(StoredEntry entry, int[] pages)
    {
        var header = new byte[entry.Header.Length];
        var body = new byte[entry.Body.Length];
        var length = EntryCompaction.Drop(entry.Header, entry.Fields, entry.Body, pages, header, body);
        return new(entry.Offset, header, body[..length]);
    }

    private static ExtentRecord[] Extents(StoredEntry entry) =>
        [.. Enumerable.Range(0, entry.Fields.ExtentCount).Select(i => EntryHeaderCodec.ReadExtent(entry.Header, i))];

    private static PageRecord[] HashPages(StoredEntry entry)
    {
        var pages = new List<PageRecord>();
        foreach (var page in EntryPages.Of(entry.Header, entry.Fields))
        {
            pages.Add(PageRecord.Of(entry.Body.AsSpan(page.BodyOffset, page.Record.Length)));
        }

        return [.. pages];
    }
}
