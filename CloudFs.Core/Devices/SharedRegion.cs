using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Devices;

/// <summary>
/// Memory that outlives the process: a private file, mapped shared, on a file system that lives in memory
/// (/dev/shm) or any other. What the processor has stored is there for the next process, whatever became of this one;
/// after a reboot it is gone or means nothing.
/// </summary>
public sealed unsafe class SharedRegion : MemoryManager<byte>
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _start;
    private readonly int _length;

    private SharedRegion(MemoryMappedFile file, int length, string path, bool existed)
    {
        _file = file;
        _length = length;
        Path = path;
        Existed = existed;
        _view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.ReadWrite);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
    }

    /// <summary>Where the file is.</summary>
    public string Path { get; }

    /// <summary>True when it was there already: its contents may be those of a process that died.</summary>
    public bool Existed { get; }

    /// <summary>
    /// Opens or makes the region, readable by its owner alone, with all its memory taken up front: a file system that is
    /// full must be told now, not by a fault in the middle of a write.
    /// </summary>
    /// <exception cref="DeviceRefusedException">It can't be made there.</exception>
    public static SharedRegion Open(string path, int length)
    {
        var existed = File.Exists(path);
        using var handle = Posix.Open(path, Posix.ORdwr | Posix.OCreat, 0x180, out var errno)
            ?? throw new DeviceRefusedException($"{path}: the write buffer can't be made: {Posix.Describe(errno)}");
        File.SetUnixFileMode(handle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        if (existed && RandomAccess.GetLength(handle) != length)
        {
            existed = false;
            _ = Posix.Ftruncate(handle, 0);
        }

        if (Posix.Fallocate(handle, 0, 0, length) != 0)
        {
            var reason = Posix.Describe(Marshal.GetLastPInvokeError());
            throw new DeviceRefusedException(
                $"{path}: no room for the write buffer of {length >> 20} MiB: {reason}; give another --buffer-dir");
        }

        var file = MemoryMappedFile.CreateFromFile(
            path, FileMode.Open, mapName: null, length, MemoryMappedFileAccess.ReadWrite);
        return new SharedRegion(file, length, path, existed);
    }

    /// <summary>Takes the file away; the mapping lives on until it is disposed.</summary>
    public void Unlink() => File.Delete(Path);

    public override Span<byte> GetSpan() => new(_start, _length);

    public override MemoryHandle Pin(int elementIndex = 0) => new(_start + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }
}
