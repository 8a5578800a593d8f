using CloudFs.Core.Devices;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// A device in memory that knows what is durable. Writes are volatile until a flush. <see cref="Kill"/> gives the device as
/// the next process would find it: with what the kernel was given, durable or not. <see cref="PowerCut"/> gives it as the
/// next boot would: each block of what was not flushed is kept or lost. It can stop dead at the n-th write or flush, as a
/// process does that dies there; what it was asked from then on never ends.
/// </summary>
internal sealed class MemoryDevice : IBlockDevice
{
    private readonly Lock _lock = new();
    private readonly SparseBytes _visible;
    private readonly SparseBytes _durable;
    private readonly List<(ulong Offset, byte[] Bytes)> _unflushed;
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _stopAt = long.MaxValue;
    private Random? _tear;

    public MemoryDevice(ulong length, int physicalBlock = 4096)
        : this(length, physicalBlock, new SparseBytes(), new SparseBytes(), [])
    {
    }

    private MemoryDevice(
        ulong length, int physicalBlock, SparseBytes visible, SparseBytes durable,
        List<(ulong Offset, byte[] Bytes)> unflushed)
    {
        Length = length;
        PhysicalBlock = physicalBlock;
        _visible = visible;
        _durable = durable;
        _unflushed = unflushed;
    }

    public ulong Length { get; }

    public int PhysicalBlock { get; }

    public bool FailFlush { get; set; }

    /// <summary>The next flush fails, and those after it say that all is well, as a kernel does that told its error once.</summary>
    public bool FailNextFlush { get; set; }

    public bool FailWrites { get; set; }

    public bool FailReads { get; set; }

    /// <summary>While set, writes wait for it: a device that hangs.</summary>
    public Task? Stall { get; set; }

    public bool IsIsolated { get; private set; }

    /// <summary>Writes and flushes so far.</summary>
    public long Operations { get; private set; }

    /// <summary>Awaited before each operation: where others may come first.</summary>
    public Func<ValueTask>? Pause { get; set; }

    /// <summary>Ends when the device stopped dead.</summary>
    public Task Stopped => _stopped.Task;

    /// <summary>
    /// Stops dead at the n-th write or flush from now on; of that write as much is done as chance says, from its start.
    /// </summary>
    public void StopAt(long operation, Random tear)
    {
        lock (_lock)
        {
            _stopAt = Operations + operation;
            _tear = tear;
        }
    }

    /// <summary>Takes back <see cref="StopAt"/>.</summary>
    public void GoOn()
    {
        lock (_lock)
        {
            _stopAt = long.MaxValue;
        }
    }

    public async ValueTask ReadAsync(ulong offset, Memory<byte> destination)
    {
        if (Pause is { } pause)
        {
            await pause();
        }

        lock (_lock)
        {
            if (FailReads)
            {
                throw new DeviceException("read failed on purpose");
            }

            _visible.Read(offset, destination.Span);
        }
    }

    public async ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
    {
        if (Stall is { } stall)
        {
            await stall;
        }

        if (Pause is { } pause)
        {
            await pause();
        }

        if (!TryWrite(offset, source.Span))
        {
            await Never();
        }
    }

    public async ValueTask FlushAsync()
    {
        if (Pause is { } pause)
        {
            await pause();
        }

        if (!TryFlush())
        {
            await Never();
        }
    }

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => ValueTask.FromResult(true);

    /// <summary>The process dies: the kernel keeps what it was given. The old instance can write no more.</summary>
    public MemoryDevice Kill()
    {
        lock (_lock)
        {
            IsIsolated = true;
            return new MemoryDevice(Length, PhysicalBlock, _visible.Fork(), _durable.Fork(), [.. _unflushed]);
        }
    }

    /// <summary>A copy of the device as it is, for looking at.</summary>
    public MemoryDevice Copy()
    {
        lock (_lock)
        {
            return new MemoryDevice(Length, PhysicalBlock, _visible.Fork(), _durable.Fork(), [.. _unflushed]);
        }
    }

    /// <summary>The power goes: each block of what was not flushed is kept or lost, by chance.</summary>
    public MemoryDevice PowerCut(Random random)
    {
        lock (_lock)
        {
            IsIsolated = true;
            var found = _durable.Fork();
            var keep = random.Next(4) switch { 0 => 0, 1 => 100, _ => random.Next(0, 101) };
            foreach (var (offset, bytes) in _unflushed)
            {
                for (var at = 0; at < bytes.Length; at += PhysicalBlock)
                {
                    if (random.Next(100) < keep)
                    {
                        found.Write(offset + (ulong)at, bytes.AsSpan(at, Math.Min(PhysicalBlock, bytes.Length - at)));
                    }
                }
            }

            return new MemoryDevice(Length, PhysicalBlock, found.Fork(), found, []);
        }
    }

    /// <summary>Flips one bit, in what is visible and in what is durable.</summary>
    public void FlipBit(ulong byteOffset, int bit)
    {
        lock (_lock)
        {
            _visible.Flip(byteOffset, bit);
            _durable.Flip(byteOffset, bit);
        }
    }

    /// <summary>Makes a range zeroes, durably.</summary>
    public void Erase(ulong offset, int length)
    {
        lock (_lock)
        {
            _visible.Write(offset, new byte[length]);
            _durable.Write(offset, new byte[length]);
        }
    }

    /// <summary>What a read would give.</summary>
    public byte[] Peek(ulong offset, int length)
    {
        lock (_lock)
        {
            var bytes = new byte[length];
            _visible.Read(offset, bytes);
            return bytes;
        }
    }

    /// <summary>The offsets of chunks that were ever written, for choosing where to flip.</summary>
    public IReadOnlyList<ulong> WrittenChunks()
    {
        lock (_lock)
        {
            return _visible.Written;
        }
    }

    public void Dispose()
    {
    }

    private static Task Never() => new TaskCompletionSource().Task;

    private bool TryWrite(ulong offset, ReadOnlySpan<byte> source)
    {
        lock (_lock)
        {
            if (FailWrites || IsIsolated)
            {
                throw new DeviceException("write failed on purpose");
            }

            if (_stopped.Task.IsCompleted)
            {
                return false;
            }

            var stops = ++Operations >= _stopAt;
            if (stops)
            {
                // As much as the kernel had taken of it: all, nothing, or its beginning.
                var done = _tear!.Next(3) switch
                {
                    0 => 0,
                    1 => source.Length,
                    _ => _tear.Next(source.Length / PhysicalBlock) * PhysicalBlock,
                };
                source = source[..done];
            }

            _visible.Write(offset, source);
            _unflushed.Add((offset, source.ToArray()));
            if (stops)
            {
                _stopped.TrySetResult();
            }

            return !stops;
        }
    }

    private bool TryFlush()
    {
        lock (_lock)
        {
            if (FailFlush || IsIsolated || FailNextFlush)
            {
                if (FailNextFlush)
                {
                    // What was to be made durable is not, and nobody will hear of it again.
                    FailNextFlush = false;
                    _unflushed.Clear();
                }

                throw new DeviceException("flush failed on purpose");
            }

            if (_stopped.Task.IsCompleted || ++Operations >= _stopAt)
            {
                _stopped.TrySetResult();
                return false;
            }

            foreach (var (offset, bytes) in _unflushed)
            {
                _durable.Write(offset, bytes);
            }

            _unflushed.Clear();
            return true;
        }
    }
}
