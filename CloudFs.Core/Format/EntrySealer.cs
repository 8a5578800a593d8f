using System.Buffers.Binary;

namespace CloudFs.Core.Format;

/// <summary>
/// Writes headers: the one place where an entry becomes part of a chain. Hashing the pages is not done here, so that it
/// can run beside; sealing itself is a few short hashes and must be done in LSN order.
/// </summary>
public static class EntrySealer
{
    /// <summary>Bytes of the header for that many extents and pages; above <see cref="EntryLayout.MaxHeaderLength"/>
    /// if they don't fit.</summary>
    public static int HeaderLength(int extents, int pages) => EntryLayout.HeaderLength(extents, pages);

    /// <summary>Writes every byte of the header, padding included. What lies behind it is left alone.</summary>
    /// <param name="draft">The entry's fields.</param>
    /// <param name="headerDestination">At least <see cref="HeaderLength"/> bytes.</param>
    /// <exception cref="ArgumentException">The draft is not one of an entry that a reader would accept, or there is not
    /// enough room. What the destination then holds is nothing.</exception>
    public static SealedEntry Seal(in EntryDraft draft, Span<byte> headerDestination)
    {
        var length = EntryLayout.HeaderLength(draft.Extents.Length, draft.Pages.Length);
        Require(draft.Kind is >= EntryKind.Update and <= EntryKind.Attributes, FormatError.Kind);
        Require(draft.Lsn >= 1, FormatError.Lsn);
        Require(length <= EntryLayout.MaxHeaderLength, FormatError.HeaderLength);
        Require(headerDestination.Length >= length, FormatError.HeaderSize);
        var bodyLength = BodyLength(draft.Pages);

        var header = headerDestination[..length];
        header.Clear();
        WriteFixed(draft, bodyLength, header);
        WriteRecords(draft, header);
        Require(draft.Kind == EntryKind.Update || bodyLength > 0, FormatError.BodyLength);
        var error = EntryShape.Check(header);
        Require(error == FormatError.None, error);

        return Lock(draft, header, bodyLength);
    }

    private static int BodyLength(ReadOnlySpan<PageRecord> pages)
    {
        var length = 0;
        foreach (ref readonly var page in pages)
        {
            Require(page.State == PageState.Present, FormatError.PageState);
            length += page.Length;
        }

        Require(length <= EntryLayout.MaxBodyLength, FormatError.BodyLength);
        return length;
    }

    private static void WriteFixed(in EntryDraft draft, int bodyLength, Span<byte> header)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(header[EntryLayout.MagicOffset..], EntryLayout.Magic);
        header[EntryLayout.FormatOffset] = EntryLayout.FormatVersion;
        header[EntryLayout.KindOffset] = (byte)draft.Kind;
        header[EntryLayout.DigestOffset] = EntryLayout.DigestSha1;
        BinaryPrimitives.WriteInt32LittleEndian(header[EntryLayout.HeaderLengthOffset..], header.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header[EntryLayout.BodyLengthOffset..], bodyLength);
        BinaryPrimitives.WriteUInt64LittleEndian(header[EntryLayout.LsnOffset..], draft.Lsn);
        draft.Disk.WriteTo(header[EntryLayout.DiskOffset..]);
        draft.Previous.WriteTo(header[EntryLayout.PreviousOffset..]);
        draft.Parent.WriteTo(header[EntryLayout.ParentOffset..]);
        BinaryPrimitives.WriteUInt16LittleEndian(
            header[EntryLayout.ExtentCountOffset..], (ushort)draft.Extents.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(header[EntryLayout.PageCountOffset..], (ushort)draft.Pages.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header[EntryLayout.TimeOffset..], draft.TimeMicros);
    }

    private static void WriteRecords(in EntryDraft draft, Span<byte> header)
    {
        var rest = header[EntryLayout.FixedSize..];
        foreach (ref readonly var extent in draft.Extents)
        {
            extent.Write(rest);
            rest = rest[EntryLayout.ExtentSize..];
        }

        foreach (ref readonly var page in draft.Pages)
        {
            page.Write(rest);
            rest = rest[EntryLayout.PageRecordSize..];
        }
    }

    private static SealedEntry Lock(in EntryDraft draft, Span<byte> header, int bodyLength)
    {
        var entropy = EntryHashes.Entropy(draft.Previous, draft.Parent, EntryHashes.Content(header));
        var token = EntryHashes.Token(draft.Secret, entropy);
        var @lock = EntryHashes.Lock(token);
        var id = EntryHashes.Id(entropy, @lock);
        @lock.WriteTo(header[EntryLayout.LockOffset..]);
        id.WriteTo(header[EntryLayout.IdOffset..]);
        if (draft.IsFirst)
        {
            id.WriteTo(header[EntryLayout.DiskOffset..]);
        }

        // The check covers all other bytes, so it comes last.
        BinaryPrimitives.WriteUInt64LittleEndian(
            header[EntryLayout.CheckOffset..], EntryHeaderCodec.ComputeCheck(header));
        return new(id, entropy, @lock, token, header.Length, bodyLength);
    }

    private static void Require(bool holds, FormatError error)
    {
        if (!holds)
        {
            throw new ArgumentException($"the draft can't be sealed: {error.Text()}");
        }
    }
}
