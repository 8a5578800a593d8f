using CloudFs.Core.Devices;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// A device in memory that knows what is durable: writes are volatile until a flush, and <see cref="PowerCut"/> gives the
/// device as it would be found, with a random part of what was not flushed kept, lost or torn at block boundaries.
/// </summary>
internal sealed class MemoryDevice : IBlockDevice
{
    private const int ChunkBytes = 1 << 16;

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, byte[]> _chunks = [];
    private readonly List<(ulong Offset, byte[] Bytes)> _unflushed = [];
    private readonly Dictionary<ulong, byte[]> _durable;

    public MemoryDevice(ulong length, int physicalBlock = 4096)
        : this(length, physicalBlock, [])
    {
    }

    private MemoryDevice(ulong length, int physicalBlock, Dictionary<ulong, byte[]> contents)
    {
        Length = length;
        PhysicalBlock = physicalBlock;
        _durable = contents;
        foreach (var (index, chunk) in contents)
        {
            _chunks[index] = [.. chunk];
        }
    }

    public ulong Length { get; }

    public int PhysicalBlock { get; }

    public bool FailFlush { get; set; }

    public bool FailWrites { get; set; }

    public bool IsIsolated { get; private set; }

    public ValueTask ReadAsync(ulong offset, Memory<byte> destination)
    {
        lock (_lock)
        {
            Copy(_chunks, offset, destination.Span);
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
    {
        lock (_lock)
        {
            if (FailWrites || IsIsolated)
            {
                throw new DeviceException("write failed on purpose");
            }

            Store(_chunks, offset, source.Span);
            _unflushed.Add((offset, source.ToArray()));
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask FlushAsync()
    {
        lock (_lock)
        {
            if (FailFlush || IsIsolated)
            {
                throw new DeviceException("flush failed on purpose");
            }

            foreach (var (offset, bytes) in _unflushed)
            {
                Store(_durable, offset, bytes);
            }

            _unflushed.Clear();
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => ValueTask.FromResult(true);

    /// <summary>The process dies: the kernel keeps what it was given. The old instance can write no more.</summary>
    public MemoryDevice Kill()
    {
        lock (_lock)
        {
            IsIsolated = true;
            return new MemoryDevice(Length, PhysicalBlock, _chunks.ToDictionary(pair => pair.Key, pair => (byte[])[.. pair.Value]));
        }
    }

    /// <summary>The power goes: each block of what was not flushed is kept or lost, by chance.</summary>
    public MemoryDevice PowerCut(Random random)
    {
        lock (_lock)
        {
            IsIsolated = true;
            var found = _durable.ToDictionary(pair => pair.Key, pair => (byte[])[.. pair.Value]);
            var keep = random.Next(0, 101);
            foreach (var (offset, bytes) in _unflushed)
            {
                for (var at = 0; at < bytes.Length; at += PhysicalBlock)
                {
                    if (random.Next(100) < keep)
                    {
                        Store(found, offset + (ulong)at, bytes.AsSpan(at, Math.Min(PhysicalBlock, bytes.Length - at)));
                    }
                }
            }

            return new MemoryDevice(Length, PhysicalBlock, found);
        }
    }

    /// <summary>Flips one bit, in what is visible and in what is durable.</summary>
    public void FlipBit(ulong byteOffset, int bit)
    {
        lock (_lock)
        {
            foreach (var contents in (Dictionary<ulong, byte[]>[])[_chunks, _durable])
            {
                if (contents.TryGetValue(byteOffset / ChunkBytes, out var chunk))
                {
                    chunk[byteOffset % ChunkBytes] ^= (byte)(1 << bit);
                }
            }
        }
    }

    /// <summary>The offsets of chunks that were ever written, for choosing where to flip.</summary>
    public IReadOnlyList<ulong> WrittenChunks()
    {
        lock (_lock)
        {
            return [.. _chunks.Keys.Order().Select(index => index * ChunkBytes)];
        }
    }

    public void Dispose()
    {
    }

    private static void Copy(Dictionary<ulong, byte[]> chunks, ulong offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var within = (int)(offset % ChunkBytes);
            var part = Math.Min(destination.Length, ChunkBytes - within);
            if (chunks.TryGetValue(offset / ChunkBytes, out var chunk))
            {
                chunk.AsSpan(within, part).CopyTo(destination);
            }
            else
            {
                destination[..part].Clear();
            }

            destination = destination[part..];
            offset += (ulong)part;
        }
    }

    private static void Store(Dictionary<ulong, byte[]> chunks, ulong offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var within = (int)(offset % ChunkBytes);
            var part = Math.Min(source.Length, ChunkBytes - within);
            if (!chunks.TryGetValue(offset / ChunkBytes, out var chunk))
            {
                chunks.Add(offset / ChunkBytes, chunk = new byte[ChunkBytes]);
            }

            source[..part].CopyTo(chunk.AsSpan(within));
            source = source[part..];
            offset += (ulong)part;
        }
    }
}
