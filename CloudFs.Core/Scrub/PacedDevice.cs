using CloudFs.Core.Devices;
using CloudFs.Core.Recovery;

namespace CloudFs.Core.Scrub;

/// <summary>
/// Reads at a bounded rate, a piece at a time, until it is cancelled. Time that was not used is not made up for: clients
/// never pay for a pause with a burst. Used by one caller at a time; writes are passed on.
/// </summary>
internal sealed class PacedDevice(IBlockDevice device, TimeProvider time, ulong rate, CancellationToken cancellation)
    : IBlockDevice
{
    /// <summary>Less than a timer can measure.</summary>
    private static readonly TimeSpan ShortestWait = TimeSpan.FromMilliseconds(2);

    /// <summary>At a low rate, pieces of this part of a second; never less than a page.</summary>
    private const ulong PiecesPerSecond = 8;

    private const ulong SmallestPiece = 4096;

    private readonly int _piece = (int)Math.Clamp(rate / PiecesPerSecond / 4096 * 4096, SmallestPiece, SegmentVerifier.PieceBytes);
    private long _next = time.GetTimestamp();

    public ulong Length => device.Length;

    public int PhysicalBlock => device.PhysicalBlock;

    /// <summary>Bytes read so far.</summary>
    public ulong BytesRead { get; private set; }

    public async ValueTask ReadAsync(ulong offset, Memory<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var piece = destination[..Math.Min(_piece, destination.Length)];
            await WaitAsync(piece.Length);
            await device.ReadAsync(offset, piece);
            BytesRead += (ulong)piece.Length;
            offset += (ulong)piece.Length;
            destination = destination[piece.Length..];
        }
    }

    /// <summary>Lets others go first; ends with an exception once it is cancelled.</summary>
    public async ValueTask BreatheAsync()
    {
        cancellation.ThrowIfCancellationRequested();
        await Task.Yield();
    }

    public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source) => device.WriteAsync(offset, source);

    public ValueTask FlushAsync() => device.FlushAsync();

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => device.TryReserveAsync(offset, length);

    /// <summary>The device is the engine's.</summary>
    public void Dispose()
    {
    }

    private async ValueTask WaitAsync(int bytes)
    {
        await BreatheAsync();
        var now = time.GetTimestamp();
        var wait = time.GetElapsedTime(now, _next);
        if (wait >= ShortestWait)
        {
            await Task.Delay(wait, time, cancellation);
            now = time.GetTimestamp();
        }

        _next = Math.Max(_next, now) + (long)((UInt128)bytes * (ulong)time.TimestampFrequency / rate);
    }
}
