using CloudFs.Core.Devices;
using CloudFs.Core.Log;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>Segments for pages of the index, from the one table of all segments.</summary>
internal sealed class IndexSegments(SegmentTable segments, BadPlaces bad) : IIndexSegments
{
    /// <summary>
    /// True while an index is rebuilt, when nobody has reserved blocks yet: the first write to a segment reserves them, and the
    /// start fails if that can't be done.
    /// </summary>
    public bool TakesUnbacked { get; set; }

    public int TakeForIndex()
    {
        var taken = segments.TakeForPages(SegmentState.Index);
        if (taken < 0 && TakesUnbacked && segments.FindUnbacked() is var unbacked and >= 0)
        {
            segments.SetBacked(unbacked);
            taken = segments.TakeForPages(SegmentState.Index);
        }

        return taken;
    }

    public void ReleaseIndex(int segment) => segments.ReleasePages(segment, SegmentState.Index);

    public bool IsBad(int segment) => bad.Contains(segment);

    public Task CondemnIndexAsync(int segment, DeviceException why) => bad.CondemnAsync(segment, why);
}
