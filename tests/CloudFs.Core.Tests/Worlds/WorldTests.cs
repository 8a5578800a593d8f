using System.Globalization;
using CloudFs.Core.Tests.Format;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>
/// A slice of worlds with fresh seeds each time, and those that failed once. CLOUDFS_SEED=n runs one alone, CLOUDFS_WORLDS=n
/// more of them, CLOUDFS_WORLDS_FROM=n from a seed on; bench/worlds.sh runs ten thousand.
/// </summary>
public sealed class WorldTests(ITestOutputHelper output)
{
    private const int FreshWorlds = 200;
    private const int KnownMax = 2;

    private static readonly int Threads = Environment.ProcessorCount;

    [Fact]
    public void Fresh_worlds_end_as_they_must()
    {
        if (Number("CLOUDFS_SEED") is { } alone)
        {
            Console.WriteLine(EngineWorld.Run(alone));
            return;
        }

        var from = Number("CLOUDFS_WORLDS_FROM") ?? WorldRunner.FreshSeed();
        var count = Number("CLOUDFS_WORLDS") ?? FreshWorlds;
        output.WriteLine($"worlds {from} to {from + count - 1}: again with CLOUDFS_WORLDS_FROM={from} CLOUDFS_WORLDS={count}");

        var failures = WorldRunner.Run(from, count, Threads);

        foreach (var known in failures.Where(IsKnown))
        {
            output.WriteLine($"known, and not yet mended: {known}");
        }

        Assert.True(failures.All(IsKnown), string.Join('\n', failures));
        Assert.True(failures.Count <= KnownMax, $"more than {KnownMax} of what is known and rare:\n{string.Join('\n', failures)}");
    }

    /// <summary>
    /// What is left of rebuilds without checkpoints (docs/testing/fault-model.md): of sound devices, where a remnant is taken for
    /// what is needed, and sectors answer EIO. Less than one world in some thousands.
    /// </summary>
    private static bool IsKnown(WorldFailure failure) => failure.ToString().Contains("CheckRebuiltAsync", StringComparison.Ordinal);

    [Fact]
    public void Worlds_that_failed_once_do_not_fail_again()
    {
        var file = Path.Combine(TestTree.Root, "tests", "CloudFs.Core.Tests", "Worlds", "seeds.txt");
        var lines = File.ReadAllLines(file).Select(line => line.Split('#')[0].Trim()).Where(line => line.Length > 0).ToList();

        Assert.NotEmpty(lines);
        foreach (var words in lines.Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)))
        {
            var seed = int.Parse(words[0], CultureInfo.InvariantCulture);
            var only = words.Length > 1 ? Enum.Parse<WorldClass>(words[1]) : (WorldClass?)null;
            // They failed before there was a read cache, and see their devices as they did then only without it.
            var failures = WorldRunner.Run(seed, 1, 1, only, withReadCache: false).ToList();
            failures.AddRange(seed % 2 != 0 ? WorldRunner.Run(seed, 1, 1, only) : []);
            Assert.True(failures.Count == 0, string.Join('\n', failures));
        }
    }

    [Fact]
    public void The_same_seed_gives_the_same_world_and_another_seed_another()
    {
        foreach (var one in Enum.GetValues<WorldClass>())
        {
            var first = EngineWorld.Run(4242, one);

            Assert.Equal(first, EngineWorld.Run(4242, one));
            Assert.NotEqual(first.Digest, EngineWorld.Run(4243, one).Digest);
        }
    }

    private static int? Number(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } given ? int.Parse(given, CultureInfo.InvariantCulture) : null;
}
