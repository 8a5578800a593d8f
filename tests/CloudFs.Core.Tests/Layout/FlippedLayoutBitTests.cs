using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>No single bit of any structure can change unnoticed. Every bit is tried.</summary>
public sealed class FlippedLayoutBitTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Every_flipped_bit_of_a_label_is_refused(int copy) => AssertRefused(
        GoldenLayout.Read($"label-{copy}"), bytes => DeviceLabel.TryRead(bytes, copy, out _, out _));

    [Fact]
    public void Every_flipped_bit_of_a_device_record_is_refused() => AssertRefused(
        GoldenLayout.Read("device-record"), bytes => DeviceRecord.TryRead(bytes, out _) == LayoutFault.None);

    [Fact]
    public void Every_flipped_bit_of_a_commit_record_is_refused() => AssertRefused(
        GoldenLayout.Read("commit")[..CommitFrameLayout.RecordBytes],
        bytes => CommitFrame.TryReadRecord(bytes, LayoutSamples.Device, new LogPosition(9, 0), out _) == LayoutFault.None);

    [Fact]
    public void Every_flipped_bit_of_a_trailer_is_refused()
    {
        var frame = GoldenLayout.Segment().Frames[0];
        var golden = GoldenLayout.Read("commit").AsSpan(frame.TrailerOffset, frame.TrailerLength).ToArray();
        var used = CommitFrameLayout.Size + Prefixes(golden).Values.Sum(prefix => prefix.Bytes.Length + AppendSize.PrefixHeaderBytes);
        AssertRefused(
            golden,
            bytes => CommitFrame.TryReadTrailer(bytes, LayoutSamples.Device, out _) == LayoutFault.None
                && Prefixes(bytes).Count == frame.ItemCount,
            bit => bit / 8 < used);

        SortedDictionary<int, TrailerCopy> Prefixes(byte[] trailer) =>
            TrailerPrefix.ReadAll(
                trailer.AsMemory(CommitFrameLayout.Size), LayoutSamples.Device, frame.Position, frame.ItemCount);
    }

    [Fact]
    public void Every_flipped_bit_of_an_item_makes_a_commit_that_may_be_torn_not_whole()
    {
        // By the items' own checks, which the scan asks for each; a sample goes through the scan itself.
        var segment = GoldenLayout.Segment();
        var commit = segment.Of(segment.Frames[0]);
        var items = segment.Frames[0].TrailerOffset;
        for (var bit = CommitFrameLayout.RecordBytes * 8; bit < items * 8; bit += 101)
        {
            Flip(commit.Span, bit);
            Assert.Empty(segment.Scan().Frames);
            Flip(commit.Span, bit);
        }

        Assert.Single(segment.Scan().Frames);
    }

    [Fact]
    public void Every_flipped_bit_of_a_footer_is_noticed()
    {
        // Behind the places, and before the record, nothing is read.
        var golden = GoldenLayout.Read("footer");
        GoldenLayout.ReadFooter(golden, out var footer);
        var read = footer.CopiesLength + (footer.CopyCount * SegmentFooter.PlaceBytes);
        AssertRefused(golden, bytes =>
            SegmentFooter.TryRead(bytes.AsSpan(^SegmentFooterLayout.Size), LayoutSamples.Device, out var found) == LayoutFault.None
            && Catalogs.TryRead(found, bytes, out var catalog) && !catalog.IsIncomplete,
            bit => bit / 8 < read || bit / 8 >= golden.Length - SegmentFooterLayout.Size);
    }

    [Fact]
    public void Every_flipped_bit_of_a_checkpoint_root_is_refused() => AssertRefused(
        GoldenLayout.Read("checkpoint-root"),
        bytes => CheckpointRoot.TryRead(bytes, LayoutSamples.Device, 0, SampleCheckpoint.SegmentCount, out _) == LayoutFault.None);

    [Fact]
    public void Every_flipped_bit_of_a_checkpoint_page_is_refused() => AssertRefused(
        GoldenLayout.Read("checkpoint-page"), bytes => CheckpointRoot.ProvesPage(bytes, LayoutSamples.Device, 1, 0, out _));

    private static void AssertRefused(byte[] golden, Func<byte[], bool> accepts, Func<int, bool>? tried = null)
    {
        Assert.True(accepts(golden));
        for (var bit = 0; bit < golden.Length * 8; bit++)
        {
            if (tried is not null && !tried(bit))
            {
                continue;
            }

            Flip(golden, bit);
            if (accepts(golden))
            {
                Assert.Fail($"bit {bit % 8} of byte {bit / 8} can change unnoticed");
            }

            Flip(golden, bit);
        }
    }

    private static void Flip(Span<byte> bytes, int bit) => bytes[bit / 8] ^= (byte)(1 << (bit % 8));
}
