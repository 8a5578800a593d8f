using System.Globalization;
using System.Text;
using CloudFs.Daemon.Http;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>
/// What the parsers of headers and queries say of a checked-in corpus: each line is an input and, behind the last tab,
/// the verdict. Bytes that a text file can't show are written <c>\u0000</c>.
/// </summary>
public sealed class HeaderCorpusTests
{
    [Fact]
    public void Range_says_of_the_corpus_what_it_said_before() => Replay("range.txt", cells =>
    {
        var size = ulong.Parse(cells[0], CultureInfo.InvariantCulture);
        var verdict = RangeHeaders.ParseRange(Unescape(cells[1]), size, out var range);
        return verdict == RangeVerdict.Good ? $"{verdict} {range}" : verdict.ToString();
    });

    [Fact]
    public void Content_range_says_of_the_corpus_what_it_said_before() => Replay("content-range.txt", cells =>
    {
        var size = ulong.Parse(cells[0], CultureInfo.InvariantCulture);
        var verdict = RangeHeaders.ParseContentRange(Unescape(cells[1]), size, out var range);
        return verdict == RangeVerdict.Good ? $"{verdict} {range}" : verdict.ToString();
    });

    [Fact]
    public void Query_says_of_the_corpus_what_it_said_before() => Replay("query.txt", cells =>
        DiskQuery.Parse(Unescape(cells[0]), out var query) is { } wrong
            ? Escape(wrong)
            : Escape($"disk={query.Disk} lsn={query.Lsn} version={query.Version} once={query.Once}"));

    [Fact]
    public void Entity_tags_say_of_the_corpus_what_they_said_before() => Replay("etag.txt", cells =>
        EntityTags.TryParse(Unescape(cells[0]), out var any, out var versions)
            ? $"any={any} versions={string.Join(' ', versions)}"
            : "malformed");

    private static void Replay(string file, Func<string[], string> judge)
    {
        var name = Path.Combine("http-fuzz", file);
        var actual = new StringBuilder();
        foreach (var line in File.ReadAllLines(Golden.PathOf(name)))
        {
            var cells = line.Split('\t');
            actual.AppendJoin('\t', cells[..^1]).Append('\t').Append(judge(cells)).Append('\n');
        }

        Golden.Check(name, actual.ToString());
    }

    private static string Unescape(string text)
    {
        var plain = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                var digits = text.AsSpan(i + 2, 4);
                plain.Append((char)int.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture));
                i += 5;
            }
            else
            {
                plain.Append(text[i]);
            }
        }

        return plain.ToString();
    }

    private static string Escape(string text)
    {
        var shown = new StringBuilder();
        foreach (var c in text)
        {
            shown.Append(c is >= ' ' and <= '~' or '…'
                ? c.ToString() : string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"));
        }

        return shown.ToString();
    }
}
