using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// Reads headers. Nothing is allocated or thrown, and nothing is believed before it was checked: the order of checks is
/// that of <see cref="FormatError"/>, cheap ones first, so that random bytes cost little.
/// </summary>
public static class EntryHeaderCodec
{
    /// <summary>
    /// Frames an entry by its first 16 bytes, before room for the rest is found. What passes here may still be
    /// anything, but no longer than the limits.
    /// </summary>
    /// <param name="first16">At least <see cref="EntryLayout.FramingSize"/> bytes; fewer are
    /// <see cref="FormatError.Cut"/>.</param>
    /// <param name="headerLength">Bytes of the header; 0 on error.</param>
    /// <param name="bodyLength">Bytes of the body; 0 on error.</param>
    /// <param name="error">Why not.</param>
    public static bool TryReadLengths(
        ReadOnlySpan<byte> first16, out int headerLength, out int bodyLength, out FormatError error)
    {
        error = CheckFraming(first16);
        headerLength = 0;
        bodyLength = 0;
        if (error != FormatError.None)
        {
            return false;
        }

        headerLength = BinaryPrimitives.ReadInt32LittleEndian(first16[EntryLayout.HeaderLengthOffset..]);
        bodyLength = BinaryPrimitives.ReadInt32LittleEndian(first16[EntryLayout.BodyLengthOffset..]);
        return true;
    }

    /// <summary>Checks all that a header can prove by itself, its id included, and reads the fixed fields.</summary>
    /// <param name="headerBytes">The header, exactly.</param>
    /// <param name="header">The fields; default on error.</param>
    /// <param name="error">The first rule that is broken.</param>
    public static bool TryRead(ReadOnlySpan<byte> headerBytes, out EntryHeader header, out FormatError error)
    {
        header = default;
        error = CheckStructure(headerBytes);
        if (error != FormatError.None)
        {
            return false;
        }

        var entropy = EntryHashes.Entropy(headerBytes);
        var fields = ReadFields(headerBytes, entropy);
        if (EntryHashes.Id(entropy, fields.Lock) != fields.Id)
        {
            error = FormatError.Id;
            return false;
        }

        header = fields;
        return true;
    }

    /// <summary>The extent with that index, from 0, of a header that was read.</summary>
    public static ExtentRecord ReadExtent(ReadOnlySpan<byte> header, int index) =>
        ExtentRecord.Read(header[(EntryLayout.FixedSize + (index * EntryLayout.ExtentSize))..]);

    /// <summary>The page record with that index, from 0, of a header that was read.</summary>
    public static PageRecord ReadPage(ReadOnlySpan<byte> header, in EntryHeader fields, int index) =>
        PageRecord.Read(header.Slice(PageOffset(fields.ExtentCount, index), EntryLayout.PageRecordSize));

    /// <summary>Where a page's record begins in the header.</summary>
    internal static int PageOffset(int extents, int index) =>
        EntryLayout.FixedSize + (extents * EntryLayout.ExtentSize) + (index * EntryLayout.PageRecordSize);

    internal static (int Extents, int Pages) ReadCounts(ReadOnlySpan<byte> header) => (
        BinaryPrimitives.ReadUInt16LittleEndian(header[EntryLayout.ExtentCountOffset..]),
        BinaryPrimitives.ReadUInt16LittleEndian(header[EntryLayout.PageCountOffset..]));

    /// <summary>XXH64 of the header with the check's own 8 bytes taken as zeroes.</summary>
    internal static ulong ComputeCheck(ReadOnlySpan<byte> header)
    {
        ReadOnlySpan<byte> zeroes = [0, 0, 0, 0, 0, 0, 0, 0];
        var hash = default(XXH64);
        hash.Update(header[..EntryLayout.CheckOffset]);
        hash.Update(zeroes);
        hash.Update(header[EntryLayout.FixedSize..]);
        return hash.Digest();
    }

    private static FormatError CheckFraming(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < EntryLayout.FramingSize)
        {
            return FormatError.Cut;
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != EntryLayout.Magic)
        {
            return FormatError.Magic;
        }

