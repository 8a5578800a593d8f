using CloudFs.Core.Chain;
using CloudFs.Core.Format;

namespace CloudFs.Core.Tests.Format;

/// <summary>One entry of a stream that is held in memory.</summary>
internal sealed record StoredEntry(int Offset, byte[] Header, byte[] Body)
{
    public EntryHeader Fields => EntryHeaderCodec.TryRead(Header, out var fields, out var error)
        ? fields
        : throw new InvalidOperationException(error.Text());

    public byte[] Bytes => [.. Header, .. Body];
}

/// <summary>Cuts streams into entries and verifies them, as a reader of <c>/stream</c> would.</summary>
internal static class EntryStream
{
    public static byte[] ReadGolden(string name) => File.ReadAllBytes(TestTree.Golden(name));

    /// <summary>The entries up to the first that can't be framed, and why that one can't.</summary>
    public static (List<StoredEntry> Entries, FormatError Error) Cut(byte[] stream)
    {
        var entries = new List<StoredEntry>();
        var offset = 0;
        while (offset < stream.Length)
        {
            var rest = stream.AsSpan(offset);
            if (!EntryHeaderCodec.TryReadLengths(rest, out var headerLength, out var bodyLength, out var error))
            {
                return (entries, error);
            }

            if (rest.Length < headerLength + bodyLength)
            {
                return (entries, FormatError.Cut);
            }

            var header = rest[..headerLength].ToArray();
            entries.Add(new(offset, header, rest.Slice(headerLength, bodyLength).ToArray()));
            offset += headerLength + bodyLength;
        }

        return (entries, FormatError.None);
    }

    public static List<StoredEntry> Entries(string name) => Cut(ReadGolden(name)).Entries;

    /// <summary>Every entry's verdict, up to and with the first refusal.</summary>
    public static List<EntryVerdict> Verify(ChainVerifier verifier, byte[] stream)
    {
        var (entries, error) = Cut(stream);
        var verdicts = new List<EntryVerdict>();
        foreach (var entry in entries)
        {
            verdicts.Add(verifier.Add(entry.Header, entry.Body));
            if (!verdicts[^1].Accepted)
            {
                return verdicts;
            }
        }

        if (error != FormatError.None)
        {
            var lsn = verdicts.Count == 0 ? 0 : verdicts[^1].Lsn;
            verdicts.Add(new() { Lsn = lsn + 1, Fault = new(error, "") });
        }

        return verdicts;
    }
}
