using CloudFs.Core.Devices;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// A device in memory that knows what is durable. Writes are volatile until a flush. <see cref="Kill"/> gives the device as
/// the next process would find it: with what the kernel was given, durable or not. <see cref="PowerCut(Random)"/> gives it as the
/// next boot would: what was not flushed is kept, lost or torn. It can stop dead at the n-th write or flush, as a
/// process does that dies there; what it was asked from then on never ends. <see cref="Faults"/> says what else may happen.
/// </summary>
internal sealed class MemoryDevice : IBlockDevice
{
    private const int SectorBytes = 512;

    private readonly Lock _lock = new();
    private readonly SparseBytes _visible;
    private readonly SparseBytes _durable;
    private readonly List<VolatileWrite> _unflushed;
    private readonly ChunkArena _arena;
    private readonly TaskCompletionSource _stopped = new();
    private bool _isStopped;
    private long _stopAt = long.MaxValue;
    private Random? _tear;

    public MemoryDevice(ulong length, int physicalBlock = 4096, ChunkArena? arena = null)
        : this(length, physicalBlock, arena ??= new ChunkArena(), new SparseBytes(arena), new SparseBytes(arena), [])
    {
    }

    private MemoryDevice(
        ulong length, int physicalBlock, ChunkArena arena, SparseBytes visible, SparseBytes durable,
        List<VolatileWrite> unflushed)
    {
        _arena = arena;
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

    /// <summary>Whether the medium refuses a write, by its offset and length: a bad place stays so with the device.</summary>
    public Func<ulong, int, bool>? RefusesWrite { get; set; }

    /// <summary>How many writes were refused so far, on purpose.</summary>
    public int RefusedWrites { get; private set; }

    /// <summary>While set, writes wait for it: a device that hangs.</summary>
    public Task? Stall { get; set; }

    /// <summary>What else may go wrong; null for nothing.</summary>
    public Faults? Faults { get; set; }

    /// <summary>Takes in everything that is done to the device.</summary>
    public Digest? Digest { get; set; }

    /// <summary>Told before each write and flush, in order, for who wants to try every place at which it could have ended.</summary>
    public IDeviceRecorder? Recorder { get; set; }

    /// <summary>The last write.</summary>
    public (ulong Offset, int Length) LastWrite { get; private set; }

    public bool IsIsolated { get; private set; }

    /// <summary>Writes and flushes so far.</summary>
    public long Operations { get; private set; }

    /// <summary>Which operation made durable what is durable.</summary>
    public long LastFlush { get; private set; }

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
        await PauseAsync();

        lock (_lock)
        {
            if (FailReads)
            {
                throw new DeviceException("read failed on purpose");
            }

            _visible.Read(Faults?.Read(offset, destination.Length, Length) ?? offset, destination.Span);
        }
    }

    public async ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
    {
        if (Stall is { } stall)
        {
            await stall;
        }

        await PauseAsync();

        if (!TryWrite(offset, source.Span))
        {
            await Never();
        }
    }

