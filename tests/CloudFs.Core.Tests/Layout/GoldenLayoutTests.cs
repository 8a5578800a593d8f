using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>The golden structures are made again byte for byte, and read back to what they were made of.</summary>
public sealed class GoldenLayoutTests
{
    public static TheoryData<string> Names => [.. GoldenLayout.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Every_structure_is_written_as_it_was_before(string name)
    {
        var made = await GoldenLayout.MakeAsync(name);
        GoldenLayout.Regenerate(name, made);

        Assert.True(GoldenLayout.Read(name).AsSpan().SequenceEqual(made), $"{name} is written otherwise than in the golden file");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void The_label_says_what_it_was_given(int copy)
    {
        Assert.True(DeviceLabel.TryRead(GoldenLayout.Read($"label-{copy}"), copy, out var label, out _));
        Assert.Equal(LayoutSamples.Label, label);
    }

    [Fact]
    public void The_device_record_says_what_it_was_given()
    {
        Assert.Equal(LayoutFault.None, DeviceRecord.TryRead(GoldenLayout.Read("device-record"), out var record));
        Assert.Equal(new SampleDisk().Record, record);
        Assert.Equal(EntryHashes.ViewOf(LayoutSamples.Secret), record.View);
    }

    [Fact]
    public void The_commit_holds_its_items()
    {
        var bytes = new byte[DeviceGeometry.SegmentBytes];
        GoldenLayout.Read("commit").CopyTo(bytes, 0);

        var scan = SegmentScan.Scan(bytes, LayoutSamples.Device, 9, default, default, -1);

        var frame = Assert.Single(scan.Frames);
        Assert.Equal((41UL, -1, CommitContent.New, 4), (frame.Sequence, frame.NextSegment, frame.Content, frame.ItemCount));
        Assert.Equal(new LogPosition(9, 0), frame.Durable);
        Assert.Equal(4, scan.Items.Count);
        Assert.True(DeviceRecord.IsAt(scan.Items[0].Header.Span));
        Assert.Equal([1UL, 2, 3], scan.Items.Skip(1).Select(LsnOf));
        Assert.Equal(scan.End, (uint)frame.Length);
    }

    [Fact]
    public void The_footer_holds_a_copy_of_every_header_with_its_place() => AssertFooter("footer", isFirstVersion: false);

    [Fact]
    public void A_footer_of_version_1_is_read() => AssertFooter("footer-1", isFirstVersion: true);

    private static void AssertFooter(string name, bool isFirstVersion)
    {
        var segment = GoldenLayout.Segment();

        var catalog = GoldenLayout.ReadFooter(GoldenLayout.Read(name), out var footer);

        Assert.Equal(isFirstVersion, footer.IsFirstVersion);
        Assert.Equal((9UL, 12, 41UL), (footer.Use, footer.NextSegment, footer.LastSequence));
        Assert.Equal((int)segment.End.Offset, footer.CommitsEnd);
        Assert.False(catalog.IsIncomplete);
        Assert.Equal(segment.Headers.Count, catalog.Count);
        for (var i = 0; i < catalog.Count; i++)
        {
            Assert.True(catalog.Copy(i).SequenceEqual(segment.Headers[catalog.Position(i).Offset]));
        }
    }

    [Fact]
    public async Task The_checkpoint_holds_segments_and_disks()
    {
        var device = new MemoryDevice(DeviceGeometry.SegmentsOffset + DeviceGeometry.SegmentBytes);
        await device.WriteAsync(DeviceGeometry.CheckpointSlotOffset(0), GoldenLayout.Read("checkpoint-root"));
        await device.WriteAsync(CheckpointRoot.PageOffset(0, [], 0), GoldenLayout.Read("checkpoint-page"));
        var damage = new List<string>();

        var loaded = await SampleCheckpoint.LoadAsync(device, damage);

        Assert.Empty(damage);
        Assert.Equal((SampleCheckpoint.RollFrom, 77UL, 2), (loaded!.Cut.RollFrom, loaded.Cut.NextCommit, loaded.Cut.NextSegment));
        Assert.Equal(
            [
                new SegmentUse(0, SegmentState.Sealed, 1, 1, 8, 2, 1, 9, default), new(1, SegmentState.Open, 3, 3, 8, 0, 3, 9, default),
                new(5, SegmentState.Sealed, 2, 2, 8, 0, 2, 9, new HeaderTally(3, 2000)),
            ],
            loaded.Segments.Snapshot());
        Assert.Equal(LogPosition.FirstRelocationUse + 4 + SampleCheckpoint.SegmentCount, loaded.Segments.NextRelocationUse);
        Assert.Equal(0b10, Assert.Single(loaded.IndexPages).Used[0]);
        Assert.Equal(2, loaded.Disks.Count);
        var disk = loaded.Disks[new SampleDisk().Head.Disk];
        Assert.Equal((4UL, LayoutSamples.Secret), (disk.Head.Lsn, disk.Secret));
        Assert.Equal("golden", disk.Head.Attributes!.Name);
        Assert.Null(disk.Suspect);
        Assert.Equal(new TreeRoot(1, 0x1122334455667788, 1, 4, 6, 8, 1), disk.Map.Tree);
        Assert.Equal((1000UL, 1008UL), Assert.Single(disk.Damage.LostRanges));
        Assert.Equal("a reason", loaded.Disks.Values.Single(other => other != disk).Suspect);
        Assert.Equal(new PinnedEntry(1, new LogPosition(1, 1024)), Assert.Single(disk.Pins));
        Assert.Equal([1UL, 2, 3], disk.Lsns.Runs.Select(run => run.Use));
    }

    private static ulong LsnOf(ScannedItem item) => EntryHeaderCodec.ReadFields(item.Header.Span, default).Lsn;
}
