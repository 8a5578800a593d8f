using CloudFs.Core.Index;
using CloudFs.Core.Layout;

namespace CloudFs.Core.Trees;

/// <summary>
/// The numbers of index pages, and where they lie: 0 is none; 1 to 511 lie in the fixed area before the segments; from
/// 4096 on, 4096 for each segment, slot by slot.
/// </summary>
public static class IndexPageNumber
{
    /// <summary>Where the fixed area begins: behind the checkpoint slots.</summary>
    public const ulong FixedAreaOffset =
        DeviceGeometry.CheckpointSlotsOffset + (DeviceGeometry.CheckpointSlots * DeviceGeometry.CheckpointSlotBytes);

    /// <summary>Slots of the fixed area; the first is never used, its number is "none".</summary>
    public const int FixedPages = (int)((DeviceGeometry.SegmentsOffset - FixedAreaOffset) / IndexPageLayout.Size);

    /// <summary>Pages that a segment has room for.</summary>
    public const int PagesInSegment = DeviceGeometry.SegmentBytes / IndexPageLayout.Size;

    /// <summary>The first number that lies in a segment.</summary>
    public const ulong FirstInSegments = PagesInSegment;

    /// <summary>What stands for the fixed area where a segment is told.</summary>
    public const int FixedArea = -1;

    /// <summary>The number of a page.</summary>
    public static ulong Of(int segment, int slot) =>
        segment == FixedArea ? (ulong)slot : FirstInSegments + ((ulong)segment * PagesInSegment) + (ulong)slot;

    /// <summary>The segment and slot of a page.</summary>
    public static (int Segment, int Slot) PlaceOf(ulong page) => page < FirstInSegments
        ? (FixedArea, (int)page)
        : (checked((int)((page - FirstInSegments) / PagesInSegment)), (int)(page % PagesInSegment));

    /// <summary>Where a page lies on a device of this length; false when there is no such page.</summary>
    public static bool TryOffset(ulong page, ulong deviceBytes, out ulong offset)
    {
        offset = 0;
        if (page is 0 or (>= FixedPages and < FirstInSegments) || page > deviceBytes)
        {
            return false;
        }

        var (segment, slot) = PlaceOf(page);
        offset = AreaOffset(segment) + ((ulong)slot * IndexPageLayout.Size);
        return segment < DeviceGeometry.SegmentCount(deviceBytes);
    }

    /// <summary>Where a segment, or the fixed area, begins.</summary>
    internal static ulong AreaOffset(int segment) =>
        segment == FixedArea ? FixedAreaOffset : DeviceGeometry.SegmentOffset(segment);
}
