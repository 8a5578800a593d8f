using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// Long commits, and all of copies, have the second copies of their headers in their trailers; the footer only says where.
/// </summary>
public sealed class TrailerCopyTests
{
    private static ulong Use => LogPosition.FirstRelocationUse + 3;

    [Fact]
    public async Task The_footer_leads_to_every_copy_and_has_none_itself()
    {
        var segment = Sample(out var footer);

        var catalog = await LoadAsync(segment, footer);

        Assert.Equal((0, 0, false), (footer.CopiesLength, catalog.DamagedCopies, catalog.IsIncomplete));
        AssertSame(segment, catalog);
    }

    [Fact]
    public async Task In_the_log_short_commits_have_their_copies_in_the_footer()
    {
        var segment = Sample(out var footer, CommitContent.New);

        var catalog = await LoadAsync(segment, footer);

        var inFooter = Enumerable.Range(0, 4).Sum(i => LogItem.CopyLength(catalog.Copy(i)));
        Assert.Equal((inFooter, 0, false), (footer.CopiesLength, catalog.DamagedCopies, catalog.IsIncomplete));
        AssertSame(segment, catalog);
    }

    [Theory]
    [InlineData(CommitContent.New)]
    [InlineData(CommitContent.Relocated)]
    public void A_commit_is_never_longer_than_it_was_said_to_be(CommitContent content)
    {
        var disk = new SampleDisk();
        for (var count = 1; count < 120; count += 13)
        {
            var commit = new OpenCommit(WriteBuffer.InMemory(2), 0, new LogPosition(Use, 0), 1);
            var foretold = 0;
            for (var i = 0; i < count; i++)
            {
                var item = disk.Update(8, 8);
                var size = AppendSize.OfEntry(1, 1, 4096);
                Assert.Equal(item.Length, size.Bytes);
                foretold = commit.LengthWith(size, 4096);
                item.CopyTo(commit.Room(size.Bytes));
                commit.Take(size);
            }

            commit.Close(LayoutSamples.Device, default, -1, 4096, content);
            Assert.InRange(commit.Length, 512 + (count * 4608), foretold);
            Assert.Equal(content == CommitContent.Relocated || count * 4608 >= CommitFrame.LongItems, commit.CopiesPlace > 0);
        }
    }

    [Fact]
    public async Task No_body_and_no_original_is_read_for_them()
    {
        var segment = Sample(out var footer);
        var read = 0;

        var loaded = await new CatalogLoader(footer, (place, into) =>
        {
            read += into.Length;
            segment.Bytes.AsSpan((int)place, into.Length).CopyTo(into.Span);
            return ValueTask.FromResult(true);
        }).LoadAsync(new SegmentCatalog(77));

        AssertSame(segment, loaded!);
        Assert.InRange(read, 1, 600_000);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(20)]
    [InlineData(150)]
    [InlineData(-8)]
    public async Task A_damaged_copy_is_had_from_the_original_and_goes_into_the_next_footer(int at)
    {
        var segment = Sample(out var footer);
        var second = PlaceOfCopy(segment, footer, 5);
        segment.Bytes[second + at] ^= 4;

        var catalog = await LoadAsync(segment, footer);
        Assert.Equal((1, false), (catalog.DamagedCopies, catalog.IsIncomplete));
        AssertSame(segment, catalog);

        var length = catalog.FooterBytes(0, 0, 4096);
        catalog.WriteFooter(segment.Bytes.AsSpan(^length), segment.Device, footer.CommitsEnd, -1, footer.LastSequence);
        Assert.Equal(
            LayoutFault.None, SegmentFooter.TryRead(segment.Bytes.AsSpan(SegmentFooter.RecordOffset), segment.Device, out var mended));
        Assert.Equal(LogItem.CopyLength(catalog.Copy(5)), mended.CopiesLength);
        var again = await LoadAsync(segment, mended);
        Assert.Equal(0, again.DamagedCopies);
        AssertSame(segment, again);
    }

    [Fact]
    public async Task A_header_and_its_copy_damaged_are_missing_and_no_more()
    {
        var segment = Sample(out var footer);
        segment.Bytes[PlaceOfCopy(segment, footer, 5) + 30] ^= 1;
        segment.Bytes[(int)segment.Headers.Keys.Order().ElementAt(5) + 30] ^= 1;

        var catalog = await LoadAsync(segment, footer);

        Assert.Equal((1, true, segment.Headers.Count - 1), (catalog.DamagedCopies, catalog.IsIncomplete, catalog.Count));
    }

    [Fact]
    public void A_damaged_header_is_had_from_the_trailer_whatever_became_of_its_page()
    {
        var segment = Sample(out _);
        var place = segment.Headers.Keys.Order().ElementAt(7);
        segment.Bytes[place + 40] ^= 1;
        segment.Bytes[place + segment.Headers[place].Length + 9] ^= 1;

        var item = segment.Scan(new LogPosition(Use + 1, 0)).Items[7];

        Assert.Equal((ScannedKind.Whole, true), (item.Kind, item.IsRebuilt));
        Assert.True(item.Header.Span.SequenceEqual(segment.Headers[place]));
    }

