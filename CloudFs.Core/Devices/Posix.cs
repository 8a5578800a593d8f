using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CloudFs.Core.Devices;

/// <summary>The few system calls that .NET has no face for. Linux, 64 bit.</summary>
internal static partial class Posix
{
    public const int ORdonly = 0;
    public const int ORdwr = 2;
    public const int OCreat = 0x40;
    public const int OExcl = 0x80;
    public const int ONonblock = 0x800;
    public const int OCloexec = 0x80000;
    public const int ODirect = 0x4000;
    public const int LockExclusiveNow = 2 | 4;
    public const int ErrorBusy = 16;
    public const int ErrorAgain = 11;
    public const int ErrorIo = 5;
    public const int ErrorInterrupted = 4;
    public const int ErrorInvalid = 22;
    public const int ErrorNoSpace = 28;
    public const int ErrorNoData = 61;
    public const int ErrorIllegalSequence = 84;
    public const int ErrorRemoteIo = 121;
    public const int ErrorQuota = 122;
    public const int ErrorTooBig = 27;
    public const int ErrorNoSuchEntry = 2;
    public const nuint BlkGetSize64 = 0x80081272;
    public const nuint BlkPhysicalBlockSize = 0x127B;
    public const int ReadNoWait = 8;
    public const int SeekData = 3;
    public const int SeekHole = 4;
    public const int AdviseWillNeed = 3;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenRaw(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int Flock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int FdataSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Ftruncate(SafeFileHandle file, long length);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int IoctlU64(SafeFileHandle file, nuint request, out ulong value);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int IoctlI32(SafeFileHandle file, nuint request, out int value);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Lseek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    public static unsafe partial nint Pwrite(SafeFileHandle file, byte* source, nuint length, long offset);

    [LibraryImport("libc", EntryPoint = "preadv2", SetLastError = true)]
    public static unsafe partial nint Preadv2(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    public static partial int Fadvise(SafeFileHandle file, long offset, long length, int advice);

    /// <summary>open(2) with O_CLOEXEC; null with errno when it fails.</summary>
    public static SafeFileHandle? Open(string path, int flags, int mode, out int errno)
    {
        var descriptor = OpenRaw(path, flags | OCloexec, mode);
        errno = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>
    /// True for what the kernel answers when the medium refuses a place: EIO, and ENODATA (a medium error), EILSEQ (protection
    /// information) and EREMOTEIO (the target). A device that is gone, or a link that timed out, is none of these.
    /// </summary>
    public static bool IsBadPlace(int errno) => errno is ErrorIo or ErrorNoData or ErrorIllegalSequence or ErrorRemoteIo;

    /// <summary>The system's words for an errno.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct IoVector
    {
        public void* Base;
        public nuint Length;
    }
}
