using System.Buffers;

namespace CloudFs.Cli.Transfer;

/// <summary>
/// Copies a raw image into a disk. Runs of zeroes are not sent: the disk is told to read as zeroes there, and where it
/// does already nothing is sent at all. Pieces are durable one by one; several are under way at a time.
/// </summary>
internal sealed class Import(DaemonClient daemon, string disk, ulong diskSize, Progress progress)
{
    /// <summary>
    /// Zeroes are looked for in blocks of this size: smaller runs are not worth a request of their own.
    /// </summary>
    internal const int BlockBytes = 64 << 10;

    private const int PieceBytes = 4 << 20;

    private const int PiecesInFlight = 3;

    private const int SectorBytes = 512;

    private readonly InFlight _inFlight = new(PiecesInFlight);
    private IReadOnlyList<DiskExtent> _extents = [];
    private int _extent;
    private ulong _zeroesFrom;
    private ulong _zeroesTo;

    public async Task RunAsync(ImageInput image, CancellationToken cancellation)
    {
        _extents = await daemon.GetExtentsAsync(disk, cancellation);
        ulong offset = 0;
        while (true)
        {
            var hole = image.SkipHole();
            await AddZeroesAsync(offset, hole, cancellation);
            offset += hole;
            var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
            var read = await image.ReadAsync(buffer.AsMemory(0, PieceBytes), cancellation);
            if (read == 0)
            {
                ArrayPool<byte>.Shared.Return(buffer);
                break;
            }

            CheckFits(offset, (ulong)read);

            await AddPieceAsync(offset, buffer, read, cancellation);
            offset += (ulong)read;
        }

        await SendZeroesAsync(cancellation);
        await _inFlight.FinishAsync();
    }

    /// <summary>Cuts a piece into runs of zeroes and runs of data, and sends the data.</summary>
    private async Task AddPieceAsync(ulong offset, byte[] buffer, int length, CancellationToken cancellation)
    {
        List<(int Start, int Length)> runs = [];
        var start = 0;
        while (start < length)
        {
            var end = RunEnd(buffer.AsSpan(0, length), start, out var zero);
            if (zero)
            {
                await AddZeroesAsync(offset + (ulong)start, (ulong)(end - start), cancellation);
            }
            else
            {
                runs.Add((start, end - start));
            }

            start = end;
        }

        await _inFlight.AddAsync(() => SendAsync(offset, buffer, runs, cancellation));
    }

    private async Task SendAsync(
        ulong offset, byte[] buffer, List<(int Start, int Length)> runs, CancellationToken cancellation)
    {
        foreach (var (start, length) in runs)
        {
            await daemon.WriteBlocksAsync(disk, offset + (ulong)start, buffer.AsMemory(start, length), cancellation);
            progress.Add((ulong)length);
        }

        ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>
    /// Where the run ends that begins at <paramref name="start"/>: blocks that are all zero, or all not.
    /// </summary>
    internal static int RunEnd(ReadOnlySpan<byte> piece, int start, out bool zero)
    {
        zero = IsZeroBlock(piece, start);
        var end = start;
        while (end < piece.Length && IsZeroBlock(piece, end) == zero)
        {
            end = Math.Min(end + BlockBytes, piece.Length);
        }

        return end;
    }

    // A last block that is no whole number of sectors goes as data: only sectors can be made to read as zeroes.
    private static bool IsZeroBlock(ReadOnlySpan<byte> piece, int at)
    {
        var block = piece[at..Math.Min(at + BlockBytes, piece.Length)];
        return block.Length % SectorBytes == 0 && !block.ContainsAnyExcept((byte)0);
    }

    private void CheckFits(ulong offset, ulong length)
    {
        if (length > diskSize - offset)
        {
            throw new CommandException(
                $"the image is larger than the disk, which has {diskSize} bytes: cloudfs resize it first");
        }
    }

    /// <summary>Joins runs of zeroes that adjoin: one request does for all of them, whatever their length.</summary>
    private async Task AddZeroesAsync(ulong offset, ulong length, CancellationToken cancellation)
    {
        if (length == 0)
        {
            return;
        }

        CheckFits(offset, length);
        if (offset != _zeroesTo)
        {
            await SendZeroesAsync(cancellation);
            _zeroesFrom = offset;
        }

        _zeroesTo = offset + length;
        progress.Skip(length);
    }

    private async Task SendZeroesAsync(CancellationToken cancellation)
    {
        var (from, to) = (_zeroesFrom, _zeroesTo);
        _zeroesFrom = _zeroesTo;
        if (from < to && !IsHole(from, to))
        {
            await _inFlight.AddAsync(() => daemon.ZeroBlocksAsync(disk, from, to - from, cancellation));
        }
    }

    /// <summary>
    /// True when the range was a hole before the import began. Runs of the same content are one in the daemon's
    /// account, and the import only goes forward: so one extent covers the range, at or behind the last that was looked
    /// at.
    /// </summary>
    private bool IsHole(ulong from, ulong to)
    {
        while (_extent < _extents.Count && _extents[_extent].End <= from)
        {
            _extent++;
        }

        return _extent < _extents.Count
            && _extents[_extent].Content == ExtentContent.Hole && to <= _extents[_extent].End;
    }
}
