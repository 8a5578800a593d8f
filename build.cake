// What can be done with this repository. build.sh restores the tool that reads this, and hands its words to it.

using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Threading;
using System.Xml.Linq;
using IO = System.IO;

const string Solution = "CloudFs.slnx";
const string Configuration = "Release";

// The runtime that the projects and their lock files name.
const string UsualRuntime = "linux-x64";

var target = Argument("target", "Help");
var filter = Argument("filter", "");
var runtime = Argument("runtime", RuntimeInformation.RuntimeIdentifier.EndsWith("-arm64", StringComparison.Ordinal) ? "linux-arm64" : UsualRuntime);
var ci = string.Equals(EnvironmentVariable("CI"), "true", StringComparison.OrdinalIgnoreCase);

var root = Context.Environment.WorkingDirectory.FullPath;
var dist = IO.Path.Combine(root, "dist");
var staging = IO.Path.Combine(root, "obj", "publish");
var stamp = IO.Path.Combine(root, "obj", "publish.stamp");
var microProject = IO.Path.Combine("bench", "CloudFs.Micro", "CloudFs.Micro.csproj");
var testResults = IO.Path.Combine(root, "TestResults");

var programs = new Dictionary<string, string>
{
    ["CloudFs.Daemon"] = "cloudfsd",
    ["CloudFs.Replicator"] = "replicator",
    ["CloudFs.Cli"] = "cloudfs",
};

// Cake's banners are for bigger builds.
Context.Log.Verbosity = Verbosity.Minimal;

// Set by tasks that end with words or a status of their own, for after Cake's.
string lastLine = null;
var exitStatus = 0;

// ------------------------------------------------------------------------------------------------ helpers

int Start(string program, IEnumerable<string> words, IDictionary<string, string> environment = null)
{
    var start = new ProcessStartInfo(program) { WorkingDirectory = root, UseShellExecute = false };
    foreach (var word in words)
    {
        start.ArgumentList.Add(word);
    }

    foreach (var (name, value) in environment ?? new Dictionary<string, string>())
    {
        start.Environment[name] = value;
    }

    // A child that ends in order deserves to be waited for: Ctrl-C reaches it as it reaches us, and a signal meant
    // for us alone is passed on.
    Process child = null;
    void PassOn(PosixSignalContext context)
    {
        context.Cancel = true;
        if (child is not null)
        {
            using var kill = Process.Start("kill", ["-TERM", child.Id.ToString(CultureInfo.InvariantCulture)]);
            kill.WaitForExit();
        }
    }

    using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => context.Cancel = true);
    using var onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, PassOn);
    using var onHangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, PassOn);
    using (child = Process.Start(start))
    {
        child.WaitForExit();
        return child.ExitCode;
    }
}

int TryDotNet(IEnumerable<string> words, IDictionary<string, string> environment = null)
{
    var all = new Dictionary<string, string>(environment ?? new Dictionary<string, string>());
    if (ci)
    {
        // Nothing outlives a job: no compiler or build node that waits for the next one.
        all["MSBUILDDISABLENODEREUSE"] = "1";
        all["UseSharedCompilation"] = "false";
    }

    return Start("dotnet", words, all);
}

void DotNet(params string[] words)
{
    var status = TryDotNet(words);
    if (status != 0)
    {
        throw new CakeException(status, $"dotnet {string.Join(' ', words)} ended with {status}");
    }
}

string[] RuntimeWords() => runtime == UsualRuntime
    ? []
    // The lock files hold for the usual runtime; another one gets its own, beside what is built.
    : ["-r", runtime, $"-p:NuGetLockFilePath=obj/packages.{runtime}.lock.json"];

// What a set of files looks like from outside: enough to know that nothing changed, came or went.
string Fingerprint(IEnumerable<string> files)
{
    var lines = files
        .Order(StringComparer.Ordinal)
        .Select(path => new FileInfo(path))
        .Select(file => $"{file.FullName} {file.Length} {file.LastWriteTimeUtc.Ticks}");
    return Convert.ToHexString(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(string.Join('\n', lines))));
}

IEnumerable<string> FilesUnder(string folder) =>
    IO.Directory.Exists(folder)
        ? IO.Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        : [];

string PublishFingerprint()
{
    var sources = programs.Keys.Append("CloudFs.Core")
        .SelectMany(project => new DirectoryInfo(IO.Path.Combine(root, project)).EnumerateFileSystemInfos()
            .Where(entry => entry.Name is not ("bin" or "obj"))
            .SelectMany(entry => entry is DirectoryInfo ? FilesUnder(entry.FullName) : [entry.FullName]));
    var settings = IO.Directory.EnumerateFiles(root, "Directory.*")
        .Concat(IO.Directory.EnumerateFiles(root, "global.json"))
        .Append(IO.Path.Combine(root, ".editorconfig"));
    return $"{runtime} {RuntimeInformation.FrameworkDescription} {Fingerprint(sources.Concat(settings).Concat(FilesUnder(dist)))}";
}

