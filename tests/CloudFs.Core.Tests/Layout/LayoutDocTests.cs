using System.Reflection;
using System.Text.RegularExpressions;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Layout;

/// <summary>The tables of docs/format say what the code does: they are held against the constants, by name.</summary>
public sealed partial class LayoutDocTests
{
    /// <summary>Constants of layouts that are sizes and counts, not places of fields.</summary>
    private static readonly string[] NotFields =
        ["Size", "RecordBytes", "MaxSpills", "HeaderBytes", "ContentBytes", "PagesInSlot", "PagesInSegment", "MaxBlobBytes",
            "ColumnCount", "RowsMax", "HeightMax"];

    public static TheoryData<string, Type, int> Structures => new()
    {
        { "device.md", typeof(DeviceLabelLayout), DeviceLabelLayout.Size },
        { "device.md", typeof(BadListLayout), BadListLayout.Size },
        { "commit.md", typeof(CommitFrameLayout), CommitFrameLayout.Size },
        { "commit.md", typeof(DeviceRecordLayout), DeviceRecordLayout.Size },
        { "commit.md", typeof(SegmentFooterLayout), SegmentFooterLayout.Size },
        { "checkpoint.md", typeof(CheckpointRootLayout), CheckpointRootLayout.Size },
        { "checkpoint.md", typeof(CheckpointPageLayout), CheckpointPageLayout.HeaderBytes },
        { "index.md", typeof(IndexPageLayout), IndexPageLayout.HeaderBytes },
        { "index.md", typeof(IndexColumnLayout), IndexColumnLayout.Size },
    };

    [Theory]
    [MemberData(nameof(Structures))]
    public void Every_field_stands_where_the_table_says_and_none_is_left_out(string page, Type layout, int size)
    {
        var rows = LayoutTable.Read(page, $"layout {layout.Name}");
        var constants = layout.GetFields(BindingFlags.Public | BindingFlags.Static)
            .Where(field => !NotFields.Contains(field.Name))
            .Select(field => (field.Name, (int)field.GetRawConstantValue()!));

        AssertFillsWithoutOverlap(rows, size);
        Assert.Equal(constants.OrderBy(field => field.Item2), rows.Where(row => !row.IsFiller).Select(row => (row.Constant, row.Offset)));
    }

    [Theory]
    [InlineData("layout WriteBuffer", 4096, "Device,Boot,SlotCount,SlotBytes,Written,SlotTable")]
    [InlineData("layout WriteBuffer slot", 64, "Sequence,Position,Filled")]
    public void The_write_buffer_is_laid_out_as_the_table_says(string mark, int size, string fields)
    {
        var rows = LayoutTable.Read("write-buffer.md", mark);
        var constants = typeof(WriteBuffer).GetFields(BindingFlags.NonPublic | BindingFlags.Static)
            .Where(field => field.IsLiteral).ToDictionary(field => field.Name, field => field.GetRawConstantValue());

        AssertFillsWithoutOverlap(rows, size);
        Assert.Equal(
            fields.Split(',').Select(name => (name, (int)constants[name + "Offset"]!)),
            rows.Where(row => !row.IsFiller && row.Constant != "Magic").Select(row => (row.Constant, row.Offset)));
        Assert.Equal(64, constants["SlotEntryBytes"]);
        Assert.Equal((4096, 4 << 20), (WriteBuffer.HeaderBytes, WriteBuffer.SlotBytes));
    }

    [Fact]
    public void The_geometry_is_the_one_that_the_table_states()
    {
        var page = LayoutTable.Section("device.md", "constants DeviceGeometry");
        var stated = GeometryRows().Matches(page)
            .ToDictionary(row => row.Groups[1].Value, row => Convert.ToUInt64(row.Groups[2].Value, null));
        var constants = typeof(DeviceGeometry).GetFields(BindingFlags.Public | BindingFlags.Static)
            .ToDictionary(field => field.Name, field => Convert.ToUInt64(field.GetRawConstantValue(), null));

        Assert.Equal(constants.OrderBy(pair => pair.Key), stated.OrderBy(pair => pair.Key));
    }

