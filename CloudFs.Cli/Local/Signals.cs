using System.Runtime.InteropServices;

namespace CloudFs.Cli.Local;

/// <summary>Signals to other processes, which .NET has no call for but the one that kills.</summary>
internal static class Signals
{
    private const int Sigterm = 15;

    /// <summary>Asks a process to end; one that is gone already is fine.</summary>
    public static void Terminate(int pid) => _ = Kill(pid, Sigterm);

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int pid, int signal);
}
