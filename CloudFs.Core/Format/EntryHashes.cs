using System.Buffers;
using System.Runtime.CompilerServices;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// The hashes that tie entries to a chain (FORMAT.md, "The chain"); H is SHA-1.
/// <code>
/// content = H(kind ‖ lsn ‖ time ‖ reserved ‖ extentCount ‖ pageCount ‖ extents ‖ each page's sha1)
/// entropy = H(previous ‖ parent ‖ content)    token = H(secret ‖ entropy)
/// lock    = H(token)                          id    = H(entropy ‖ lock)
/// </code>
/// Pure and free of allocations; the scratch of unusually large headers is pooled.
/// </summary>
public static class EntryHashes
{
    // The pieces of content lie apart in the header; one call over gathered bytes is faster than many over pieces.
    private const int ContentFixedSize = EntryLayout.KindSize + EntryLayout.LsnSize + EntryLayout.TimeSize
        + EntryLayout.ReservedSize + EntryLayout.ExtentCountSize + EntryLayout.PageCountSize;

    // Room for the 256 pages of a full body of whole pages; only headers of many short pages are larger.
    private const int StackScratchSize = 8192;

    /// <summary>The content hash of a header whose lengths and counts are sound.</summary>
    [SkipLocalsInit]
    public static Id160 Content(ReadOnlySpan<byte> header)
    {
        var (extents, pages) = EntryHeaderCodec.ReadCounts(header);
        var size = ContentFixedSize + (extents * EntryLayout.ExtentSize) + (pages * Id160.Size);
        if (size <= StackScratchSize)
        {
            Span<byte> scratch = stackalloc byte[StackScratchSize];
            return Content(header, extents, pages, scratch[..size]);
        }

        var rented = ArrayPool<byte>.Shared.Rent(size);
        var content = Content(header, extents, pages, rented.AsSpan(0, size));
        ArrayPool<byte>.Shared.Return(rented);
        return content;
    }

    /// <summary>The entropy of a header whose lengths and counts are sound.</summary>
    public static Id160 Entropy(ReadOnlySpan<byte> header) => Entropy(
        new(header.Slice(EntryLayout.PreviousOffset, EntryLayout.PreviousSize)),
        new(header.Slice(EntryLayout.ParentOffset, EntryLayout.ParentSize)),
        Content(header));

    /// <summary>H(previous ‖ parent ‖ content).</summary>
    [SkipLocalsInit]
    public static Id160 Entropy(Id160 previous, Id160 parent, Id160 content)
    {
        Span<byte> joined = stackalloc byte[3 * Id160.Size];
        previous.WriteTo(joined);
        parent.WriteTo(joined[Id160.Size..]);
        content.WriteTo(joined[(2 * Id160.Size)..]);
        return Hash(joined);
    }

    /// <summary>The token of an entry: what the next one must state as its parent. Secret until then.</summary>
    public static Id160 Token(Id160 secret, Id160 entropy) => Hash(secret, entropy);

    /// <summary>The lock that a token opens.</summary>
    public static Id160 Lock(Id160 token) => Hash(token);

    /// <summary>The public id of the version that an entry makes.</summary>
    public static Id160 Id(Id160 entropy, Id160 @lock) => Hash(entropy, @lock);

    /// <summary>What a view's body states as <c>view</c>, of the view's secret.</summary>
    public static Id160 ViewOf(Id160 secret) => Hash(secret);

    private static Id160 Content(ReadOnlySpan<byte> header, int extents, int pages, Span<byte> scratch)
    {
        // extentCount, pageCount | time | reserved stand in another order in the header than in the hash.
        var end = Put(scratch, header.Slice(EntryLayout.KindOffset, EntryLayout.KindSize));
        end = Put(end, header.Slice(EntryLayout.LsnOffset, EntryLayout.LsnSize));
        end = Put(end, header.Slice(EntryLayout.TimeOffset, EntryLayout.TimeSize + EntryLayout.ReservedSize));
        end = Put(
            end,
            header.Slice(EntryLayout.ExtentCountOffset, EntryLayout.ExtentCountSize + EntryLayout.PageCountSize));
        end = Put(end, header.Slice(EntryLayout.FixedSize, extents * EntryLayout.ExtentSize));
        var records = header[(EntryLayout.FixedSize + (extents * EntryLayout.ExtentSize))..];
        for (var i = 0; i < pages; i++)
        {
            var at = (i * EntryLayout.PageRecordSize) + EntryLayout.PageSha1Offset;
            end = Put(end, records.Slice(at, EntryLayout.PageSha1Size));
        }

        return Hash(scratch);
    }

    private static Span<byte> Put(Span<byte> destination, ReadOnlySpan<byte> piece)
    {
        piece.CopyTo(destination);
        return destination[piece.Length..];
    }

    [SkipLocalsInit]
    private static Id160 Hash(Id160 first, Id160 second)
    {
        Span<byte> joined = stackalloc byte[2 * Id160.Size];
        first.WriteTo(joined);
        second.WriteTo(joined[Id160.Size..]);
        return Hash(joined);
    }

    [SkipLocalsInit]
    private static Id160 Hash(Id160 value)
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        value.WriteTo(bytes);
        return Hash(bytes);
    }

    private static Id160 Hash(ReadOnlySpan<byte> bytes) => Sha1Hash.Of(bytes);
}
