using CloudFs.SystemTests.Harness;

namespace CloudFs.SystemTests;

/// <summary>The bench's own arithmetic (bench/test_*.py): nobody believes figures that nobody checked.</summary>
public sealed class BenchTests
{
    [RequiresFact("python3")]
    public void What_the_bench_reckons_is_right() =>
        Tool.Run(
            "python3", ["-B", "-m", "unittest", "discover", "-s", Path.Combine(Tool.Scripts, "..", "bench")]).Ok();
}