        if (bytes[EntryLayout.FormatOffset] != EntryLayout.FormatVersion)
        {
            return FormatError.FormatVersion;
        }

        var kind = (EntryKind)bytes[EntryLayout.KindOffset];
        if (kind is < EntryKind.Update or > EntryKind.Attributes)
        {
            return FormatError.Kind;
        }

        if (bytes[EntryLayout.DigestOffset] != EntryLayout.DigestSha1)
        {
            return FormatError.Digest;
        }

        var flagsAllowed = kind == EntryKind.Update ? EntryLayout.FlagCompacted : 0;
        if ((bytes[EntryLayout.FlagsOffset] & ~flagsAllowed) != 0)
        {
            return FormatError.Flags;
        }

        return CheckLengths(bytes, kind);
    }

    private static FormatError CheckLengths(ReadOnlySpan<byte> bytes, EntryKind kind)
    {
        var headerLength = BinaryPrimitives.ReadUInt32LittleEndian(bytes[EntryLayout.HeaderLengthOffset..]);
        if (headerLength is 0 or > EntryLayout.MaxHeaderLength || headerLength % EntryLayout.SectorSize != 0)
        {
            return FormatError.HeaderLength;
        }

        var bodyLength = BinaryPrimitives.ReadUInt32LittleEndian(bytes[EntryLayout.BodyLengthOffset..]);
        var missing = bodyLength == 0 && kind != EntryKind.Update;
        return bodyLength > EntryLayout.MaxBodyLength || bodyLength % EntryLayout.SectorSize != 0 || missing
            ? FormatError.BodyLength
            : FormatError.None;
    }

    /// <summary>All checks but that of the id, which is the only one that hashes with SHA-1.</summary>
    internal static FormatError CheckStructure(ReadOnlySpan<byte> header)
    {
        if (!TryReadLengths(header, out var headerLength, out _, out var error))
        {
            return error;
        }

        if (header.Length != headerLength)
        {
            return FormatError.HeaderSize;
        }

        var (extents, pages) = ReadCounts(header);
        if (headerLength != EntryLayout.HeaderLength(extents, pages))
        {
            return FormatError.Counts;
        }

        if (BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]) == 0)
        {
            return FormatError.Lsn;
        }

        if (!EntryBody.IsZero(header.Slice(EntryLayout.ReservedOffset, EntryLayout.ReservedSize)))
        {
            return FormatError.Reserved;
        }

        error = EntryShape.Check(header);
        if (error != FormatError.None)
        {
            return error;
        }

        if (!EntryBody.IsZero(header[EntryLayout.UnpaddedLength(extents, pages)..]))
        {
            return FormatError.Padding;
        }

        var check = BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.CheckOffset..]);
        return check == ComputeCheck(header) ? FormatError.None : FormatError.Check;
    }

    internal static EntryHeader ReadFields(ReadOnlySpan<byte> header, Id160 entropy)
    {
        var (extents, pages) = ReadCounts(header);
        return new EntryHeader
        {
            Kind = (EntryKind)header[EntryLayout.KindOffset],
            Flags = header[EntryLayout.FlagsOffset],
            HeaderLength = header.Length,
            BodyLength = BinaryPrimitives.ReadInt32LittleEndian(header[EntryLayout.BodyLengthOffset..]),
            Lsn = BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.LsnOffset..]),
            Disk = new(header.Slice(EntryLayout.DiskOffset, EntryLayout.DiskSize)),
            Previous = new(header.Slice(EntryLayout.PreviousOffset, EntryLayout.PreviousSize)),
            Parent = new(header.Slice(EntryLayout.ParentOffset, EntryLayout.ParentSize)),
            Lock = new(header.Slice(EntryLayout.LockOffset, EntryLayout.LockSize)),
            Id = new(header.Slice(EntryLayout.IdOffset, EntryLayout.IdSize)),
            ExtentCount = extents,
            PageCount = pages,
            TimeMicros = BinaryPrimitives.ReadUInt64LittleEndian(header[EntryLayout.TimeOffset..]),
            Entropy = entropy,
        };
    }
}
