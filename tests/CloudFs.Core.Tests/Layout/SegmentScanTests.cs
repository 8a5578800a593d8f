using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// What a scan makes of a segment's bytes: one scenario a test. The segments are whole ones with real commits, changed by
/// hand afterwards. docs/format/commit.md states the same rules in words.
/// </summary>
public sealed class SegmentScanTests
{
    private const ulong Use = 7;

    private readonly SampleDisk _disk = new();
    private readonly SampleSegment _segment = new(Use);

    /// <summary>Three commits, the last of which says that the first two were durable.</summary>
    public SegmentScanTests()
    {
        _segment.Commit(At(0), _disk.RecordBytes, _disk.First);
        _segment.Commit(null, _disk.Update(0, 12), _disk.Trim(4096, 800));
        _segment.Commit(null, _disk.Update(100, 3), _disk.Update(8, 8));
    }

    private CommitFrame First => _segment.Frames[0];

    private CommitFrame Second => _segment.Frames[1];

    private CommitFrame Third => _segment.Frames[2];

    [Fact]
    public void The_log_ends_where_zeroes_follow_the_last_commit()
    {
        var scan = _segment.Scan();

        Assert.Equal(_segment.Frames, scan.Frames);
        Assert.Equal(_segment.Headers.Keys.Order(), scan.Items.Select(item => item.Place));
        AssertTrue(scan);
        Assert.Equal((_segment.End.Offset, _segment.End.Offset, false), (scan.End, scan.StaleEnd, scan.IsTorn));
        Assert.Empty(scan.Holes);
        Assert.Equal(3UL, scan.LastSequence);
    }

    [Fact]
    public void A_segment_that_was_never_written_holds_nothing()
    {
        var scan = new SampleSegment(Use).Scan();

        Assert.Empty(scan.Frames);
        Assert.Equal((0U, false), (scan.End, scan.IsTorn));
    }

    [Fact]
    public void An_entry_of_an_earlier_use_in_just_the_place_of_one_that_was_not_written_is_not_taken()
    {
        // Uses of the same writes have the same places; the blocks of the last entry were not written this time.
        var old = new SampleSegment(Use - 1);
        var now = new SampleSegment(Use);
        var oldDisk = new SampleDisk(LayoutSamples.Id(0x70));
        var disk = new SampleDisk();
        _ = oldDisk.Update(0, 7);
        old.Commit(null, oldDisk.First, oldDisk.Update(0, 7), oldDisk.Update(7, 7));
        var frame = now.Commit(null, disk.First, disk.Update(0, 7), disk.Update(7, 7));
        var place = (int)now.Headers.Keys.Max();
        old.Bytes.AsSpan(place, frame.TrailerOffset - place).CopyTo(now.Bytes.AsSpan(place));

        Assert.Empty(now.Scan().Frames);

        // Nor where what the trailer says of it was not written either.
        var both = (byte[])now.Bytes.Clone();
        var tail = frame.TrailerOffset + CommitFrameLayout.Size;
        old.Bytes.AsSpan(tail, frame.Length - tail).CopyTo(both.AsSpan(tail));
        Assert.Empty(SegmentScan.Scan(both, LayoutSamples.Device, Use, default, default, -1).Frames);
        var known = now.Scan(durable: now.End);
        Assert.Equal([ScannedKind.Whole, ScannedKind.Whole, ScannedKind.PrefixOnly], known.Items.Select(item => item.Kind));
        Assert.Equal(disk.Head.Disk, EntryHeaderCodec.ReadFields(known.Items[2].Header.Span, default).Disk);
    }

    [Fact]
    public void A_last_commit_without_its_trailer_is_a_tear()
    {
        _segment.Of(Third).Span[Third.TrailerOffset + 40] ^= 1;

        Assert.Equal([First, Second], _segment.Scan().Frames);
        Assert.Equal(3, _segment.Scan(durable: Third.End).Frames.Count);
    }

