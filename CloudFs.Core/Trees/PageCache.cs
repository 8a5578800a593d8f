using CloudFs.Core.Caches;
using CloudFs.Core.Index;

namespace CloudFs.Core.Trees;

/// <summary>
/// Index pages in memory, shared by all disks, bounded in bytes. Pages are held under number and check together, so that
/// a page whose place was used again is never taken for what stood there before. Safe from any thread.
/// </summary>
/// <param name="capacityBytes">What it may take, its own tables included; at least sixteen pages are held.</param>
public sealed class PageCache(long capacityBytes)
{
    /// <summary>What a page takes, its row in the tables included.</summary>
    internal const int FrameBytes = FrameCache.FrameBytes;

    private readonly FrameCache _frames = new(capacityBytes);

    /// <summary>Look-ups that found their page.</summary>
    public long Hits => _frames.Hits;

    /// <summary>Look-ups that did not.</summary>
    public long Misses => _frames.Misses;

    /// <summary>What the pages held take.</summary>
    public long Bytes => _frames.Bytes;

    /// <summary>Shows a page to the visitor; false when it is not here. Counts, and gives the page a second chance.</summary>
    internal bool TryVisit<T>(ulong page, ulong check, ref T visitor)
        where T : struct, FrameCache.IVisitor => _frames.TryVisit(new FrameKey(page, check), ref visitor);

    /// <summary>Copies a page for somebody who passes by once: that says nothing about what will be wanted again.</summary>
    internal bool TryCopy(ulong page, ulong check, Memory<byte> into) =>
        _frames.TryCopy(new FrameKey(page, check), 0, into.Span[..IndexPageLayout.Size]);

    /// <summary>Takes in a page that was found sound.</summary>
    internal void Add(ulong page, ulong check, ReadOnlySpan<byte> bytes) =>
        _frames.Add(new FrameKey(page, check), 0, bytes[..IndexPageLayout.Size]);
}
