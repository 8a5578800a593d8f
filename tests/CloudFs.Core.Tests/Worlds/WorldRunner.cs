using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Cluster;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>A world that did not end as it must.</summary>
internal sealed record WorldFailure(int Seed, Exception Exception)
{
    public override string ToString() =>
        $"world {Seed}: {Exception.Message.ReplaceLineEndings(" ")}\n  again: CLOUDFS_SEED={Seed} dotnet test tests/CloudFs.Core.Tests "
        + $"--filter FullyQualifiedName~WorldTests\n{Exception.InnerException?.StackTrace ?? Exception.StackTrace}";
}

/// <summary>Runs many worlds beside each other.</summary>
internal static partial class WorldRunner
{
    /// <summary>Runs <paramref name="count"/> worlds from a seed on; gives those that failed, in the order of their seeds.</summary>
    public static IReadOnlyList<WorldFailure> Run(
        int from, int count, int threads, WorldClass? only = null, PlantedBug planted = PlantedBug.None,
        Action<WorldResult, double>? ended = null, bool? withReadCache = null)
    {
        var failures = new ConcurrentBag<WorldFailure>();
        var next = from - 1;
        var workers = Enumerable.Range(0, threads).Select(_ => new Thread(Work)).ToList();
        workers.ForEach(worker => worker.Start());
        workers.ForEach(worker => worker.Join());
        return [.. failures.OrderBy(failure => failure.Seed)];

        void Work()
        {
            for (var seed = Interlocked.Increment(ref next); seed < from + count; seed = Interlocked.Increment(ref next))
            {
                try
                {
                    var begun = ThreadSeconds();
                    var result = EngineWorld.Run(seed, only, planted, withReadCache);
                    ended?.Invoke(result, ThreadSeconds() - begun);
                }
                catch (Exception e)
                {
                    failures.Add(new WorldFailure(seed, e));
                }
            }
        }
    }

    /// <summary>
    /// From the command line: <c>worlds COUNT [FIRST SEED] [CLASS] [PLANTED BUG]</c>, <c>clusters COUNT [FIRST SEED] [PLANTED BUG]</c>, or
    /// <c>crash-points LONGEST HISTORY</c>.
    /// Prints the rate and what failed.
    /// </summary>
    public static int Main(string[] words)
    {
        if (words is ["crash-points", var longest])
        {
            return TryCrashPoints(int.Parse(longest, CultureInfo.InvariantCulture));
        }

        if (words is ["clusters", var clusters, ..])
        {
            return RunClusters(
                int.Parse(clusters, CultureInfo.InvariantCulture),
                words.Length > 2 ? int.Parse(words[2], CultureInfo.InvariantCulture) : FreshSeed(),
                words.Length > 3 ? Enum.Parse<PlantedBug>(words[3]) : PlantedBug.None);
        }

        if (words is not ["worlds", var count, ..])
        {
            Console.Error.WriteLine(
                "worlds COUNT [FIRST SEED] [CLASS] [PLANTED BUG] | clusters COUNT [FIRST SEED] [PLANTED BUG] | crash-points LONGEST HISTORY");
            return 2;
        }

        var from = words.Length > 2 ? int.Parse(words[2], CultureInfo.InvariantCulture) : FreshSeed();
        var only = words.Length > 3 && words[3] != "any" ? Enum.Parse<WorldClass>(words[3]) : (WorldClass?)null;
        var planted = words.Length > 4 ? Enum.Parse<PlantedBug>(words[4]) : PlantedBug.None;
        Console.WriteLine($"{count} worlds from seed {from} on {Environment.ProcessorCount} cores");
        var clock = Stopwatch.StartNew();
        var (restarts, digest, total) = (0, 0UL, 0);
        var classes = Enum.GetValues<WorldClass>();
        var counts = new int[classes.Length];
        var seconds = new double[classes.Length];
        var failures = Run(
            from, int.Parse(count, CultureInfo.InvariantCulture), Environment.ProcessorCount, only, planted,
            (result, took) =>
            {
                lock (counts)
                {
                    restarts += result.Restarts;
                    digest ^= result.Digest;
                    counts[(int)result.Class]++;
                    seconds[(int)result.Class] += took;
                    if (++total % 1000 == 0)
                    {
                        Console.WriteLine(FormattableString.Invariant($"{total} in {clock.Elapsed.TotalSeconds:F0} s"));
                    }
                }
            });
        foreach (var failure in failures)
        {
            Console.WriteLine(failure);
        }

        var elapsed = clock.Elapsed.TotalSeconds;
        Console.WriteLine(FormattableString.Invariant(
            $"{total} worlds right and {failures.Count} wrong in {elapsed:F1} s: {(total + failures.Count) / elapsed:F1} a second; ")
            + FormattableString.Invariant($"{Environment.CpuUsage.TotalTime.TotalSeconds:F1} s of processor time; ")
            + FormattableString.Invariant($"{restarts} restarts; digest {digest:x16}"));

        // A processor's time of those that were right, without what compiles and collects on other threads.
        foreach (var one in classes.Where(one => counts[(int)one] > 0))
        {
            Console.WriteLine(FormattableString.Invariant(
                $"  {one}: {counts[(int)one]}, {1000 * seconds[(int)one] / counts[(int)one]:F0} ms each"));
        }

        return failures.Count == 0 ? 0 : 1;
    }

