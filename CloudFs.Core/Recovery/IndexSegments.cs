using CloudFs.Core.Log;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Recovery;

/// <summary>Segments for pages of the index, from the one table of all segments.</summary>
internal sealed class IndexSegments(SegmentTable segments) : IIndexSegments
{
    public int TakeForIndex() => segments.TakeForPages(SegmentState.Index);

    public void ReleaseIndex(int segment) => segments.ReleasePages(segment, SegmentState.Index);
}
