using System.Text.RegularExpressions;
using Xunit;

namespace CloudFs.Core.Tests.Tidy;

/// <summary>What makes code pleasant to open, held by a test rather than by memory.</summary>
public sealed partial class TidyTests
{
    private const int FileLinesMax = 500;
    private const int LineCharsMax = 140;

    /// <summary>Its namespace is CloudFs.SystemTests: one that ends in System.Tests would hide .NET's own System.</summary>
    private const string NamedOtherwise = "CloudFs.System.Tests";

    private static IEnumerable<SourceFile> All => SourceTree.Product.Concat(SourceTree.Tests);

    [Fact]
    public void No_file_is_longer_than_one_likes_to_read() => Assert.Empty(SourceTree.Product
        .Where(file => file.Lines.Length - 1 > FileLinesMax)
        .Select(file => $"{file.Path}: {file.Lines.Length - 1} lines"));

    [Fact]
    public void No_line_is_longer_than_a_screen() => Assert.Empty(SourceTree.Product
        .SelectMany(file => file.Lines.Select((line, index) => (file.Path, Number: index + 1, line.Length)))
        .Where(line => line.Length > LineCharsMax)
        .Select(line => $"{line.Path}:{line.Number}: {line.Length} characters"));

    [Fact]
    public void Namespaces_are_folders() => Assert.Empty(All
        .Where(file => file.Project.Length > 0 && file.Project != NamedOtherwise)
        .Select(file => (
            file.Path, Stated: Namespaces().Match(file.Text).Groups[1].Value, Folder: $"{file.Project}.{file.Folder}".Trim('.')))
        .Where(file => file.Stated.Length > 0 && file.Stated != file.Folder)
        .Select(file => $"{file.Path}: {file.Stated}, expected {file.Folder}"));

    [Fact]
    public void Nothing_is_left_to_be_done_later() => Assert.Empty(All
        .Where(file => !file.Path.EndsWith("/TidyTests.cs", StringComparison.Ordinal) && Leftovers().IsMatch(file.Text))
        .Select(file => $"{file.Path}: {Leftovers().Match(file.Text).Value}"));

    [Fact]
    public void No_exception_is_swallowed_without_a_word() => Assert.Empty(SourceTree.Product
        .Where(file => EmptyCatches().IsMatch(file.Text)).Select(file => file.Path));

    [Fact]
    public void Every_public_type_says_what_it_is_for() => Assert.Empty(SourceTree.Product.SelectMany(Undocumented));

    [Theory]
    [InlineData("try { } catch (IOException) { }", true)]
    [InlineData("try { } catch { \n }", true)]
    [InlineData("catch (IOException) { // gone: as good as nothing\n }", false)]
    public void An_empty_catch_is_recognized(string text, bool isEmpty) => Assert.Equal(isEmpty, EmptyCatches().IsMatch(text));

    [Theory]
    [InlineData("public sealed class A", 1)]
    [InlineData("/// <summary>It is.</summary>\npublic sealed class A", 0)]
    [InlineData("/// <summary>It is.</summary>\n[Flags]\npublic enum A", 0)]
    [InlineData("/// <summary>It is.</summary>\n[Serializable(\n    Of = 1)]\npublic enum A", 0)]
    public void A_type_without_a_summary_is_recognized(string text, int found) =>
        Assert.Equal(found, Undocumented(new SourceFile("CloudFs.Core/A.cs", text)).Count());

    private static IEnumerable<string> Undocumented(SourceFile file)
    {
        var lines = file.Lines;
        for (var i = 0; i < lines.Length; i++)
        {
            if (!PublicTypes().IsMatch(lines[i]))
            {
                continue;
            }

            var above = i - 1;
            while (above >= 0 && (lines[above].StartsWith('[') || lines[above].StartsWith(' ')))
            {
                above--;
            }

            if (above < 0 || !lines[above].StartsWith("///", StringComparison.Ordinal))
            {
                yield return $"{file.Path}:{i + 1}: {lines[i]}";
            }
        }
    }

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Namespaces();

    [GeneratedRegex(@"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedException")]
    private static partial Regex Leftovers();

    [GeneratedRegex(@"\bcatch\b[^{};]*\{\s*\}")]
    private static partial Regex EmptyCatches();

    [GeneratedRegex(@"^public [a-z ]*\b(class|record|struct|interface|enum)\b")]
    private static partial Regex PublicTypes();
}