    /// <summary>
    /// Tries the crash points of histories; gives how many states there were, how many of them had to be tried, and the histories that
    /// failed.
    /// </summary>
    public static (int States, int Tried, IReadOnlyList<string> Failures) TryCrashPoints(
        IReadOnlyList<Operation[]> histories, int threads, PlantedBug planted = PlantedBug.None, Action<int>? ended = null)
    {
        var failures = new ConcurrentBag<string>();
        var (next, states, tried, done) = (-1, 0, 0, 0);
        var workers = Enumerable.Range(0, threads).Select(_ => new Thread(Work)).ToList();
        workers.ForEach(worker => worker.Start());
        workers.ForEach(worker => worker.Join());
        return (states, tried, [.. failures.Order(StringComparer.Ordinal)]);

        void Work()
        {
            var points = new CrashPoints();
            for (var i = Interlocked.Increment(ref next); i < histories.Count; i = Interlocked.Increment(ref next))
            {
                try
                {
                    var (found, different) = points.Try(histories[i], planted);
                    Interlocked.Add(ref states, found);
                    Interlocked.Add(ref tried, different);
                }
                catch (Exception e)
                {
                    failures.Add($"{string.Join(", ", histories[i])}: {e.Message}");
                }

                ended?.Invoke(Interlocked.Increment(ref done));
            }
        }
    }

    /// <summary>Clusters on all cores: one line for each, and what went wrong in those that failed.</summary>
    private static int RunClusters(int count, int from, PlantedBug planted)
    {
        var (next, failed, total) = (from - 1, 0, Stopwatch.StartNew());
        var workers = Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new Thread(Work)).ToList();
        workers.ForEach(worker => worker.Start());
        workers.ForEach(worker => worker.Join());
        Console.WriteLine(FormattableString.Invariant($"{count - failed} clusters right and {failed} wrong in {total.Elapsed.TotalSeconds:F1} s"));
        return failed == 0 ? 0 : 1;

        void Work()
        {
            for (var seed = Interlocked.Increment(ref next); seed < from + count; seed = Interlocked.Increment(ref next))
            {
                var clock = Stopwatch.StartNew();
                try
                {
                    var result = ClusterWorld.Run(seed, planted: planted);
                    Console.WriteLine(FormattableString.Invariant($"{result} {clock.Elapsed.TotalSeconds:F2} s"));
                }
                catch (Exception e)
                {
                    Interlocked.Increment(ref failed);
                    Console.WriteLine(FormattableString.Invariant($"cluster {seed} FAILED ({clock.Elapsed.TotalSeconds:F2} s): {e.Message}\n"));
                }
            }
        }
    }

    /// <summary>Processor time that this thread had so far.</summary>
    private static double ThreadSeconds()
    {
        const int threadClock = 3;
        Span<long> time = stackalloc long[2];
        return ReadClock(threadClock, time) == 0 ? time[0] + (time[1] / 1e9) : 0;
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ReadClock(int clock, Span<long> time);

    private static int TryCrashPoints(int longest)
    {
        var clock = Stopwatch.StartNew();
        var histories = CrashPoints.Histories(longest).ToList();
        var (states, tried, failures) = TryCrashPoints(histories, Environment.ProcessorCount, PlantedBug.None, done =>
        {
            if (done % 100 == 0)
            {
                Console.WriteLine(FormattableString.Invariant($"{done} of {histories.Count} in {clock.Elapsed.TotalSeconds:F0} s"));
            }
        });
        foreach (var failure in failures)
        {
            Console.WriteLine(failure);
        }

        Console.WriteLine(FormattableString.Invariant(
            $"{histories.Count} histories, {states} crash states ({tried} different), {failures.Count} histories wrong in ")
            + FormattableString.Invariant(
                $"{clock.Elapsed.TotalSeconds:F1} s; {Environment.CpuUsage.TotalTime.TotalSeconds:F1} s of processor time"));
        return failures.Count == 0 ? 0 : 1;
    }

    /// <summary>A seed that was most likely never run.</summary>
    public static int FreshSeed() => (int)(DateTimeOffset.UtcNow.ToUnixTimeSeconds() % 1_000_000_000);
}
