using System.Runtime.InteropServices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using Microsoft.Win32.SafeHandles;

namespace CloudFs.Core.Devices;

/// <summary>
/// A raw block device or a loopback file, held exclusively: a block device by O_EXCL (so a mounted one is busy), both by
/// an flock. Reads that the page cache can answer complete at once; others go to the thread pool. Writes of whole blocks from
/// aligned memory go past the page cache (O_DIRECT) where the file system lets them: what is appended is not read again soon,
/// and copying it into pages that were never touched costs more than the disk does. Others go through it.
/// </summary>
public sealed class FileBlockDevice : IBlockDevice
{
    private readonly SafeFileHandle _file;
    private readonly string _path;
    private ulong? _lengthBefore;

    /// <summary>The same file past the page cache; null where that can't be.</summary>
    private readonly SafeFileHandle? _direct;
    private volatile bool _refusesDirect;

    private FileBlockDevice(
        SafeFileHandle file, SafeFileHandle? direct, string path, bool isBlock, ulong length, int physicalBlock)
    {
        _file = file;
        _direct = direct;
        _path = path;
        IsBlockDevice = isBlock;
        Length = length;
        PhysicalBlock = physicalBlock;
    }

    public ulong Length { get; private set; }

    public int PhysicalBlock { get; }

    /// <summary>True for a block device, false for a file.</summary>
    public bool IsBlockDevice { get; }

    /// <summary>
    /// Opens what is at <paramref name="path"/>. A file that is not there is made (sparse, for its owner alone) when
    /// <paramref name="sizeBytes"/> is given; a smaller one grows to it. With <paramref name="evenIfMounted"/> a block
    /// device is taken from whoever in the kernel holds it; a daemon's lock is never broken.
    /// </summary>
    /// <exception cref="DeviceRefusedException">It can't be opened, is in use, or is too small; one line says so.</exception>
    public static FileBlockDevice Open(string path, ulong? sizeBytes, bool readOnly = false, bool evenIfMounted = false)
    {
        var created = false;
        if (!File.Exists(path))
        {
            if (sizeBytes is null || readOnly)
            {
                throw new DeviceRefusedException(
                    $"{path}: there is no such device or file; give --size to make a file of that size");
            }

            if (sizeBytes < DeviceGeometry.MinDeviceBytes)
            {
                throw TooSmall(path, sizeBytes.Value);
            }

            created = true;
        }

        var isBlock = !created && IsBlock(path);
        var flags = (readOnly ? Posix.ORdonly : Posix.ORdwr)
            | (created ? Posix.OCreat | Posix.OExcl : isBlock && !evenIfMounted ? Posix.OExcl : 0);
        var file = Posix.Open(path, flags, 0x180, out var errno)
            ?? throw new DeviceRefusedException(errno == Posix.ErrorBusy
                ? $"{path}: the device is in use: mounted, or held by another program"
                : $"{path}: it can't be opened: {Posix.Describe(errno)}");
        try
        {
            return Take(file, path, isBlock, readOnly ? null : sizeBytes, readOnly);
        }
        catch
        {
            file.Dispose();
            if (created)
            {
                File.Delete(path);
            }

            throw;
        }
    }

    public ValueTask ReadAsync(ulong offset, Memory<byte> destination)
    {
        var done = TryReadCached(offset, destination);
        return done == destination.Length
            ? ValueTask.CompletedTask
            : new ValueTask(ReadRestAsync(offset + (ulong)done, destination[done..]));
    }

    // The kernel begins to read into its page cache, and doesn't wait: so any number of reads are under way without a thread each.
    public void Prefetch(ulong offset, int length) =>
        _ = Posix.Fadvise(_file, checked((long)offset), length, Posix.AdviseWillNeed);

    public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
    {
        try
        {
            if (!TryWriteDirect(offset, source.Span))
            {
                RandomAccess.Write(_file, source.Span, checked((long)offset));
            }

            return ValueTask.CompletedTask;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new DeviceException($"{_path}: writing {source.Length} bytes at {offset} failed: {e.Message}", e)
            {
                // What .NET throws for an errno that it has no type for carries it.
                IsBadPlace = e is IOException && Posix.IsBadPlace(e.HResult),
            };
        }
    }

