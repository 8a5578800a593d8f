using System.Numerics;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Reuses pinned buffers in power-of-two classes from 4 KiB to 32 MiB. Memory that the machine gave back is slow to
/// touch again, so up to a limit returned buffers are kept; beyond it they are left to the collector.
/// </summary>
internal sealed class BufferPool(long maxKept)
{
    private const int SmallestBits = 12;
    private const int LargestBits = 25;

    private readonly Lock _gate = new();
    private readonly Stack<PooledBuffer>[] _kept =
        [.. Enumerable.Range(0, LargestBits - SmallestBits + 1).Select(_ => new Stack<PooledBuffer>())];

    private long _keptBytes;
    private int _rented;

    /// <summary>Buffers that are in use; zero when nothing is under way, which the tests hold it to.</summary>
    public int Rented => Volatile.Read(ref _rented);

    /// <summary>A buffer for at least that much payload, with one user.</summary>
    public PooledBuffer Rent(int payload)
    {
        var sizeClass = Math.Max(0, 32 - BitOperations.LeadingZeroCount((uint)payload - 1) - SmallestBits);
        PooledBuffer? buffer = null;
        lock (_gate)
        {
            _rented++;
            if (_kept[sizeClass].TryPop(out buffer))
            {
                _keptBytes -= buffer.Array.Length;
            }
        }

        if (buffer is null)
        {
            var size = PooledBuffer.Headroom + (1 << (sizeClass + SmallestBits));
            buffer = new PooledBuffer(this, sizeClass, GC.AllocateUninitializedArray<byte>(size, pinned: true));
        }

        buffer.Start();
        return buffer;
    }

    internal void Return(PooledBuffer buffer)
    {
        lock (_gate)
        {
            _rented--;
            if (_keptBytes + buffer.Array.Length <= maxKept)
            {
                _keptBytes += buffer.Array.Length;
                _kept[buffer.SizeClass].Push(buffer);
            }
        }
    }
}
