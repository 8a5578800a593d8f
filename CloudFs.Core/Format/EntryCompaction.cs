using System.Buffers.Binary;

namespace CloudFs.Core.Format;

/// <summary>
/// Takes pages out of an update, or puts them back from another copy of it. Only state, flag, bodyLength and check
/// change, so the entry's id, and with it the chain, stays what it was. Pure.
/// </summary>
public static class EntryCompaction
{
    /// <summary>Drops pages. Works in place too: a destination may be the very bytes of its source.</summary>
    /// <param name="header">The header, read without error.</param>
    /// <param name="fields">What was read from it.</param>
    /// <param name="body">Its body.</param>
    /// <param name="pages">Indexes of the pages to drop, ascending; those already dropped stay so.</param>
    /// <param name="headerDestination">Room for the header.</param>
    /// <param name="bodyDestination">Room for what is left of the body.</param>
    /// <returns>Bytes of the new body.</returns>
    /// <exception cref="ArgumentException">The entry is no update: the pages of other kinds are never
    /// dropped.</exception>
    public static int Drop(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body, ReadOnlySpan<int> pages,
        Span<byte> headerDestination, Span<byte> bodyDestination)
    {
        RequireUpdate(fields);
        var target = headerDestination[..header.Length];
        var compacted = new Rewrite(fields.ExtentCount);
        header.CopyTo(target);
        foreach (var page in EntryPages.Of(header, fields))
        {
            while (pages.Length > 0 && pages[0] < page.Index)
            {
                pages = pages[1..];
            }

            var keep = page.IsPresent && (pages.IsEmpty || pages[0] != page.Index);
            compacted.Put(page, keep ? body : default, target, bodyDestination);
        }

        return compacted.Finish(target);
    }

    /// <summary>
    /// What <see cref="Drop"/> does to the header alone, for who puts the body together page by page. Works in place too.
    /// </summary>
    /// <param name="header">The header, read without error.</param>
    /// <param name="fields">What was read from it.</param>
    /// <param name="pages">Indexes of the pages to drop, ascending; those already dropped stay so.</param>
    /// <param name="headerDestination">Room for the header.</param>
    /// <returns>Bytes that the body has without them.</returns>
    /// <exception cref="ArgumentException">The entry is no update.</exception>
    public static int DropFromHeader(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<int> pages, Span<byte> headerDestination)
    {
        RequireUpdate(fields);
        var target = headerDestination[..header.Length];
        var compacted = new Rewrite(fields.ExtentCount);
        header.CopyTo(target);
        foreach (var page in EntryPages.Of(header, fields))
        {
            while (pages.Length > 0 && pages[0] < page.Index)
            {
                pages = pages[1..];
            }

            _ = compacted.Mark(page, page.IsPresent && (pages.IsEmpty || pages[0] != page.Index), target);
        }

        return compacted.Finish(target);
    }

    /// <summary>Fills dropped pages from another copy of the same entry that still has them.</summary>
    /// <param name="header">The header, read without error.</param>
    /// <param name="fields">What was read from it.</param>
    /// <param name="body">Its body.</param>
    /// <param name="otherHeader">The other copy's header, read without error.</param>
    /// <param name="otherFields">What was read from it; the id is the same.</param>
    /// <param name="otherBody">The other copy's body, its pages verified.</param>
    /// <param name="headerDestination">Room for the header.</param>
    /// <param name="bodyDestination">Room for the body: at most the sum of both.</param>
    /// <returns>Bytes of the new body.</returns>
    /// <exception cref="ArgumentException">The entry is no update, or the copies are of different entries.</exception>
    public static int Fill(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body,
        ReadOnlySpan<byte> otherHeader, in EntryHeader otherFields, ReadOnlySpan<byte> otherBody,
        Span<byte> headerDestination, Span<byte> bodyDestination)
    {
        RequireUpdate(fields);
        if (fields.Id != otherFields.Id)
        {
            throw new ArgumentException($"expected a copy of {fields.Id}, found {otherFields.Id}", nameof(otherFields));
        }

        var target = headerDestination[..header.Length];
        var filled = new Rewrite(fields.ExtentCount);
        header.CopyTo(target);
        var others = EntryPages.Of(otherHeader, otherFields);
        foreach (var page in EntryPages.Of(header, fields))
        {
            others.MoveNext();
            var other = others.Current;
            if (page.IsPresent)
            {
                filled.Put(page, body, target, bodyDestination);
            }
            else
            {
                filled.Put(other, other.IsPresent ? otherBody : default, target, bodyDestination);
            }
        }

        return filled.Finish(target);
    }

    private static void RequireUpdate(in EntryHeader fields)
    {
        if (fields.Kind != EntryKind.Update)
        {
            throw new ArgumentException(FormatError.PageDropped.Text(), nameof(fields));
        }
    }

    /// <summary>The header and body in the making.</summary>
    private struct Rewrite(int extents)
    {
        private int _length;
        private bool _dropped;

        /// <summary>Takes the next page's bytes over, or drops it where there is no body to take them from.</summary>
        public void Put(in EntryPage page, ReadOnlySpan<byte> body, Span<byte> header, Span<byte> destination)
        {
            var offset = Mark(page, !body.IsEmpty, header);
            if (!body.IsEmpty)
            {
                body.Slice(page.BodyOffset, page.Record.Length).CopyTo(destination[offset..]);
            }
        }

        /// <summary>Notes whether the next page's bytes are there, and gives where in the body they belong.</summary>
        public int Mark(in EntryPage page, bool present, Span<byte> header)
        {
            var offset = _length;
            var state = present ? PageState.Present : PageState.Dropped;
            header[EntryHeaderCodec.PageOffset(extents, page.Index) + EntryLayout.PageStateOffset] = (byte)state;
            _dropped |= !present;
            _length += present ? page.Record.Length : 0;
            return offset;
        }

        public readonly int Finish(Span<byte> header)
        {
            header[EntryLayout.FlagsOffset] = _dropped ? EntryLayout.FlagCompacted : (byte)0;
            BinaryPrimitives.WriteInt32LittleEndian(header[EntryLayout.BodyLengthOffset..], _length);
            BinaryPrimitives.WriteUInt64LittleEndian(
                header[EntryLayout.CheckOffset..], EntryHeaderCodec.ComputeCheck(header));
            return _length;
        }
    }
}