    [Theory]
    [InlineData("the last page")]
    [InlineData("the record and the trailer")]
    [InlineData("everything but the trailer")]
    [InlineData("everything but the record")]
    public void A_torn_last_commit_is_cut(string lost)
    {
        var bytes = _segment.Of(Third).Span;
        switch (lost)
        {
            case "the last page":
                bytes.Slice(Third.TrailerOffset - 512, 512).Clear();
                break;
            case "the record and the trailer":
                bytes[..512].Clear();
                bytes.Slice(Third.TrailerOffset, Third.TrailerLength).Clear();
                break;
            case "everything but the trailer":
                bytes[..Third.TrailerOffset].Clear();
                break;
            default:
                bytes[512..].Clear();
                break;
        }

        var scan = _segment.Scan();

        Assert.Equal([First, Second], scan.Frames);
        Assert.Equal(Third.Position.Offset, scan.End);
        Assert.Empty(scan.Holes);
        AssertTrue(scan);
    }

    [Fact]
    public void What_a_torn_commit_left_is_reported_for_overwriting()
    {
        _segment.Of(Third).Span.Slice(600, 100).Fill(0xAA);

        var scan = _segment.Scan();

        Assert.True(scan.IsTorn);
        Assert.Equal((Third.Position.Offset, Third.End.Offset), (scan.End, scan.StaleEnd));
    }

    [Fact]
    public void Stale_commits_behind_a_cut_are_reported_for_overwriting_and_not_taken()
    {
        // The third says that only the first was durable: so the second may be a tear, and the third is stale.
        var segment = new SampleSegment(Use);
        var disk = new SampleDisk();
        var first = segment.Commit(null, disk.RecordBytes, disk.First);
        var lost = segment.Commit(null, disk.Update(0, 8));
        var stale = segment.Commit(lost.Position, disk.Update(8, 8));
        segment.Of(lost).Span.Clear();

        var scan = segment.Scan();

        Assert.Equal([first], scan.Frames);
        Assert.Equal((lost.Position.Offset, stale.End.Offset, true), (scan.End, scan.StaleEnd, scan.IsTorn));
        Assert.Equal(2, scan.Items.Count);
    }

    [Fact]
    public void A_hole_below_what_was_durable_is_told_and_the_log_goes_on_behind_it()
    {
        _segment.Of(Second).Span.Clear();

        var scan = _segment.Scan();

        Assert.Equal([First, Third], scan.Frames);
        Assert.Equal([new ScannedHole(Second.Position.Offset, Second.End.Offset, 2)], scan.Holes);
        Assert.Equal((Third.End.Offset, false), (scan.End, scan.IsTorn));
        AssertTrue(scan);
    }

    [Fact]
    public void What_a_checkpoint_says_was_durable_is_a_hole_too_where_it_is_gone()
    {
        _segment.Of(Third).Span.Clear();

        var scan = _segment.Scan(durable: Third.End);

        Assert.Equal([new ScannedHole(Third.Position.Offset, Third.End.Offset, 4)], scan.Holes);
        Assert.Equal(Third.End.Offset, scan.End);
    }

    [Fact]
    public void What_the_kernel_had_taken_is_no_tear_after_the_death_of_a_process()
    {
        _segment.Of(Third).Span[600] ^= 1;

        var scan = _segment.Scan(written: Third.End);

        Assert.Equal(3, scan.Frames.Count);
        Assert.False(scan.IsTorn);
    }

    [Fact]
    public void A_device_put_back_to_an_older_state_is_not_taken_for_damaged_by_a_newer_write_buffer()
    {
        _segment.Of(Third).Span.Clear();

        var scan = _segment.Scan(written: Third.End);

        Assert.Equal([First, Second], scan.Frames);
        Assert.Empty(scan.Holes);
        Assert.Equal(Third.Position.Offset, scan.End);
    }

