using System.Runtime.InteropServices;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// The machine's clock, whose timestamps go on while the machine sleeps (CLOCK_BOOTTIME, in nanoseconds): a lease must have run out by then
/// (PROTOCOL.md, 18). .NET's own timestamps, CLOCK_MONOTONIC, stand still meanwhile. Time of day and timers are the system's. Any thread.
/// </summary>
internal sealed partial class BootTimeProvider : TimeProvider
{
    private const int BootTime = 7;
    private const long NanosPerSecond = 1_000_000_000;

    public override long TimestampFrequency => NanosPerSecond;

    /// <summary>Nanoseconds since the machine was started, sleep included.</summary>
    public override long GetTimestamp() => Get(BootTime, out var time) == 0
        ? (time.Seconds * NanosPerSecond) + time.Nanos
        : throw new InvalidOperationException("the machine has no CLOCK_BOOTTIME: leases need it, so Linux must be 2.6.39 or newer");

    // It stays in the calling process: no need to let a collection begin meanwhile.
    [SuppressGCTransition]
    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int Get(int clock, out ClockTime time);

    /// <summary>struct timespec of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ClockTime
    {
        public long Seconds;
        public long Nanos;
    }
}
