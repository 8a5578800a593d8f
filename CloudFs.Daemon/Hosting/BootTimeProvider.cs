using System.Runtime.InteropServices;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// The machine's clocks, with timestamps by CLOCK_BOOTTIME: it goes on while the machine sleeps, as the leases of other hosts do
/// (PROTOCOL.md, 18). Timers
/// and the wall clock are the system's. Any thread.
/// </summary>
internal sealed partial class BootTimeProvider : TimeProvider
{
    private const int ClockBootTime = 7;

    private BootTimeProvider()
    {
    }

    public static BootTimeProvider Instance { get; } = new();

    /// <summary>Nanoseconds.</summary>
    public override long TimestampFrequency => 1_000_000_000;

    public override long GetTimestamp() => GetTime(ClockBootTime, out var time) == 0
        ? (time.Seconds * TimestampFrequency) + time.Nanoseconds
        : throw new PlatformNotSupportedException("this kernel has no CLOCK_BOOTTIME, which leases need");

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    [SuppressGCTransition]
    private static partial int GetTime(int clock, out TimeSpec time);

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