    [Fact]
    public void A_commit_whose_record_rotted_is_read_by_its_trailer()
    {
        _segment.Of(Second).Span[40] ^= 1;

        var scan = _segment.Scan();

        Assert.Equal(_segment.Frames, scan.Frames);
        Assert.Equal(1, scan.DamagedRecords);
        Assert.Equal(_segment.Headers.Count, scan.Items.Count);
        Assert.Empty(scan.Holes);
        AssertTrue(scan);
    }

    [Fact]
    public void A_commit_whose_trailer_rotted_is_read_by_its_record()
    {
        _segment.Of(Second).Span[Second.TrailerOffset + 40] ^= 1;

        var scan = _segment.Scan();

        Assert.Equal(_segment.Frames, scan.Frames);
        Assert.Equal(1, scan.DamagedTrailers);
        AssertTrue(scan);
    }

    [Fact]
    public void A_rotted_header_is_rebuilt_from_its_prefix_and_its_body()
    {
        // Once in the fixed fields, once in a page record, which the trailer does not repeat.
        _segment.Of(Second).Span[512 + 30] ^= 1;
        _segment.Of(First).Span[1024 + EntryLayout.FixedSize + 5] ^= 1;

        var scan = _segment.Scan();

        Assert.Equal([false, true, true, false, false, false], scan.Items.Select(item => item.IsRebuilt));
        Assert.All(scan.Items, item => Assert.Equal(ScannedKind.Whole, item.Kind));
        AssertTrue(scan);
    }

    [Fact]
    public void A_rotted_header_without_lengths_does_not_hide_what_stands_behind_it()
    {
        _segment.Of(Second).Span.Slice(512, 512).Clear();

        var scan = _segment.Scan();

        Assert.Equal(_segment.Headers.Count, scan.Items.Count);
        AssertTrue(scan);
    }

    [Fact]
    public void Of_an_entry_whose_header_and_page_rotted_only_the_prefix_is_known()
    {
        _segment.Of(Second).Span[512 + 30] ^= 1;
        _segment.Of(Second).Span[1024 + 2000] ^= 1;

        var scan = _segment.Scan();

        var item = scan.Items[2];
        Assert.Equal((ScannedKind.PrefixOnly, true), (item.Kind, item.IsRebuilt));
        var fields = EntryHeaderCodec.ReadFields(item.Header.Span, default);
        Assert.Equal((_disk.Head.Disk, 2UL, 1), (fields.Disk, fields.Lsn, fields.ExtentCount));
        Assert.Equal(new ExtentRecord(0, 12, ExtentKind.Data), EntryHeaderCodec.ReadExtent(item.Header.Span, 0));
        Assert.Equal(_segment.Headers.Count, scan.Items.Count);
    }

    [Fact]
    public void A_device_record_that_rotted_is_had_whole_from_the_trailer()
    {
        _segment.Of(First).Span.Slice(512, 512).Clear();

        var scan = _segment.Scan();

        Assert.Equal((ScannedKind.Whole, true), (scan.Items[0].Kind, scan.Items[0].IsRebuilt));
        AssertTrue(scan);
    }

    [Fact]
    public void Where_a_header_and_its_prefix_rotted_that_item_alone_is_a_hole()
    {
        var prefix = Second.TrailerOffset + CommitFrameLayout.Size + AppendSize.PrefixHeaderBytes;
        _segment.Of(Second).Span[512 + 30] ^= 1;
        _segment.Of(Second).Span[prefix + 30] ^= 1;

        var scan = _segment.Scan();

        var hole = Assert.Single(scan.Holes);
        Assert.Equal((Second.Position.Offset + 512, 2), (hole.Start, hole.ItemsBefore));
        Assert.True(hole.End < Second.Position.Offset + (uint)Second.TrailerOffset);
        Assert.Equal(_segment.Headers.Count - 1, scan.Items.Count);
        AssertTrue(scan);
    }

