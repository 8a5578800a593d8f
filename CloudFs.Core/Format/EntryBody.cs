using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>Checks an entry's body against its header.</summary>
public static class EntryBody
{
    /// <summary>
    /// Checks each present page's bytes against both hashes of its record, and that no update logs a page of zeroes as
    /// data. Dropped pages have no bytes, and so pass.
    /// </summary>
    /// <param name="header">The header's bytes, read without error.</param>
    /// <param name="fields">What was read from them.</param>
    /// <param name="body">The body, exactly.</param>
    /// <param name="error">The first rule that is broken.</param>
    /// <param name="badPage">Index of the page that broke it; -1 where no page did.</param>
    public static bool VerifyPages(
        ReadOnlySpan<byte> header, in EntryHeader fields, ReadOnlySpan<byte> body,
        out FormatError error, out int badPage)
    {
        badPage = -1;
        error = body.Length == fields.BodyLength ? FormatError.None : FormatError.BodySize;
        if (error != FormatError.None)
        {
            return false;
        }

        foreach (var page in EntryPages.Of(header, fields))
        {
            if (!page.IsPresent)
            {
                continue;
            }

            error = VerifyPage(page.Record, body.Slice(page.BodyOffset, page.Record.Length), fields.Kind);
            if (error != FormatError.None)
            {
                badPage = page.Index;
                return false;
            }
        }

        return true;
    }

    /// <summary>Checks one page's bytes as <see cref="VerifyPages"/> does. The length is the record's.</summary>
    public static FormatError VerifyPage(in PageRecord record, ReadOnlySpan<byte> page, EntryKind kind)
    {
        if (XXH64.DigestOf(page) != record.Xxh64)
        {
            return FormatError.PageXxh64;
        }

        if (Sha1Hash.Of(page) != record.Sha1)
        {
            return FormatError.PageSha1;
        }

        return kind == EntryKind.Update && IsZero(page) ? FormatError.PageOfZeroes : FormatError.None;
    }

    /// <summary>True if there is no byte but zero.</summary>
    public static bool IsZero(ReadOnlySpan<byte> bytes) => bytes.IndexOfAnyExcept((byte)0) < 0;
}
