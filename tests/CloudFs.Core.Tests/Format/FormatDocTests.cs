using System.Reflection;
using System.Text.RegularExpressions;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using Xunit;

namespace CloudFs.Core.Tests.Format;

/// <summary>docs/format/entry.md says what the code does: its tables and lists are held against the
/// constants.</summary>
public sealed partial class FormatDocTests
{
    private static readonly string Page = File.ReadAllText(Path.Combine(TestTree.Root, "docs", "format", "entry.md"));

    [Fact]
    public void Every_field_stands_where_the_table_says_and_none_is_left_out()
    {
        var documented = Rows().Matches(Page).Select(row => (
            Name: ConstantOf(row.Groups["field"].Value),
            Offset: int.Parse(row.Groups["offset"].Value, null),
            Size: int.Parse(row.Groups["size"].Value, null)));
        var constants = typeof(EntryLayout).GetFields(BindingFlags.Public | BindingFlags.Static)
            .ToDictionary(field => field.Name, field => field.GetRawConstantValue());
        var laidOut = constants.Keys.Where(name => name.EndsWith("Offset", StringComparison.Ordinal))
            .Select(name => name[..^"Offset".Length])
            .Select(name => (name, (int)constants[name + "Offset"]!, (int)constants[name + "Size"]!));

        Assert.Equal(laidOut.Order(), documented.Order());
    }

    [Fact]
    public void The_sums_of_the_layout_are_those_of_the_format()
    {
        Assert.Equal((160, 16, 32), (EntryLayout.FixedSize, EntryLayout.ExtentSize, EntryLayout.PageRecordSize));
        Assert.Equal((512, 8, 4096), (EntryLayout.SectorSize, EntryLayout.PageSectors, EntryLayout.PageSize));
        Assert.Equal((65_536, 1_048_576), (EntryLayout.MaxHeaderLength, EntryLayout.MaxBodyLength));
        Assert.Equal(16, EntryLayout.FramingSize);
        Assert.Equal("CFSE"u8, BitConverter.GetBytes(EntryLayout.Magic));
        Assert.Equal((512, 1024), (EntryLayout.HeaderLength(0, 11), EntryLayout.HeaderLength(0, 12)));
    }

    [Fact]
    public void The_page_lists_every_error_in_the_order_of_the_checks()
    {
        Assert.Equal(Enum.GetNames<FormatError>().Skip(1), Listed("format errors"));
        Assert.Equal(Enum.GetNames<ChainError>().Skip(1), Listed("chain errors"));
    }

    [Fact]
    public void Every_error_has_a_text_of_its_own()
    {
        var texts = Enum.GetValues<FormatError>().Select(error => error.Text())
            .Concat(Enum.GetValues<ChainError>().Select(error => error.Text())).ToList();

        Assert.Equal(texts.Count, texts.Distinct().Count());
        Assert.DoesNotContain(((FormatError)999).Text(), texts);
    }

    [Fact]
    public void Every_file_that_the_page_names_exists()
    {
        foreach (Match path in Paths().Matches(Page))
        {
            Assert.True(Path.Exists(Path.Combine(TestTree.Root, path.Groups[1].Value)), path.Value);
        }
    }

    private static string ConstantOf(string field) =>
        string.Concat(field.Split('.').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    private static IEnumerable<string> Listed(string mark)
    {
        var start = Page.IndexOf($"<!-- {mark} -->", StringComparison.Ordinal);
        var end = Page.IndexOf("<!-- end -->", start, StringComparison.Ordinal);
        return Names().Matches(Page[start..end]).Select(name => name.Groups[1].Value);
    }

    [GeneratedRegex(@"^\| (?<offset>\d+) \| (?<size>\d+) \| (?<field>[a-zA-Z0-9.]+) \|", RegexOptions.Multiline)]
    private static partial Regex Rows();

    [GeneratedRegex(@"`([A-Z][A-Za-z0-9]+)`")]
    private static partial Regex Names();

    [GeneratedRegex(@"`((?:CloudFs\.Core|tests)/[A-Za-z0-9/.\-]+)`")]
    private static partial Regex Paths();
}
