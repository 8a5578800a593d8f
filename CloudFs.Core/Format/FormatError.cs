namespace CloudFs.Core.Format;

/// <summary>
/// Why an entry is not well made, in the order in which it is checked; <see cref="FormatErrorText"/> says what was
/// expected. What an entry must be beside the one before it is <c>ChainError</c>'s.
/// </summary>
public enum FormatError
{
    None = 0,

    // Framing: the first 16 bytes.
    Cut,
    Magic,
    FormatVersion,
    Kind,
    Digest,
    Flags,
    HeaderLength,
    BodyLength,

    // The header alone.
    HeaderSize,
    Counts,
    EmptyUpdate,
    UnexpectedExtents,
    Lsn,
    Reserved,
    ExtentSectors,
    ExtentRange,
    ExtentKind,
    ExtentReserved,
    PageCount,
    PageSectors,
    PageState,
    PageReserved,
    PageDropped,
    CompactedFlag,
    BodySum,
    Padding,
    Check,
    Id,

    // Header and body.
    BodySize,
    PageXxh64,
    PageSha1,
    PageOfZeroes,

    // The JSON of kinds 2, 3 and 4.
    JsonEncoding,
    JsonPadding,
    JsonSyntax,
    JsonKeyTwice,
    JsonKeyMissing,
    JsonKeyUnexpected,
    JsonValue,
}
