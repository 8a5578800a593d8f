using Xunit;

namespace CloudFs.Tests.Shared;

/// <summary>
/// Golden text files: what stands in <c>tests/golden</c> is what the code must say. With <c>CLOUDFS_GOLDEN=write</c> in
/// the environment they are written anew, for a person to look at the difference.
/// </summary>
internal static class Golden
{
    /// <summary>The top of the repository, found from where the test runs.</summary>
    public static string Top { get; } = FindTop();

    public static string PathOf(string name) => Path.Combine(Top, "tests", "golden", name);

    public static void Check(string name, string actual)
    {
        var path = PathOf(name);
        if (Environment.GetEnvironmentVariable("CLOUDFS_GOLDEN") == "write")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, actual);
        }

        Assert.Equal(File.ReadAllText(path), actual);
    }

    private static string FindTop()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "CloudFs.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new InvalidOperationException("the tests run outside of the repository");
    }
}
