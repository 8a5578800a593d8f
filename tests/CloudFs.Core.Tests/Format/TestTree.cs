namespace CloudFs.Core.Tests.Format;

/// <summary>Finds the repository's files at run time: upward from where the tests run to the solution.</summary>
internal static class TestTree
{
    public static string Root { get; } = FindRoot();

    public static string Golden(string name) => Path.Combine(Root, "tests", "golden", "entry-format", name);

    private static string FindRoot()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "CloudFs.slnx")))
            {
                return at.FullName;
            }
        }

        throw new InvalidOperationException("the tests run outside the repository: no CloudFs.slnx above them");
    }
}
