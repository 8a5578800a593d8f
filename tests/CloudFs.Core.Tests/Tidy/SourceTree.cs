using CloudFs.Core.Tests.Format;

namespace CloudFs.Core.Tests.Tidy;

/// <summary>One file of source.</summary>
/// <param name="Path">From the repository's root, with slashes.</param>
/// <param name="Text">All of it.</param>
internal sealed record SourceFile(string Path, string Text)
{
    public string[] Lines => Text.Split('\n');

    /// <summary>The folder below the project, with dots; empty for the project's own.</summary>
    public string Folder
    {
        get
        {
            var parts = Path.Split('/');
            var project = Array.FindIndex(parts, part => part.StartsWith("CloudFs.", StringComparison.Ordinal));
            return string.Join('.', parts[(project + 1)..^1]);
        }
    }

    /// <summary>The project that it belongs to; empty for none.</summary>
    public string Project => Path.Split('/').FirstOrDefault(part => part.StartsWith("CloudFs.", StringComparison.Ordinal), "");
}

/// <summary>The repository's C#, as it stands on the disk that the tests run from.</summary>
internal static class SourceTree
{
    public static IReadOnlyList<SourceFile> Product { get; } =
        [.. new[] { "CloudFs.Core", "CloudFs.Daemon", "CloudFs.Replicator", "CloudFs.Cli" }.SelectMany(Under)];

    public static IReadOnlyList<SourceFile> Tests { get; } = [.. Under("tests"), .. Under("bench")];

    public static IEnumerable<SourceFile> Core => Product.Where(file => file.Project == "CloudFs.Core");

    private static IEnumerable<SourceFile> Under(string folder) => Directory
        .EnumerateFiles(System.IO.Path.Combine(TestTree.Root, folder), "*.cs", SearchOption.AllDirectories)
        .Select(path => (path, relative: System.IO.Path.GetRelativePath(TestTree.Root, path).Replace('\\', '/')))
        .Where(file => !file.relative.Split('/').Any(part => part is "bin" or "obj"))
        .OrderBy(file => file.relative, StringComparer.Ordinal)
        .Select(file => new SourceFile(file.relative, File.ReadAllText(file.path)));
}
