using System.Diagnostics;
using System.Text;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>What a program came to.</summary>
internal sealed record Outcome(string Command, int Status, string Output, string Error, TimeSpan Took)
{
    /// <summary>Demands that it ended well.</summary>
    public Outcome Ok() => Ended(0);

    /// <summary>Demands an exit status.</summary>
    public Outcome Ended(int status)
    {
        Assert.True(Status == status, $"expected status {status}: {this}");
        return this;
    }

    public override string ToString() => $"{Command}\nended with {Status} after {Took.TotalSeconds:F1} s\n{Output}{Error}";
}

/// <summary>Runs programs, with a time limit and with everything they say captured.</summary>
internal static class Tool
{
    private static readonly TimeSpan UsualLimit = TimeSpan.FromSeconds(60);

    // The system's own programs come first: a python3 from elsewhere has no libnbd.
    private static readonly string SearchPath =
        "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:" + Environment.GetEnvironmentVariable("PATH");

    private static readonly string Repository = FindRepository();

    /// <summary>The folder of the programs under test.</summary>
    public static string Dist { get; } = Environment.GetEnvironmentVariable("CLOUDFS_DIST") is { Length: > 0 } named
        ? Path.GetFullPath(named)
        : Path.Combine(Repository, "dist");

    /// <summary>The folder of the repository's scripts.</summary>
    public static string Scripts { get; } = Path.Combine(Repository, "scripts");

    public static string CloudFs => Path.Combine(Dist, "cloudfs");

    public static string CloudFsd => Path.Combine(Dist, "cloudfsd");

    public static string Replicator => Path.Combine(Dist, "replicator");

    /// <summary>Where a program is; null where it is not.</summary>
    public static string? Find(string program) =>
        program.Contains('/', StringComparison.Ordinal)
            ? program
            : SearchPath.Split(':').Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    public static Outcome Run(
        string program, IEnumerable<string> words, string? input = null, TimeSpan? limit = null,
        IReadOnlyDictionary<string, string>? environment = null) =>
        RunAsync(program, words, input, limit, environment).GetAwaiter().GetResult();

    /// <summary>Runs it to its end. One that takes longer than the limit is killed, with all that it started.</summary>
    public static async Task<Outcome> RunAsync(
        string program, IEnumerable<string> words, string? input = null, TimeSpan? limit = null,
        IReadOnlyDictionary<string, string>? environment = null)
    {
        var clock = Stopwatch.StartNew();
        using var process = Start(program, words, environment);
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            if (input is not null)
            {
                await process.StandardInput.WriteAsync(input);
            }

            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading all of it; its status tells more.
        }

        using var timeout = new CancellationTokenSource(limit ?? UsualLimit);
        try
        {
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
            Assert.Fail($"{Describe(program, words)} did not end in {clock.Elapsed.TotalSeconds:F0} s\n{await output}{await error}");
        }

        return new Outcome(Describe(program, words), process.ExitCode, await output, await error, clock.Elapsed);
    }

    /// <summary>Starts it; the caller ends it. With <paramref name="space"/> it runs in that network namespace.</summary>
    public static Process Start(
        string program, IEnumerable<string> words, IReadOnlyDictionary<string, string>? environment = null, string? space = null)
    {
        if (space is not null)
        {
            // The program takes the place of this one: same process, same id.
            words = ["netns", "exec", space, program, .. words];
            program = "ip";
        }

        var start = new ProcessStartInfo(Find(program) ?? program)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        foreach (var word in words)
        {
            start.ArgumentList.Add(word);
        }

        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("CLOUDFS_", StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        start.Environment["PATH"] = SearchPath;
        start.Environment["LC_ALL"] = "C";
        start.Environment["no_proxy"] = "*";
        return Process.Start(start)!;
    }

    /// <summary>A shell's line, for pipes between programs.</summary>
    public static Task<Outcome> ShellAsync(string line, TimeSpan? limit = null) => RunAsync("bash", ["-c", line], limit: limit);

    private static string Describe(string program, IEnumerable<string> words) =>
        string.Join(' ', words.Prepend(Path.GetFileName(program)).Select(word => word.Length > 300 ? word[..300] + "…" : word));

    private static string FindRepository()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "CloudFs.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? ".";
    }
}
