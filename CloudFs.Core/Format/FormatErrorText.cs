namespace CloudFs.Core.Format;

/// <summary>What was expected where an entry is not well made.</summary>
public static class FormatErrorText
{
    /// <summary>One clause without a full stop, to stand after "LSN 7: ".</summary>
    public static string Text(this FormatError error) => error switch
    {
        FormatError.None => "the entry is well made",
        FormatError.Cut => "the bytes end within an entry",
        FormatError.Magic => "an entry begins with the bytes CFSE",
        FormatError.FormatVersion => "this program reads format 1 only",
        FormatError.Kind => "the kind is 1 update, 2 view, 3 branch or 4 attributes",
        FormatError.Digest => "the digest is 1, SHA-1",
        FormatError.Flags => "no flag but bit 0, compacted, and that in updates only",
        FormatError.HeaderLength => "headerLength is a multiple of 512 from 512 to 65536",
        FormatError.BodyLength => "bodyLength is a multiple of 512, at most 1048576, and not 0 where the body is JSON",
        FormatError.HeaderSize => "the bytes given are the header, as long as headerLength says",
        FormatError.Counts => "headerLength is 160 + 16 per extent + 32 per page, rounded up to a multiple of 512",
        FormatError.EmptyUpdate => "an update has at least one extent",
        FormatError.UnexpectedExtents => "only an update has extents",
        FormatError.Lsn => "an LSN is at least 1",
        FormatError.Reserved => "the reserved bytes of the header are zeroes",
        FormatError.ExtentSectors => "an extent has at least one sector",
        FormatError.ExtentRange => "an extent ends at or before sector 2^55",
        FormatError.ExtentKind => "an extent's kind is 0 data or 1 zero",
        FormatError.ExtentReserved => "an extent's last 3 bytes are zeroes",
        FormatError.PageCount => "there is one page record for each page of the body, no more and no fewer",
        FormatError.PageSectors => "a page's sectors are what cutting at multiples of 8 gives",
        FormatError.PageState => "a page's state is 0 present or 1 dropped",
        FormatError.PageReserved => "a page record's last 2 bytes are zeroes",
        FormatError.PageDropped => "the pages of a JSON body are never dropped",
        FormatError.CompactedFlag => "the flag compacted is set if and only if some page is dropped",
        FormatError.BodySum => "bodyLength is the sum of the present pages' bytes",
        FormatError.Padding => "the header's padding is zeroes",
        FormatError.Check => "check is the XXH64 of the header",
        FormatError.Id => "id is H(entropy || lock)",
        FormatError.BodySize => "the body is as long as bodyLength says",
        FormatError.PageXxh64 => "a page's bytes have the XXH64 of its record",
        FormatError.PageSha1 => "a page's bytes have the SHA-1 of its record",
        FormatError.PageOfZeroes => "a page of zeroes is logged as a zero extent, never as data",
        FormatError.JsonEncoding => "the body is UTF-8",
        FormatError.JsonPadding => "the body is an object from its first byte on, with nothing but spaces after it",
        FormatError.JsonSyntax => "the body is one JSON object",
        FormatError.JsonKeyTwice => "no key stands twice in an object",
        FormatError.JsonKeyMissing => "a required key is there",
        FormatError.JsonKeyUnexpected => "attributes hold only disk, snapshots and horizon",
        FormatError.JsonValue => "a value has its key's type and range",
        _ => "unknown error",
    };
}
