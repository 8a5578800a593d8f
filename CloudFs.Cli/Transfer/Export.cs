using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace CloudFs.Cli.Transfer;

/// <summary>
/// Copies a disk out: into a file, where holes stay holes and several pieces are under way at a time, or as a stream,
/// in order and with the zeroes written out. Remembers whether all pieces were of the same version.
/// </summary>
internal sealed class Export(DaemonClient daemon, string disk, Progress progress)
{
    internal const int PieceBytes = 4 << 20;

    private const int PiecesInFlight = 3;

    private string? _version;

    /// <summary>True when the disk was written while it was copied: the copy is of no one moment.</summary>
    public bool Changed { get; private set; }

    /// <summary>Copies a whole disk into a file, which is then as long as the disk.</summary>
    public async Task ToFileAsync(SafeFileHandle file, ulong size, CancellationToken cancellation)
    {
        RandomAccess.SetLength(file, 0);
        RandomAccess.SetLength(file, (long)size);
        var inFlight = new InFlight(PiecesInFlight);
        foreach (var (offset, length, hole) in Pieces(await daemon.GetExtentsAsync(disk, cancellation)))
        {
            if (hole)
            {
                progress.Skip((ulong)length);
                continue;
            }

            await inFlight.AddAsync(() => CopyAsync(file, offset, length, cancellation));
        }

        await inFlight.FinishAsync();
        RandomAccess.FlushToDisk(file);
    }

    /// <summary>
    /// Copies runs that follow one another to a stream; holes are written out as zeroes, and the next piece of data is
    /// fetched while one is written.
    /// </summary>
    public async Task ToStreamAsync(Stream stream, IEnumerable<DiskExtent> extents, CancellationToken cancellation)
    {
        Task<Piece>? fetching = null;
        foreach (var (offset, length, hole) in Pieces(extents))
        {
            var next = hole ? Task.FromResult(Piece.Zeroes(length)) : FetchAsync(offset, length, cancellation);
            await WriteAsync(stream, fetching, cancellation);
            fetching = next;
        }

        await WriteAsync(stream, fetching, cancellation);
        await stream.FlushAsync(cancellation);
    }

    private static IEnumerable<(ulong Offset, int Length, bool Hole)> Pieces(IEnumerable<DiskExtent> extents)
    {
        foreach (var extent in extents)
        {
            for (var offset = extent.Offset; offset < extent.End; offset += PieceBytes)
            {
                var length = (int)Math.Min(PieceBytes, extent.End - offset);
                yield return (offset, length, extent.Content == ExtentContent.Hole);
            }
        }
    }

    private async Task WriteAsync(Stream stream, Task<Piece>? fetching, CancellationToken cancellation)
    {
        if (fetching is not null)
        {
            using var piece = await fetching;
            await stream.WriteAsync(piece.Bytes, cancellation);
            progress.Add((ulong)piece.Bytes.Length);
        }
    }

    private async Task CopyAsync(SafeFileHandle file, ulong offset, int length, CancellationToken cancellation)
    {
        using var piece = await FetchAsync(offset, length, cancellation);
        await RandomAccess.WriteAsync(file, piece.Bytes, (long)offset, cancellation);
        progress.Add((ulong)length);
    }

    private async Task<Piece> FetchAsync(ulong offset, int length, CancellationToken cancellation)
    {
        var piece = Piece.Rent(length);
        try
        {
            var version = await daemon.ReadBlocksAsync(disk, offset, piece.Bytes, cancellation);
            Changed |= Interlocked.CompareExchange(ref _version, version, null) is { } first && first != version;
            return piece;
        }
        catch
        {
            piece.Dispose();
            throw;
        }
    }

    /// <summary>Bytes on their way, in memory that goes back to the pool.</summary>
    private sealed class Piece(byte[] buffer, int length) : IDisposable
    {
        public Memory<byte> Bytes { get; } = buffer.AsMemory(0, length);

        public static Piece Rent(int length) => new(ArrayPool<byte>.Shared.Rent(length), length);

        public static Piece Zeroes(int length)
        {
            var piece = Rent(length);
            piece.Bytes.Span.Clear();
            return piece;
        }

        public void Dispose() => ArrayPool<byte>.Shared.Return(buffer);
    }
}
