namespace CloudFs.Core.Layout;

/// <summary>
/// Where things lie on a device (docs/format/device.md):
/// <code>
/// 0        label, first copy (4 KiB)
/// 1 MiB    label, second copy (4 KiB)
/// 1.25 MiB list of bad places, four blocks of 4 KiB, 128 KiB apart
/// 2 MiB    checkpoint slot 0 (2 MiB)
/// 4 MiB    checkpoint slot 1 (2 MiB)
/// 6 MiB    index pages, the first 511 (docs/format/index.md)
/// 8 MiB    segments of 16 MiB each, as many as fit
/// </code>
/// </summary>
public static class DeviceGeometry
{
    /// <summary>The label is far from its copy, so that one bad spot can't take both.</summary>
    public const int LabelBytes = 4096;

    public const ulong LabelCopyOffset = 1 << 20;

    /// <summary>Of the list of bad places two blocks are current, and two are older, or were bad themselves.</summary>
    public const int BadListBlocks = 4;

    public const ulong CheckpointSlotsOffset = 2 << 20;

    /// <summary>A small index fits a slot; a larger one spills into segments.</summary>
    public const int CheckpointSlotBytes = 2 << 20;

    public const int CheckpointSlots = 2;

    public const ulong SegmentsOffset = 8 << 20;

    public const int SegmentBytes = 1 << Primitives.LogPosition.OffsetBits;

    /// <summary>One open, one ahead of it, the reserve, and room for something to be in the log.</summary>
    public const int MinSegments = 6;

    /// <summary>The smallest device that can be used, in bytes (104 MiB).</summary>
    public const ulong MinDeviceBytes = SegmentsOffset + ((ulong)MinSegments * SegmentBytes);

    /// <summary>The largest physical block that commits can be padded to.</summary>
    public const int MaxPhysicalBlock = 4096;

    /// <summary>The device offset of a label copy (0 or 1).</summary>
    public static ulong LabelOffset(int copy) => copy == 0 ? 0 : LabelCopyOffset;

    /// <summary>The device offset of a block of the list of bad places (0 to 3).</summary>
    public static ulong BadListOffset(int block) => (5UL << 18) + ((ulong)block << 17);

    /// <summary>The device offset of a checkpoint slot (0 or 1).</summary>
    public static ulong CheckpointSlotOffset(int slot) => CheckpointSlotsOffset + ((ulong)slot * CheckpointSlotBytes);

    /// <summary>The device offset of a segment.</summary>
    public static ulong SegmentOffset(int segment) => SegmentsOffset + ((ulong)segment * SegmentBytes);

    /// <summary>How many segments a device of this length has.</summary>
    public static int SegmentCount(ulong deviceBytes) =>
        deviceBytes < SegmentsOffset ? 0 : checked((int)((deviceBytes - SegmentsOffset) / SegmentBytes));

    /// <summary>The next multiple of a power of two.</summary>
    public static int AlignUp(int value, int alignment) => (value + alignment - 1) & ~(alignment - 1);
}
