namespace CloudFs.SystemTests.Harness;

/// <summary>What this machine lets a test do. Each is tried once, and leaves nothing behind.</summary>
internal static class Machine
{
    private static readonly Lazy<bool> Loops = new(TryLoop);
    private static readonly Lazy<bool> Mounts = new(TryMount);

    private static readonly Lazy<bool> Namespaces = new(TryNamespace);

    public static bool CanSeparate => Namespaces.Value;

    public static bool CanLoop => Loops.Value;

    public static bool CanMount => Mounts.Value;

    public static bool CanFuse => CanMount && File.Exists("/dev/fuse") && Tool.Find("fusermount3") is not null;

    public static bool HasKernelNbd => File.Exists("/dev/nbd0") && Environment.UserName == "root";

    private static bool TryLoop()
    {
        if (Environment.UserName != "root" || Tool.Find("losetup") is null)
        {
            return false;
        }

        using var scratch = new Scratch();
        var file = scratch.Sparse("loop", 1 << 20);
        var made = Tool.Run("losetup", ["--find", "--show", file]);
        return made.Status == 0 && Tool.Run("losetup", ["-d", made.Output.Trim()]).Status == 0;
    }

    private static bool TryNamespace()
    {
        if (Environment.UserName != "root" || Tool.Find("ip") is null)
        {
            return false;
        }

        var name = "cloudfs-try-" + Environment.ProcessId;
        return Tool.Run("ip", ["netns", "add", name]).Status == 0 && Tool.Run("ip", ["netns", "del", name]).Status == 0;
    }

    private static bool TryMount()
    {
        if (Environment.UserName != "root" || Tool.Find("mount") is null)
        {
            return false;
        }

        using var scratch = new Scratch();
        return Tool.Run("mount", ["-t", "tmpfs", "-o", "size=1M", "tmpfs", scratch.Folder]).Status == 0
            && Tool.Run("umount", [scratch.Folder]).Status == 0;
    }
}
