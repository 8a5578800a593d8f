using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CloudFs.Cli.Transfer;

/// <summary>
/// A raw image that is read from its beginning: a file, whose holes are skipped without reading them, or a stream. One
/// caller at a time.
/// </summary>
internal sealed class ImageInput : IDisposable
{
    private const int SectorBytes = 512;

    private readonly Stream _stream;
    private readonly SafeFileHandle? _file;
    private long _hole;

    private ImageInput(Stream stream, SafeFileHandle? file, ulong? length)
    {
        _stream = stream;
        _file = file;
        Length = length;
    }

    /// <summary>Bytes in all; null for a stream, of which nobody knows.</summary>
    public ulong? Length { get; }

    /// <summary>Opens a file, or standard input for <c>-</c>.</summary>
    public static ImageInput Open(string path, CommandIo io)
    {
        if (path == "-")
        {
            return new ImageInput(io.OpenInput(), null, null);
        }

        try
        {
            var stream = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0, FileOptions.SequentialScan);
            var length = stream.CanSeek ? (ulong)stream.Seek(0, SeekOrigin.End) : (ulong?)null;
            if (length is not null)
            {
                stream.Position = 0;
            }

            return new ImageInput(stream, stream.CanSeek ? stream.SafeFileHandle : null, length);
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"{path} can't be read: {failed.Message}");
        }
    }

    public void Dispose() => _stream.Dispose();

    /// <summary>
    /// How many bytes from here on are a hole, as far as the file system tells; 0 where data begins. Reading goes on
    /// behind it.
    /// </summary>
    public ulong SkipHole()
    {
        if (_file is null || Length is not { } length || (ulong)_stream.Position >= length)
        {
            return 0;
        }

        var here = _stream.Position;
        if (here < _hole)
        {
            return 0;
        }

        var data = Seek.To(_file, here, Seek.Data);
        data = data < 0 ? (Marshal.GetLastPInvokeError() == Seek.NothingBehind ? (long)length : here) : data;
        _hole = data >= (long)length ? (long)length : Math.Max(Seek.To(_file, data, Seek.Hole), data);

        // The bytes of a last sector that is cut short are read as data: a hole in a disk has whole sectors.
        data -= data % SectorBytes;
        _stream.Position = data;
        return (ulong)(data - here);
    }

    /// <summary>Fills the destination as far as there are bytes.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellation) =>
        _stream.ReadAtLeastAsync(destination, destination.Length, throwOnEndOfStream: false, cancellation);

    /// <summary>lseek's two directions that .NET has no name for.</summary>
    private static class Seek
    {
        public const int Data = 3;

        public const int Hole = 4;

        /// <summary>ENXIO: no data behind the offset.</summary>
        public const int NothingBehind = 6;

        public static long To(SafeFileHandle file, long offset, int whence) => NativeSeek(file, offset, whence);

        [DllImport("libc", EntryPoint = "lseek", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
        private static extern long NativeSeek(SafeFileHandle file, long offset, int whence);
    }
}
