using System.Text.Json;
using CloudFs.Core.Contracts;
using CloudFs.Daemon.Http;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>
/// docs/protocol says what the code does: the routes of page, OpenAPI and code are the same, and so are the records.
/// </summary>
public sealed class RouteDocTests
{
    private static readonly string Folder = Path.Combine(Golden.Top, "docs", "protocol");

    private static readonly string[] Code = [.. RouteTable.Routes.Select(r => $"{r.Method} {r.Path}").Order()];

    [Fact]
    public void The_page_lists_the_routes_of_the_code()
    {
        var rows = File.ReadLines(Path.Combine(Folder, "http.md"))
            .SkipWhile(line => line != "## Routes")
            .Skip(1)
            .TakeWhile(line => !line.StartsWith("## ", StringComparison.Ordinal))
            .Where(line => line.StartsWith("| `", StringComparison.Ordinal))
            .Select(line => line.Split('`')[1]);
        Assert.Equal<string>(Code, rows.Order());
    }

    [Fact]
    public void The_page_gives_each_route_its_query()
    {
        var page = File.ReadAllLines(Path.Combine(Folder, "http.md"));
        foreach (var route in RouteTable.Routes.Where(r => r.Query.Length > 0))
        {
            var start = $"| `{route.Method} {route.Path}` |";
            var row = page.Single(line => line.StartsWith(start, StringComparison.Ordinal));
            Assert.Contains('`' + route.Query + '`', row, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void OpenApi_lists_the_routes_of_the_code()
    {
        using var document = Read();
        var routes =
            from path in document.RootElement.GetProperty("paths").EnumerateObject()
            from operation in path.Value.EnumerateObject()
            where operation.Name != "parameters"
            select $"{operation.Name.ToUpperInvariant()} {path.Name}";
        Assert.Equal<string>(Code, routes.Order());
    }

    [Theory]
    [InlineData("Error", typeof(ErrorJson))]
    [InlineData("NewDisk", typeof(NewDiskRequest))]
    [InlineData("NewDiskAnswer", typeof(NewDiskAnswer))]
    [InlineData("ChangeDisk", typeof(ChangeDiskRequest))]
    [InlineData("Disk", typeof(DiskJson))]
    [InlineData("View", typeof(ViewJson))]
    [InlineData("Replica", typeof(ReplicaJson))]
    [InlineData("DiskHealth", typeof(DiskHealthJson))]
    [InlineData("Damage", typeof(DamageJson))]
    [InlineData("Host", typeof(HostJson))]
    [InlineData("Space", typeof(SpaceJson))]
    [InlineData("Compaction", typeof(CompactionJson))]
    [InlineData("Health", typeof(HealthJson))]
    [InlineData("HealthIssue", typeof(HealthIssueJson))]
    [InlineData("Scrub", typeof(ScrubJson))]
    [InlineData("ScrubFinding", typeof(ScrubFindingJson))]
    [InlineData("ScrubRange", typeof(ScrubRangeJson))]
    public void OpenApi_describes_the_record(string schema, Type record)
    {
        using var document = Read();
        var described = document.RootElement.GetProperty("components").GetProperty("schemas").GetProperty(schema);
        var properties = record.GetProperties().Select(p => JsonNamingPolicy.CamelCase.ConvertName(p.Name));
        Assert.Equal(
            properties.Order(), described.GetProperty("properties").EnumerateObject().Select(p => p.Name).Order());
    }

    private static JsonDocument Read() => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "openapi.json")));
}
