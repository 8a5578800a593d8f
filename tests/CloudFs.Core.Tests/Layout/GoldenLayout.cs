using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Tests.Format;

namespace CloudFs.Core.Tests.Layout;

/// <summary>
/// The structures of fixed values that are checked in, as tests/golden/device-layout/&lt;name&gt;.bin. A difference means that
/// devices written before can't be read, or that this program writes what earlier ones don't read.
/// </summary>
internal static class GoldenLayout
{
    /// <summary>Set to 1 to write the files anew, when the layout was changed on purpose.</summary>
    public const string RegenerateVariable = "CLOUDFS_REGENERATE_GOLDEN";

    public static readonly string[] Names =
        ["label-0", "label-1", "device-record", "commit", "footer", "checkpoint-root", "checkpoint-page"];

    public static byte[] Read(string name) => File.ReadAllBytes(PathOf(name));

    public static void Regenerate(string name, byte[] bytes)
    {
        if (Environment.GetEnvironmentVariable(RegenerateVariable) == "1")
        {
            File.WriteAllBytes(PathOf(name), bytes);
        }
    }

    public static async Task<byte[]> MakeAsync(string name)
    {
        switch (name)
        {
            case "label-0" or "label-1":
                var label = new byte[DeviceLabelLayout.Size];
                LayoutSamples.Label.Write(label, name[^1] - '0');
                return label;
            case "device-record":
                return new SampleDisk().RecordBytes;
            case "commit":
                var segment = Segment();
                return segment.Of(segment.Frames[0]).ToArray();
            case "footer":
                var footed = Segment();
                return footed.Bytes[footed.Seal(nextSegment: 12).CopiesStart..];
            case "checkpoint-root":
                return await SampleCheckpoint.ReadAsync(
                    await SampleCheckpoint.DeviceAsync(), DeviceGeometry.CheckpointSlotOffset(0), CheckpointRootLayout.Size);
            case "checkpoint-page":
                return await SampleCheckpoint.ReadAsync(
                    await SampleCheckpoint.DeviceAsync(), CheckpointRoot.PageOffset(0, [], 0), CheckpointPageLayout.Size);
            default:
                throw new ArgumentException(name);
        }
    }

    /// <summary>One commit with a device record, a view, an update of three pages and a trim.</summary>
    public static SampleSegment Segment()
    {
        var disk = new SampleDisk();
        var segment = new SampleSegment(9) { Sequence = 41 };
        segment.Commit(null, disk.RecordBytes, disk.First, disk.Update(5, 12), disk.Trim(4096, 1 << 20));
        return segment;
    }

    public static SegmentCatalog ReadFooter(byte[] bytes, out SegmentFooter footer)
    {
        var fault = SegmentFooter.TryRead(bytes.AsSpan(^SegmentFooterLayout.Size), LayoutSamples.Device, out footer);
        return fault == LayoutFault.None && SegmentCatalog.TryRead(footer, bytes, out var catalog)
            ? catalog
            : throw new InvalidOperationException($"the footer can't be read: {fault}");
    }

    private static string PathOf(string name) =>
        Path.Combine(TestTree.Root, "tests", "golden", "device-layout", name + ".bin");
}
