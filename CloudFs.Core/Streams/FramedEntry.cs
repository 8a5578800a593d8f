using CloudFs.Core.Format;

namespace CloudFs.Core.Streams;

/// <summary>What <see cref="EntryFramer.NextAsync"/> found.</summary>
public enum FramingOutcome
{
    /// <summary>A whole entry, as long as its header says. Nothing else of it was checked.</summary>
    Entry,

    /// <summary>The stream ended behind an entry, as it should.</summary>
    End,

    /// <summary>The stream ended within an entry.</summary>
    Cut,

    /// <summary>No entry begins here.</summary>
    Malformed,
}

/// <summary>The next piece of a stream of entries.</summary>
/// <param name="Outcome">What it is.</param>
/// <param name="Position">Where it begins, in bytes from the start of the stream.</param>
/// <param name="Bytes">The entry, header and body; valid until the next call. Empty unless there is one.</param>
/// <param name="HeaderLength">How many of the bytes are the header.</param>
/// <param name="Error">Why no entry begins here.</param>
public readonly record struct FramedEntry(
    FramingOutcome Outcome, ulong Position, ReadOnlyMemory<byte> Bytes, int HeaderLength, FormatError Error)
{
    public ReadOnlyMemory<byte> Header => Bytes[..HeaderLength];

    public ReadOnlyMemory<byte> Body => Bytes[HeaderLength..];
}
