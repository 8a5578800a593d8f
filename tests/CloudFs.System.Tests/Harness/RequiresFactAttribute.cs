using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// A test that needs programs, or something of the machine, and is skipped with the reason where they are missing.
/// Needs: a program's name, or one of the words below.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class RequiresFactAttribute : FactAttribute
{
    /// <summary>Loop devices can be made here.</summary>
    public const string Loop = "loop devices";

    /// <summary>File systems can be mounted here.</summary>
    public const string Mount = "mount";

    /// <summary>FUSE file systems can be mounted here.</summary>
    public const string Fuse = "FUSE";

    /// <summary>Network namespaces can be made here.</summary>
    public const string Namespaces = "network namespaces";

    /// <summary>The kernel has NBD devices.</summary>
    public const string KernelNbd = "/dev/nbd0";

    public RequiresFactAttribute(params string[] needs)
    {
        foreach (var need in needs.Where(need => Skip is null))
        {
            Skip = need switch
            {
                Loop => Machine.CanLoop ? null : "no loop device can be made here (it takes root and /dev/loop-control)",
                Mount => Machine.CanMount ? null : "nothing can be mounted here (it takes root)",
                Fuse => Machine.CanFuse ? null : "no FUSE here (it takes root and /dev/fuse)",
                Namespaces => Machine.CanSeparate ? null : "no network namespace can be made here (it takes root and ip)",
                KernelNbd => Machine.HasKernelNbd ? null : "the kernel has no NBD devices (modprobe nbd)",
                _ => Tool.Find(need) is null ? $"there is no {need} here (scripts/system-packages.sh test installs it)" : null,
            };
        }
    }
}