// Puts what was published into dist file by file, each by a rename, so that a daemon that runs from there keeps the
// files that it has mapped.
void MoveIntoDist()
{
    var published = FilesUnder(staging).Select(path => IO.Path.GetRelativePath(staging, path)).ToHashSet();
    foreach (var name in published)
    {
        var from = IO.Path.Combine(staging, name);
        var to = IO.Path.Combine(dist, name);
        IO.Directory.CreateDirectory(IO.Path.GetDirectoryName(to));
        if (!IO.File.Exists(to) || !IO.File.ReadAllBytes(from).AsSpan().SequenceEqual(IO.File.ReadAllBytes(to)))
        {
            IO.File.Copy(from, to + ".new", overwrite: true);
            IO.File.Move(to + ".new", to, overwrite: true);
        }
    }

    foreach (var path in FilesUnder(dist).Where(path => !published.Contains(IO.Path.GetRelativePath(dist, path))).ToList())
    {
        IO.File.Delete(path);
    }
}

// Passed, failed (with names) and skipped, from the results that a test assembly left. Their own counters leave skipped
// tests out, so each result is counted.
(int Passed, List<string> Failed, int Skipped) ReadTestResults(string name, int status)
{
    XNamespace trx = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010";
    var file = IO.Path.Combine(testResults, name + ".trx");
    var run = IO.File.Exists(file) ? XDocument.Load(file).Root : new XElement("none");
    var byOutcome = run.Descendants(trx + "UnitTestResult").ToLookup(result => (string)result.Attribute("outcome"));
    var failed = byOutcome.Where(group => group.Key is not ("Passed" or "NotExecuted"))
        .SelectMany(group => group.Select(result => (string)result.Attribute("testName"))).ToList();

    // A host that died in the middle leaves no failed test, but a word about itself.
    var aborted = run.Descendants(trx + "RunInfo").Select(info => info.Element(trx + "Text")?.Value.Trim().Split('\n')[0])
        .FirstOrDefault(text => text?.Contains("aborted", StringComparison.Ordinal) == true);
    if (aborted is not null || (status != 0 && failed.Count == 0))
    {
        failed.Add($"({name}: {aborted ?? $"dotnet test ended with {status}, though no test failed"})");
    }

    return (byOutcome["Passed"].Count(), failed, byOutcome["NotExecuted"].Count());
}

// ------------------------------------------------------------------------------------------------ targets

Task("Help").Does(() =>
{
    Console.WriteLine("./build.sh TARGET, where TARGET is one of");
    foreach (var task in Tasks.Where(task => task.Description is not null))
    {
        Console.WriteLine($"  {task.Name.ToLowerInvariant(),-10} {task.Description}");
    }
});

foreach (var purpose in new[] { "run", "test", "bench" })
{
    Task($"packages-for-{purpose}").Does(() =>
    {
        if (Start("bash", ["scripts/system-packages.sh", purpose]) != 0)
        {
            throw new CakeException(1, $"what the system lacks stands above; {purpose} can't do without it");
        }
    });
}

Task("Restore").Does(() => DotNet(["restore", Solution, "--verbosity", "quiet", .. ci ? ["--locked-mode"] : Array.Empty<string>()]));

Task("Build")
    .Description("compiles everything, tests included")
    .IsDependentOn("Restore")
    .Does(() => DotNet("build", Solution, "-c", Configuration, "--no-restore", "--nologo", "--verbosity", "quiet"));

Task("Publish")
    .Description("leaves dist/cloudfsd, dist/replicator and dist/cloudfs (--runtime=linux-arm64 for another machine)")
    .Does(() =>
{
    if (IO.File.Exists(stamp) && IO.File.ReadAllText(stamp) == PublishFingerprint())
    {
        return;
    }

    RunPublish();
    IO.File.WriteAllText(stamp, PublishFingerprint());
});

void RunPublish()
{
    if (IO.Directory.Exists(staging))
    {
        IO.Directory.Delete(staging, recursive: true);
    }

    foreach (var project in programs.Keys)
    {
        DotNet(["publish", $"{project}/{project}.csproj", "-c", Configuration, "-o", staging, "--nologo", "--verbosity", "quiet",
            .. ci && runtime == UsualRuntime ? ["-p:RestoreLockedMode=true"] : Array.Empty<string>(), .. RuntimeWords()]);
    }

    MoveIntoDist();
    Console.WriteLine($"published to dist: {string.Join(", ", programs.Values)} ({runtime})");
}

