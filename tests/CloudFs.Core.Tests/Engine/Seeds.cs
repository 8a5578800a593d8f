using System.Globalization;
using Xunit.Sdk;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// Runs something for many seeds: some fixed, some fresh each day they run. CLOUDFS_SEED=n runs that one alone; a failure
/// says which to give.
/// </summary>
internal static class Seeds
{
    public static void Run(int first, int count, int fresh, Action<int> run)
    {
        if (Environment.GetEnvironmentVariable("CLOUDFS_SEED") is { Length: > 0 } given)
        {
            run(int.Parse(given, CultureInfo.InvariantCulture));
            return;
        }

        for (var i = 0; i < count + fresh; i++)
        {
            var seed = i < count ? first + i : Random.Shared.Next(1_000_000, int.MaxValue);
            try
            {
                run(seed);
            }
            catch (Exception e)
            {
                throw new XunitException($"seed {seed} (run it alone with CLOUDFS_SEED={seed}): {e.Message}", e);
            }
        }
    }
}
