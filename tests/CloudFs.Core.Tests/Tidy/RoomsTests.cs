using System.Text.RegularExpressions;
using System.Xml.Linq;
using CloudFs.Core.Format;
using CloudFs.Core.Tests.Format;
using Xunit;

namespace CloudFs.Core.Tests.Tidy;

/// <summary>Which part may know which: rooms within Core, projects within the repository.</summary>
public sealed partial class RoomsTests
{
    private static readonly string[] Lines =
        File.ReadAllLines(Path.Combine(TestTree.Root, "tests", "CloudFs.Core.Tests", "Tidy", "rooms.txt"));

    private static readonly List<string> Rooms =
        [.. Lines.Where(line => line.Length > 0 && char.IsLetter(line[0])).Select(line => line.Split(' ')[0])];

    private static readonly List<string> Exceptions =
        [.. Lines.Where(line => line.StartsWith('!')).Select(line => string.Join(' ', line.Split(' ')[1..4]))];

    [Fact]
    public void Every_folder_of_Core_is_a_room_and_every_room_is_a_folder() => Assert.Equal(
        SourceTree.Core.Select(file => file.Folder.Split('.')[0]).Where(folder => folder.Length > 0).Distinct().Order(), Rooms.Order());

    [Fact]
    public void A_room_uses_only_rooms_below_it()
    {
        var upward = Arrows().Where(arrow => Rooms.IndexOf(arrow.To) > Rooms.IndexOf(arrow.From)).ToList();

        Assert.Empty(upward
            .Where(arrow => !Exceptions.Contains($"{arrow.From} > {arrow.To}")).Select(arrow => $"{arrow.File}: {arrow.To}"));
        Assert.Empty(Exceptions.Except(upward.Select(arrow => $"{arrow.From} > {arrow.To}")));
    }

    [Fact]
    public void Core_has_no_sockets_no_HTTP_and_no_clock_or_chance_of_its_own()
    {
        foreach (var file in SourceTree.Core)
        {
            Assert.False(Banned().IsMatch(file.Text), $"{file.Path}: {Banned().Match(file.Text).Value}");
        }
    }

    [Theory]
    [InlineData("CloudFs.Core", "")]
    [InlineData("CloudFs.Daemon", "CloudFs.Core")]
    [InlineData("CloudFs.Replicator", "CloudFs.Core")]
    [InlineData("CloudFs.Cli", "CloudFs.Core")]
    public void Daemon_replicator_and_command_know_Core_and_not_one_another(string project, string known)
    {
        var references = XDocument.Load(Path.Combine(TestTree.Root, project, project + ".csproj"))
            .Descendants("ProjectReference").Select(element => Path.GetFileNameWithoutExtension((string)element.Attribute("Include")!));

        Assert.Equal(known, string.Join(',', references));
    }

    private static IEnumerable<(string File, string From, string To)> Arrows()
    {
        var types = typeof(EntryLayout).Assembly.GetTypes()
            .Where(type => !type.IsNested && type.Namespace?.StartsWith("CloudFs.Core.", StringComparison.Ordinal) == true)
            .Select(type => $"{type.Namespace!["CloudFs.Core.".Length..]}.{type.Name.Split('`')[0]}").ToHashSet();
        foreach (var file in SourceTree.Core.Where(file => file.Folder.Length > 0))
        {
            var usings = Usings().Matches(file.Text).Select(match => match.Groups[1].Value);
            var named = Qualified().Matches(file.Text).Where(match => types.Contains(match.Value)).Select(match => match.Groups[1].Value);
            foreach (var room in usings.Concat(named).Distinct().Where(Rooms.Contains))
            {
                yield return (file.Path, file.Folder.Split('.')[0], room);
            }
        }
    }

    [GeneratedRegex(@"^using (?:static )?CloudFs\.Core\.(\w+)", RegexOptions.Multiline)]
    private static partial Regex Usings();

    [GeneratedRegex(@"(?<![\w.])(?:CloudFs\.Core\.)?([A-Z]\w+)\.[A-Z]\w+")]
    private static partial Regex Qualified();

    [GeneratedRegex(@"System\.Net\b|AspNetCore|HttpClient|\bSocket\b|TcpListener|DateTime(Offset)?\.(Utc)?Now|TimeProvider\.System"
        + @"|\bStopwatch\b|Environment\.TickCount|Random\.Shared|new Random\(|Guid\.NewGuid|Thread\.Sleep|RandomNumberGenerator")]
    private static partial Regex Banned();
}