    public ValueTask FlushAsync()
    {
        if (Posix.FdataSync(_file) != 0)
        {
            throw new DeviceException($"{_path}: flush failed: {Posix.Describe(Marshal.GetLastPInvokeError())}");
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length)
    {
        if (IsBlockDevice || Posix.Fallocate(_file, 0, (long)offset, (long)length) == 0)
        {
            return ValueTask.FromResult(true);
        }

        // A file system that can't preallocate is taken at its word: writes will tell.
        var errno = Marshal.GetLastPInvokeError();
        return ValueTask.FromResult(errno is not (Posix.ErrorNoSpace or Posix.ErrorQuota or Posix.ErrorTooBig));
    }

    public (ulong Offset, ulong Length) FindUnwritten(ulong offset, ulong length)
    {
        // What was only reserved is a hole to these calls as well. A block device knows none.
        var end = offset + length;
        var hole = IsBlockDevice ? -1 : Posix.Lseek(_file, (long)offset, Posix.SeekHole);
        if (hole < 0 || (ulong)hole >= end)
        {
            return default;
        }

        var data = Posix.Lseek(_file, hole, Posix.SeekData);
        return ((ulong)hole, (data < 0 ? end : Math.Min(end, (ulong)data)) - (ulong)hole);
    }

    public void UndoGrowth()
    {
        if (_lengthBefore is { } length && Posix.Ftruncate(_file, (long)length) == 0)
        {
            (Length, _lengthBefore) = (length, null);
        }
    }

    public void Dispose()
    {
        _direct?.Dispose();
        _file.Dispose();
    }

    /// <summary>By the open file, not by its path, which may mean another one by now. Null where it can't be had.</summary>
    private static SafeFileHandle? OpenDirect(SafeFileHandle file) =>
        Posix.Open($"/proc/self/fd/{file.DangerousGetHandle()}", Posix.ORdwr | Posix.ODirect, 0, out _);

    private static FileBlockDevice Take(SafeFileHandle file, string path, bool isBlock, ulong? sizeBytes, bool readOnly)
    {
        if (Posix.Flock(file, Posix.LockExclusiveNow) != 0)
        {
            throw new DeviceRefusedException($"{path}: it is in use by another daemon (or another program locks it)");
        }

        ulong length;
        ulong? lengthBefore = null;
        var physical = DeviceGeometry.MaxPhysicalBlock;
        if (isBlock)
        {
            if (Posix.IoctlU64(file, Posix.BlkGetSize64, out length) != 0)
            {
                throw new DeviceRefusedException($"{path}: its size can't be had: not a disk?");
            }

            // Some devices report more than a page (RAID stripes): what can tear is what we pad to, at most 4 KiB.
            if (Posix.IoctlI32(file, Posix.BlkPhysicalBlockSize, out var reported) == 0 && reported >= 512)
            {
                physical = Math.Min(reported, DeviceGeometry.MaxPhysicalBlock);
            }

            if (sizeBytes > length)
            {
                throw new DeviceRefusedException($"{path}: the device has {length} bytes, --size asks for {sizeBytes}");
            }
        }
        else
        {
            length = checked((ulong)RandomAccess.GetLength(file));
            if (sizeBytes > length)
            {
                if (sizeBytes < DeviceGeometry.MinDeviceBytes)
                {
                    throw TooSmall(path, sizeBytes.Value);
                }

                if (Posix.Ftruncate(file, checked((long)sizeBytes.Value)) != 0)
                {
                    throw new DeviceRefusedException(
                        $"{path}: it can't grow to {sizeBytes} bytes: {Posix.Describe(Marshal.GetLastPInvokeError())}");
                }

                (lengthBefore, length) = (length, sizeBytes.Value);
            }
        }

        return length < DeviceGeometry.MinDeviceBytes
            ? throw TooSmall(path, length)
            : new FileBlockDevice(file, readOnly ? null : OpenDirect(file), path, isBlock, length, physical)
            {
                _lengthBefore = lengthBefore,
            };
    }

    private static DeviceRefusedException TooSmall(string path, ulong length) => new(
        $"{path}: too small: {length} bytes, at least {DeviceGeometry.MinDeviceBytes} (104 MiB) are needed");

    /// <summary>Asks the kernel: what .NET tells of a file's attributes leaves block devices out.</summary>
    private static bool IsBlock(string path)
    {
        using var file = Posix.Open(path, Posix.ORdonly | Posix.ONonblock, 0, out _);
        return file is not null && Posix.IoctlU64(file, Posix.BlkGetSize64, out _) == 0;
    }

    /// <summary>
    /// Writes past the page cache what may go there: whole blocks from memory that is aligned to them. The kernel keeps the page
    /// cache true: it writes back and drops what it has of the range. False: nothing was written.
    /// </summary>
    private unsafe bool TryWriteDirect(ulong offset, ReadOnlySpan<byte> source)
    {
        if (_direct is not { } direct || _refusesDirect)
        {
            return false;
        }

        fixed (byte* start = source)
        {
            var block = (ulong)PhysicalBlock;
            if (offset % block != 0 || (ulong)start % block != 0 || (ulong)source.Length % block != 0)
            {
                return false;
            }

            for (long done = 0; done < source.Length;)
            {
                var written = Posix.Pwrite(direct, start + done, (nuint)(source.Length - done), (long)offset + done);
                if (written > 0)
                {
                    done += written;
                    continue;
                }

                var errno = written == 0 ? Posix.ErrorIo : Marshal.GetLastPInvokeError();
                if (errno == Posix.ErrorInterrupted)
                {
                    continue;
                }

                if (errno == Posix.ErrorInvalid && done == 0)
                {
                    // It wants larger blocks than it says, or can't do it after all.
                    _refusesDirect = true;
                    return false;
                }

                throw new IOException(Posix.Describe(errno), errno);
            }
        }

        return true;
    }

    // RWF_NOWAIT answers only from the page cache, so the caller's thread never waits for the disk.
    private unsafe int TryReadCached(ulong offset, Memory<byte> destination)
    {
        fixed (byte* start = destination.Span)
        {
            var vector = new Posix.IoVector { Base = start, Length = (nuint)destination.Length };
            var read = Posix.Preadv2(_file, &vector, 1, checked((long)offset), Posix.ReadNoWait);
            return read < 0 ? 0 : (int)read;
        }
    }

    private async Task ReadRestAsync(ulong offset, Memory<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            int read;
            try
            {
                read = await RandomAccess.ReadAsync(_file, destination, checked((long)offset), CancellationToken.None);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new DeviceException($"{_path}: reading {destination.Length} bytes at {offset} failed: {e.Message}", e);
            }

            if (read == 0)
            {
                throw new DeviceException($"{_path}: the device ends before {offset + (ulong)destination.Length}");
            }

            offset += (ulong)read;
            destination = destination[read..];
        }
    }
}
