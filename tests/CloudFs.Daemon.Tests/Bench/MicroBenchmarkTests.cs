using System.Reflection;
using BenchmarkDotNet.Attributes;
using CloudFs.Micro;
using Xunit;

namespace CloudFs.Daemon.Tests.Bench;

/// <summary>Each microbenchmark runs once, for each of its parameters: nothing is measured, but none of them rots.</summary>
public sealed class MicroBenchmarkTests
{
    public static TheoryData<Type> All =>
        [.. typeof(SealBenchmarks).Assembly.GetExportedTypes().Where(type => With<BenchmarkAttribute>(type).Any())];

    [Theory]
    [MemberData(nameof(All))]
    public async Task Every_benchmark_can_be_run(Type type)
    {
        // In-process measuring derives from the class.
        Assert.False(type.IsSealed);
        var property = type.GetProperties().SingleOrDefault(property => property.IsDefined(typeof(ParamsAttribute)));
        foreach (var value in property?.GetCustomAttribute<ParamsAttribute>()!.Values ?? [null])
        {
            var benchmarks = Activator.CreateInstance(type)!;
            property?.SetValue(benchmarks, value);
            await CallAsync<GlobalSetupAttribute>(benchmarks);
            try
            {
                await CallAsync<BenchmarkAttribute>(benchmarks);
            }
            finally
            {
                await CallAsync<GlobalCleanupAttribute>(benchmarks);
            }
        }
    }

    private static async Task CallAsync<T>(object benchmarks)
        where T : Attribute
    {
        foreach (var method in With<T>(benchmarks.GetType()))
        {
            if (method.Invoke(benchmarks, null) is Task task)
            {
                await task;
            }
        }
    }

    private static IEnumerable<MethodInfo> With<T>(Type type)
        where T : Attribute => type.GetMethods().Where(method => method.IsDefined(typeof(T)));
}