    [Fact]
    public void What_lies_on_a_device_does_not_overlap()
    {
        Assert.Equal(512, CommitFrameLayout.RecordBytes);
        Assert.True(CommitFrameLayout.Size <= CommitFrameLayout.RecordBytes);
        Assert.Equal((31, 256), (CheckpointPageLayout.PagesInSlot, CheckpointPageLayout.PagesInSegment));
        Assert.Equal(65_472, CheckpointPageLayout.ContentBytes);
        Assert.Equal(1002, CheckpointRootLayout.MaxSpills);
        Assert.Equal(2004, IndexPageLayout.RowsMax);
        Assert.Equal(IndexPageLayout.HeaderBytes, IndexPageLayout.Columns + (IndexPageLayout.ColumnCount * IndexColumnLayout.Size));
        Assert.True(DeviceGeometry.LabelBytes <= (int)DeviceGeometry.LabelCopyOffset);
        Assert.Equal(DeviceGeometry.CheckpointSlotsOffset, DeviceGeometry.CheckpointSlotOffset(0));
        var lastPage = CheckpointRoot.PageOffset(0, [], CheckpointPageLayout.PagesInSlot - 1) + CheckpointPageLayout.Size;
        Assert.True(lastPage <= DeviceGeometry.CheckpointSlotOffset(1));
        Assert.True(DeviceGeometry.CheckpointSlotOffset(2) <= DeviceGeometry.SegmentsOffset);
        Assert.Equal(DeviceGeometry.SegmentOffset(9), CheckpointRoot.PageOffset(1, [9], CheckpointPageLayout.PagesInSlot));
        Assert.Equal(DeviceGeometry.MinSegments, DeviceGeometry.SegmentCount(DeviceGeometry.MinDeviceBytes));
        Assert.Equal(DeviceGeometry.MinSegments - 1, DeviceGeometry.SegmentCount(DeviceGeometry.MinDeviceBytes - 1));
    }

    [Fact]
    public void Every_file_that_the_pages_name_exists()
    {
        var pages = Directory.GetFiles(Path.Combine(TestTree.Root, "docs"), "*.md", SearchOption.AllDirectories)
            .Append(Path.Combine(TestTree.Root, "ARCHITECTURE.md"));
        foreach (var page in pages)
        {
            foreach (Match path in Paths().Matches(File.ReadAllText(page)))
            {
                Assert.True(Path.Exists(Path.Combine(TestTree.Root, path.Groups[1].Value)), $"{page}: {path.Value}");
            }
        }
    }

    private static void AssertFillsWithoutOverlap(IReadOnlyList<LayoutRow> rows, int size)
    {
        var next = 0;
        foreach (var row in rows)
        {
            Assert.Equal((row.Field, next), (row.Field, row.Offset));
            next += row.Size;
        }

        Assert.Equal(size, next);
    }

    [GeneratedRegex(@"^\| ([A-Za-z]+) \| (\d+) \|", RegexOptions.Multiline)]
    private static partial Regex GeometryRows();

    [GeneratedRegex(@"`((?:CloudFs\.Core|CloudFs\.Daemon|CloudFs\.Cli|CloudFs\.Replicator|tests|docs)/[A-Za-z0-9/.\-]+)`")]
    private static partial Regex Paths();
}

/// <summary>A row of a table of offsets.</summary>
internal sealed record LayoutRow(int Offset, int Size, string Field)
{
    public bool IsFiller => Field == "zeroes";

    public string Constant => char.ToUpperInvariant(Field[0]) + Field[1..];
}

/// <summary>Reads the tables of docs/format.</summary>
internal static partial class LayoutTable
{
    /// <summary>The rows of the table behind a mark.</summary>
    public static IReadOnlyList<LayoutRow> Read(string page, string mark) =>
        [.. Rows().Matches(Section(page, mark)).Select(row => new LayoutRow(
            int.Parse(row.Groups[1].Value, null), int.Parse(row.Groups[2].Value, null), row.Groups[3].Value))];

    /// <summary>The table behind a mark, and the empty line before it.</summary>
    public static string Section(string page, string mark)
    {
        var text = File.ReadAllText(Path.Combine(TestTree.Root, "docs", "format", page));
        var start = text.IndexOf($"<!-- {mark} -->", StringComparison.Ordinal);
        Assert.True(start >= 0, $"{page} has no {mark}");
        start = text.IndexOf("\n|", start, StringComparison.Ordinal);
        return text[start..text.IndexOf("\n\n", start, StringComparison.Ordinal)];
    }

    [GeneratedRegex(@"^\| (\d+) \| (\d+) \| ([a-zA-Z]+) \|", RegexOptions.Multiline)]
    private static partial Regex Rows();
}