    public async ValueTask FlushAsync()
    {
        await PauseAsync();

        if (!TryFlush())
        {
            await Never();
        }
    }

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) =>
        ValueTask.FromResult(Faults is not { NoRoomBelow: true });

    /// <summary>True to tell what was never written, as a file does.</summary>
    public bool TellsUnwritten { get; set; }

    public (ulong Offset, ulong Length) FindUnwritten(ulong offset, ulong length)
    {
        lock (_lock)
        {
            return TellsUnwritten ? _visible.FindUnwritten(offset, offset + length) : default;
        }
    }

    /// <summary>The process dies: the kernel keeps what it was given. The old instance can write no more.</summary>
    public MemoryDevice Kill()
    {
        lock (_lock)
        {
            IsIsolated = true;
            return Next(_visible.Fork(), _durable.Fork(), [.. _unflushed]);
        }
    }

    /// <summary>A copy of the device as it is, for looking at.</summary>
    /// <param name="arena">Where it has its own chunks from; null for where this one has them from.</param>
    public MemoryDevice Copy(ChunkArena? arena = null)
    {
        lock (_lock)
        {
            return Next(_visible.Fork(arena), _durable.Fork(arena), [.. _unflushed], arena);
        }
    }

    /// <summary>The power goes: each sector of what was not flushed is kept or lost, in one of the ways in which disks do that.</summary>
    public MemoryDevice PowerCut(Random random)
    {
        lock (_lock)
        {
            IsIsolated = true;
            var found = _durable.Fork();
            var choice = new PowerCutChoice(random, _unflushed.Count, PhysicalBlock);
            for (var i = 0; i < _unflushed.Count; i++)
            {
                var (offset, length, _, _) = _unflushed[i];
                for (var at = 0; at < length; at += SectorBytes)
                {
                    if (choice.Keeps(i, at, length))
                    {
                        KeepSector(found, i, at);
                    }
                }
            }

            return Next(found.Fork(), found, []);
        }
    }

    /// <summary>The device as the next boot would find it when exactly these of the unflushed bytes were kept.</summary>
    public MemoryDevice PowerCut(Func<int, int, bool> keeps, ChunkArena arena)
    {
        lock (_lock)
        {
            var found = _durable.Fork(arena);
            for (var i = 0; i < _unflushed.Count; i++)
            {
                for (var at = 0; at < _unflushed[i].Length; at += SectorBytes)
                {
                    if (keeps(i, at))
                    {
                        KeepSector(found, i, at);
                    }
                }
            }

            return Next(found.Fork(), found, [], arena);
        }
    }

    /// <summary>Nothing is asked of the device for a while: its cache is written back by itself.</summary>
    public void Drain()
    {
        lock (_lock)
        {
            foreach (var (offset, length, _, _) in _unflushed)
            {
                _durable.Take(_visible, offset, length);
            }

            _unflushed.Clear();
        }
    }

    /// <summary>The writes that no flush has made durable yet, in order: which operation of the device each was, and its length.</summary>
    public IReadOnlyList<(long Operation, int Length)> Unflushed()
    {
        lock (_lock)
        {
            return [.. _unflushed.Select(write => (write.Operation, write.Length))];
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
            _visible.Clear(offset, length);
            _durable.Clear(offset, length);
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

    private async ValueTask PauseAsync()
    {
        if (Pause is { } pause)
        {
            await pause();
        }

        if (Faults is { } faults)
        {
            await faults.DelayAsync();
        }
    }

    private MemoryDevice Next(
        SparseBytes visible, SparseBytes durable, List<VolatileWrite> unflushed, ChunkArena? arena = null) =>
        new(Length, PhysicalBlock, arena ?? _arena, visible, durable, unflushed)
        {
            Faults = Faults,
            Digest = Digest,
            RefusesWrite = RefusesWrite,
            LastFlush = LastFlush,
            TellsUnwritten = TellsUnwritten,
        };

    private void KeepSector(SparseBytes found, int write, int at)
    {
        var (offset, length, bytes, _) = _unflushed[write];
        var part = Math.Min(SectorBytes, length - at);
        Span<byte> sector = stackalloc byte[SectorBytes];
        if (bytes is null)
        {
            _visible.Read(offset + (ulong)at, sector[..part]);
        }
        else
        {
            bytes.AsSpan(at, part).CopyTo(sector);
        }

        found.Write(offset + (ulong)at, sector[..part]);
    }

    private bool TryWrite(ulong offset, ReadOnlySpan<byte> source)
    {
        lock (_lock)
        {
            if (IsIsolated)
            {
                throw new DeviceException("the process is dead");
            }

            if (FailWrites || RefusesWrite?.Invoke(offset, source.Length) == true)
            {
                RefusedWrites++;
                throw new DeviceException("write failed on purpose") { IsBadPlace = true };
            }

            if (_isStopped)
            {
                return false;
            }

            Recorder?.BeforeOperation(this);
            if (Faults?.FailingWrite(source.Length) is { } done)
            {
                Operations++;
                if (done > 0)
                {
                    Put(offset, source[..done]);
                }

                throw new DeviceException("write failed") { IsBadPlace = true };
            }

            offset = Faults?.Write(offset, source.Length, Length) ?? offset;
            Digest?.Add(offset);
            Digest?.Add(source);
            var stops = ++Operations >= _stopAt;
            if (stops)
            {
                // As much as the kernel had taken of it: all, nothing, or its beginning.
                var torn = _tear!.Next(3) switch
                {
                    0 => 0,
                    1 => source.Length,
                    _ => _tear.Next(source.Length / PhysicalBlock) * PhysicalBlock,
                };
                source = source[..torn];
            }

            Put(offset, source);
            if (stops)
            {
                Stop();
            }

            return !stops;
        }
    }

    private void Stop()
    {
        // Told in the order of the simulation, where there is one: never by way of another thread.
        _isStopped = true;
        if (SynchronizationContext.Current is { } simulation)
        {
            simulation.Post(_ => _stopped.TrySetResult(), null);
        }
        else
        {
            _ = Task.Run(_stopped.TrySetResult);
        }
    }

    private void Put(ulong offset, ReadOnlySpan<byte> source)
    {
        for (var i = 0; i < _unflushed.Count; i++)
        {
            // What is overwritten before a flush may still be what a power cut leaves.
            var earlier = _unflushed[i];
            if (earlier.Bytes is null && earlier.Offset < offset + (ulong)source.Length
                && offset < earlier.Offset + (ulong)earlier.Length)
            {
                var bytes = new byte[earlier.Length];
                _visible.Read(earlier.Offset, bytes);
                _unflushed[i] = earlier with { Bytes = bytes };
            }
        }

        _visible.Write(offset, source);
        _unflushed.Add(new VolatileWrite(offset, source.Length, null, Operations));
        LastWrite = (offset, source.Length);
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

            if (!_isStopped)
            {
                Recorder?.BeforeOperation(this);
            }

            if (_isStopped || ++Operations >= _stopAt)
            {
                Stop();
                return false;
            }

            Faults?.Flush();
            Digest?.Add(ulong.MaxValue);
            Drain();
            LastFlush = Operations;
            return true;
        }
    }

    /// <param name="Offset">Where it went.</param>
    /// <param name="Length">Bytes.</param>
    /// <param name="Bytes">What was written; null while that is what is visible.</param>
    /// <param name="Operation">Which operation of the device it was.</param>
    private readonly record struct VolatileWrite(ulong Offset, int Length, byte[]? Bytes, long Operation);
}
