using CloudFs.Core.Devices;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// A device that takes its time for reads of what it was not told of, and has at hand what it was: as a disk behind a page cache.
/// It counts both, so that a test sees how often a read had to wait: on a simulation's thread, where nothing ends meanwhile.
/// </summary>
internal sealed class FetchingDevice(MemoryDevice inner) : IBlockDevice
{
    private readonly Lock _lock = new();
    private readonly HashSet<ulong> _atHand = [];

    /// <summary>What takes the place of the device: its contents without what was at hand.</summary>
    public MemoryDevice Inner { get; private set; } = inner;

    /// <summary>Reads so far.</summary>
    public int Reads { get; private set; }

    /// <summary>Of them, those that had to wait for the device.</summary>
    public int Waits { get; private set; }

    /// <summary>Ranges that it was told of.</summary>
    public int Told { get; private set; }

    public ulong Length => Inner.Length;

    public int PhysicalBlock => Inner.PhysicalBlock;

    /// <summary>A new process on the same bytes; nothing is at hand.</summary>
    public void Restart()
    {
        Inner = Inner.Kill();
        Forget();
    }

    public void Forget()
    {
        lock (_lock)
        {
            _atHand.Clear();
            (Reads, Waits, Told) = (0, 0, 0);
        }
    }

    public void Prefetch(ulong offset, int length)
    {
        Assert.InRange(length, 1, 16 << 20);
        Assert.InRange(offset + (ulong)length, 1UL, Length);
        lock (_lock)
        {
            Told++;
            Take(offset, length);
        }
    }

    public ValueTask ReadAsync(ulong offset, Memory<byte> destination)
    {
        lock (_lock)
        {
            Reads++;
            if (!Take(offset, destination.Length))
            {
                return Inner.ReadAsync(offset, destination);
            }

            Waits++;
        }

        return ReadSlowlyAsync(offset, destination);
    }

    public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source) => Inner.WriteAsync(offset, source);

    public ValueTask FlushAsync() => Inner.FlushAsync();

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => Inner.TryReserveAsync(offset, length);

    public void Dispose() => Inner.Dispose();

    private async ValueTask ReadSlowlyAsync(ulong offset, Memory<byte> destination)
    {
        await Task.Yield();
        await Inner.ReadAsync(offset, destination);
    }

    /// <summary>True when some of the range was not at hand; now it is.</summary>
    private bool Take(ulong offset, int length)
    {
        var isNew = false;
        for (var page = offset >> 12; page <= (offset + (ulong)length - 1) >> 12; page++)
        {
            isNew |= _atHand.Add(page);
        }

        return isNew;
    }
}