    [Fact]
    public void Remnants_of_an_earlier_use_are_never_taken()
    {
        var now = new SampleSegment(Use + 20);
        _segment.Bytes.CopyTo(now.Bytes, 0);
        var commit = now.Commit(null, new SampleDisk(LayoutSamples.Id(0x77)).First);

        var scan = now.Scan();

        Assert.Equal([commit], scan.Frames);
        Assert.Equal((commit.End.Offset, commit.End.Offset, false), (scan.End, scan.StaleEnd, scan.IsTorn));
        Assert.Single(scan.Items);
    }

    [Fact]
    public void Remnants_of_a_later_use_and_of_another_device_are_never_taken_either()
    {
        Assert.Empty(SegmentScan.Scan(_segment.Bytes, LayoutSamples.Device, Use - 1, default, default, -1).Frames);
        Assert.Empty(SegmentScan.Scan(_segment.Bytes, LayoutSamples.OtherDevice, Use, default, default, -1).Frames);
    }

    [Fact]
    public void A_commit_that_was_put_in_another_place_is_not_taken()
    {
        // The third is copied behind itself: whole, of this device and use, but not where it says that it is.
        _segment.Of(Third).CopyTo(_segment.Bytes.AsMemory((int)_segment.End.Offset));

        var scan = _segment.Scan();

        Assert.Equal(_segment.Frames, scan.Frames);
        Assert.Equal(_segment.End.Offset, scan.End);
    }

    [Fact]
    public void The_end_that_a_footer_states_bounds_the_scan()
    {
        var scan = _segment.Scan(commitsEnd: (int)Third.Position.Offset);

        Assert.Equal([First, Second], scan.Frames);
        Assert.Equal(Third.Position.Offset, scan.End);
    }

    [Fact]
    public void Up_to_the_end_that_a_footer_states_nothing_is_a_tear()
    {
        _segment.Of(Third).Span.Clear();
        _segment.Of(Second).Span[700] ^= 1;

        var scan = _segment.Scan(commitsEnd: (int)Third.End.Offset);

        Assert.Equal([First, Second], scan.Frames);
        Assert.Equal([new ScannedHole(Third.Position.Offset, Third.End.Offset, 4)], scan.Holes);
        Assert.False(scan.IsTorn);
    }

    [Fact]
    public void A_mark_makes_rot_in_what_was_flushed_last_no_tear()
    {
        _segment.Commit(null);
        _segment.Of(Third).Span.Clear();

        var scan = _segment.Scan();

        Assert.False(scan.IsTorn);
        Assert.Single(scan.Holes);
        Assert.Equal(_segment.End.Offset, scan.End);
    }

    [Fact]
    public void Relocated_copies_are_read_like_other_commits()
    {
        // Nothing writes them yet. A roll-forward passes them over, since their LSNs are behind the head.
        var moved = _segment.Commit(CommitContent.Relocated, null, new SampleDisk().First);

        var scan = _segment.Scan();

        Assert.Equal((moved, CommitContent.Relocated), (scan.Frames[^1], scan.Frames[^1].Content));
    }

    [Fact]
    public void Sectors_that_a_client_made_look_like_trailers_cost_no_hashing()
    {
        // What a client writes lies where commits are searched for. Each of these claims a trailer of megabytes.
        var segment = new SampleSegment(Use);
        for (var at = 0; at < DeviceGeometry.SegmentBytes; at += 512)
        {
            var sector = segment.Bytes.AsSpan(at, 512);
            "CFST"u8.CopyTo(sector);
            BitConverter.TryWriteBytes(sector[CommitFrameLayout.TrailerLength..], DeviceGeometry.SegmentBytes - at);
        }

        var clock = System.Diagnostics.Stopwatch.StartNew();
        Assert.Empty(segment.Scan().Frames);
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(2), $"took {clock.Elapsed}");
    }

    private static LogPosition At(uint offset) => new(Use, offset);

    private void AssertTrue(SegmentScan scan)
    {
        foreach (var item in scan.Items.Where(item => item.Kind == ScannedKind.Whole))
        {
            Assert.True(item.Header.Span.SequenceEqual(_segment.Headers[item.Place]), $"the item at {item.Place} is another");
        }
    }
}
