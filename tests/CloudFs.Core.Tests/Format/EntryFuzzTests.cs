using System.Text;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>
/// Whatever the bytes, the parsers answer with an error or a value, never with an exception. The corpus is the golden
/// streams, good and bad, and the bodies in json-bodies.txt; the mutations are the same in every run.
/// </summary>
public sealed class EntryFuzzTests
{
    private const int Rounds = 4000;

    private static readonly string[] Streams =
        [.. Directory.GetFiles(TestTree.Golden(""), "*.stream").Order(StringComparer.Ordinal)];

    [Fact]
    public void Any_mutated_stream_is_answered_with_verdicts()
    {
        var chance = new Random(4);
        foreach (var path in Streams)
        {
            var stream = File.ReadAllBytes(path);
            for (var i = 0; i < 20; i++)
            {
                EntryStream.Verify(new(), Mutate(chance, stream));
            }
        }
    }

    [Fact]
    public void Any_mutated_header_is_answered_also_where_its_hashes_are_mended()
    {
        var chance = new Random(5);
        var entries = Streams.SelectMany(path => EntryStream.Cut(File.ReadAllBytes(path)).Entries).ToList();
        for (var i = 0; i < Rounds; i++)
        {
            var entry = entries[chance.Next(entries.Count)];
            var header = Mutate(chance, entry.Header);
            if (header.Length >= EntryLayout.FixedSize)
            {
                Mutants.Mend(header, mendId: true);
            }

            new ChainVerifier().Add(header, chance.Next(4) == 0 ? Mutate(chance, entry.Body) : entry.Body);
        }
    }

    [Fact]
    public void Any_mutated_json_body_is_refused_or_can_be_written_and_read_again()
    {
        var chance = new Random(6);
        var corpus = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Format", "json-bodies.txt"))
            .Where(line => !line.StartsWith('#')).Select(Encoding.UTF8.GetBytes).ToList();
        foreach (var body in corpus)
        {
            ParseAllKinds(body);
            for (var i = 0; i < Rounds / corpus.Count; i++)
            {
                ParseAllKinds(Mutate(chance, body));
            }
        }
    }

    private static void ParseAllKinds(byte[] body)
    {
        foreach (var kind in new[] { EntryKind.View, EntryKind.Branch, EntryKind.Attributes })
        {
            if (!EntryBodyParsed.TryParse(kind, body, out var parsed, out var fault))
            {
                Assert.NotEqual(FormatError.None, fault.Error);
                continue;
            }

            var written = parsed!.View?.ToBytes() ?? parsed.Attributes.ToBytes();
            Assert.True(EntryBodyParsed.TryParse(kind, written, out var again, out fault), fault.ToString());
            Assert.Equal(written, again!.View?.ToBytes() ?? again.Attributes.ToBytes());
            var state = DiskAttributes.Empty.Merge(parsed.Attributes);
            Assert.True(DiskAttributes.TryParse(state.ToJson(), out var restored, out fault), fault.ToString());
            Assert.Equal(state.ToJson(), restored.ToJson());
        }
    }

    private static byte[] Mutate(Random chance, byte[] source)
    {
        var bytes = source.ToList();
        for (var changes = chance.Next(1, 4); changes > 0 && bytes.Count > 0; changes--)
        {
            var at = chance.Next(bytes.Count);
            switch (chance.Next(6))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << chance.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)chance.Next(256);
                    break;
                case 2:
                    // The fixed fields are where the most can go wrong.
                    bytes[Math.Min(at, chance.Next(EntryLayout.FixedSize))] = (byte)(chance.Next(2) * 0xFF);
                    break;
                case 3:
                    bytes.RemoveRange(at, Math.Min(chance.Next(1, 20), bytes.Count - at));
                    break;
                case 4:
                    bytes.InsertRange(at, bytes.GetRange(at, Math.Min(chance.Next(1, 40), bytes.Count - at)));
                    break;
                default:
                    bytes[at] = (byte)"{}[]\":,\\0 -e"[chance.Next(12)];
                    break;
            }
        }

        return [.. bytes];
    }
}