Task("Run")
    .Description("starts three hosts on ./data, a disk on all of them with real files, and proves each copy; until Ctrl-C")
    .IsDependentOn("packages-for-run")
    .IsDependentOn("Publish")
    .Does(() => exitStatus = Start("bash", ["scripts/demo.sh"]));

Task("Test")
    .Description("runs every test, and ends with how many passed and failed (--filter=... for some of them)")
    .IsDependentOn("packages-for-test")
    .IsDependentOn("Publish")
    .IsDependentOn("Build")
    .Does(() =>
{
    if (IO.Directory.Exists(testResults))
    {
        IO.Directory.Delete(testResults, recursive: true);
    }

    // One assembly after the other: tests that kill real processes and measure time want the machine to themselves.
    var clock = Stopwatch.StartNew();
    var (passed, failed, skipped) = (0, new List<string>(), 0);
    foreach (var project in XDocument.Load(Solution).Descendants("Project")
        .Select(element => (string)element.Attribute("Path")).Where(path => path.StartsWith("tests/", StringComparison.Ordinal)))
    {
        var name = IO.Path.GetFileNameWithoutExtension(project);
        Console.WriteLine($"--- {name}");
        var status = TryDotNet(
            ["test", project, "-c", Configuration, "--no-build", "--nologo", "--results-directory", testResults,
                "--logger", $"trx;LogFileName={name}.trx", "--logger", "console;verbosity=minimal",
                .. filter.Length > 0 ? ["--filter", filter] : Array.Empty<string>()],
            new Dictionary<string, string> { ["CLOUDFS_DIST"] = dist });
        var results = ReadTestResults(name, status);
        passed += results.Passed;
        failed.AddRange(results.Failed);
        skipped += results.Skipped;
    }

    Console.WriteLine();
    Console.WriteLine(FormattableString.Invariant($"The tests took {clock.Elapsed.TotalSeconds:F1} s."));
    if (failed.Count > 0)
    {
        Console.WriteLine("Failed:");
        failed.ForEach(name => Console.WriteLine($"  {name}"));
    }
    else if (passed == 0)
    {
        Console.WriteLine("No test ran, which proves nothing.");
    }

    lastLine = $"{passed} passed, {failed.Count} failed{(skipped > 0 ? $", {skipped} skipped" : "")}";
    exitStatus = failed.Count > 0 || passed == 0 ? 1 : 0;
});

Task("Bench")
    .Description("measures cloudfsd beside other NBD servers, in one run (bench/README.md tells what can be chosen)")
    .IsDependentOn("packages-for-bench")
    .IsDependentOn("Publish")
    .Does(() => exitStatus = Start("bash", ["bench/run.sh"], new Dictionary<string, string> { ["CLOUDFS_DIST"] = dist }));

Task("Micro")
    .Description("measures single parts: hashes, seal, codec, index, NBD headers (--filter=*Seal* for some of them)")
    .IsDependentOn("Restore")
    .Does(() =>
{
    DotNet("build", microProject, "-c", Configuration, "--no-restore", "--nologo", "--verbosity", "quiet");
    exitStatus = Start("dotnet", ["run", "--project", microProject, "-c", Configuration, "--no-build", "--",
        "--artifacts", IO.Path.Combine(root, "BenchmarkDotNet.Artifacts"), "--filter", filter.Length > 0 ? filter : "*"]);
});

Task("Format")
    .Description("says where the code is not formatted as .editorconfig wants it")
    .IsDependentOn("Restore")
    .Does(() => DotNet("format", Solution, "--verify-no-changes", "--no-restore"));

Task("Clean")
    .Description("removes what was built; ./data stays")
    .Does(() =>
{
    var projects = IO.Directory.EnumerateFiles(root, "*.csproj", SearchOption.AllDirectories)
        .Select(IO.Path.GetDirectoryName)
        .SelectMany(project => new[] { IO.Path.Combine(project, "bin"), IO.Path.Combine(project, "obj") });
    foreach (var folder in projects.Concat([dist, staging, testResults]).Where(IO.Directory.Exists).ToList())
    {
        IO.Directory.Delete(folder, recursive: true);
    }

    IO.File.Delete(stamp);
});

if (!Tasks.Any(task => task.Name.Equals(target, StringComparison.OrdinalIgnoreCase)))
{
    Console.Error.WriteLine($"build.sh: there is no target \"{target}\"; ./build.sh lists them");
    Environment.Exit(2);
}

RunTarget(target);

if (lastLine is not null)
{
    Console.WriteLine(lastLine);
}

if (exitStatus != 0)
{
    Environment.Exit(exitStatus);
}