    [Fact]
    public async Task The_footer_that_is_made_from_a_scan_is_the_one_that_was()
    {
        var segment = Sample(out var footer);
        var before = segment.Bytes[footer.CopiesStart..];
        var catalog = new SegmentCatalog(Use);
        foreach (var item in segment.Scan(new LogPosition(Use + 1, 0)).Items)
        {
            catalog.Add(item.Header.Span, item.Place, item.Copy);
        }

        var length = catalog.FooterBytes(0, 0, 4096);
        catalog.WriteFooter(segment.Bytes.AsSpan(^length), segment.Device, footer.CommitsEnd, -1, footer.LastSequence);

        Assert.Equal(before, segment.Bytes[footer.CopiesStart..]);
        AssertSame(segment, await LoadAsync(segment, footer));
    }

    [Fact]
    public async Task Copies_for_which_there_is_no_room_are_left_out_and_the_originals_are_read()
    {
        var segment = Sample(out var footer);
        segment.Bytes.AsSpan((int)segment.Frames[1].Position.Offset + segment.Frames[1].TrailerOffset, 100 << 10).Clear();
        var catalog = new SegmentCatalog(Use);
        foreach (var item in segment.Scan(new LogPosition(Use + 1, 0)).Items)
        {
            catalog.Add(item.Header.Span, item.Place, item.Copy);
        }

        var whole = catalog.FooterBytes(0, 0, 4096);
        catalog.DropCopies(whole, 4096);
        Assert.Equal(whole, catalog.FooterBytes(0, 0, 4096));
        catalog.DropCopies(64 << 10, 4096);
        var length = catalog.FooterBytes(0, 0, 4096);
        Assert.InRange(length, 60 << 10, 64 << 10);
        catalog.WriteFooter(segment.Bytes.AsSpan(^length), segment.Device, footer.CommitsEnd, -1, footer.LastSequence);
        Assert.Equal(
            LayoutFault.None, SegmentFooter.TryRead(segment.Bytes.AsSpan(SegmentFooter.RecordOffset), segment.Device, out var less));

        var loaded = await LoadAsync(segment, less);

        Assert.False(loaded.IsIncomplete);
        Assert.InRange(loaded.DamagedCopies, 1, 600);
        AssertSame(segment, loaded);
    }

    [Fact]
    public async Task A_place_that_leads_anywhere_gives_the_original()
    {
        var sample = Sample(out var footer);
        var chance = new System.Random(5);
        for (var round = 0; round < 200; round++)
        {
            var bytes = sample.Bytes;
            var at = footer.PlacesStart + (chance.Next(footer.CopyCount) * SegmentFooter.PlaceBytes) + 4;
            var before = bytes.AsSpan(at, 4).ToArray();
            BitConverter.TryWriteBytes(bytes.AsSpan(at), chance.Next(3) == 0 ? chance.Next() : chance.Next(DeviceGeometry.SegmentBytes));
            var places = bytes.AsMemory(footer.PlacesStart, footer.CopyCount * SegmentFooter.PlaceBytes);

            var catalog = await LoadAsync(sample, footer with { PlacesCheck = XXH64.DigestOf(places.Span) });

            AssertSame(sample, catalog);
            before.CopyTo(bytes, at);
        }
    }

    /// <summary>Three commits of many short entries, and one with a long header.</summary>
    private static SampleSegment Sample(out SegmentFooter footer, CommitContent content = CommitContent.Relocated)
    {
        var disk = new SampleDisk();
        var segment = new SampleSegment(Use);
        segment.Commit(content, null, disk.RecordBytes, disk.First, disk.Update(8, 8), disk.Trim(4096, 1 << 20));
        for (var commit = 0; commit < 2; commit++)
        {
            segment.Commit(
                content, null, [.. Enumerable.Range(0, 600).Select(i => disk.Update((ulong)i * 8, 8))]);
        }

        segment.Commit(content, null, disk.Update(0, 2048), disk.Update(0, 8));
        footer = segment.Seal(-1);
        return segment;
    }

    private static int PlaceOfCopy(SampleSegment segment, in SegmentFooter footer, int index) =>
        BitConverter.ToInt32(segment.Bytes, footer.PlacesStart + (index * SegmentFooter.PlaceBytes) + 4);

    private static async Task<SegmentCatalog> LoadAsync(SampleSegment segment, SegmentFooter footer) =>
        await new CatalogLoader(footer, (place, into) =>
        {
            segment.Bytes.AsSpan((int)place, into.Length).CopyTo(into.Span);
            return ValueTask.FromResult(true);
        }).LoadAsync() ?? throw new InvalidOperationException("the places are sound");

    private static void AssertSame(SampleSegment segment, SegmentCatalog catalog)
    {
        Assert.Equal(segment.Headers.Keys.Order(), Enumerable.Range(0, catalog.Count).Select(i => catalog.Position(i).Offset));
        for (var i = 0; i < catalog.Count; i++)
        {
            Assert.True(catalog.Copy(i).SequenceEqual(segment.Headers[catalog.Position(i).Offset]));
        }
    }
}
