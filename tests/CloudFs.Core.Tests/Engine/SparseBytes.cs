using System.Collections.Concurrent;

namespace CloudFs.Core.Tests.Engine;

/// <summary>Bytes of a device, in chunks that copies share until one of them changes.</summary>
internal sealed class SparseBytes
{
    public const int ChunkBytes = 1 << 16;

    private readonly Dictionary<ulong, byte[]> _chunks;
    private readonly HashSet<ulong> _owned = [];
    private readonly ChunkArena _arena;

    public SparseBytes(ChunkArena arena)
        : this(arena, [])
    {
    }

    private SparseBytes(ChunkArena arena, Dictionary<ulong, byte[]> chunks)
    {
        _arena = arena;
        _chunks = chunks;
    }

    /// <summary>The offsets of chunks that were ever written.</summary>
    public IReadOnlyList<ulong> Written => [.. _chunks.Keys.Order().Select(index => index * ChunkBytes)];

    /// <summary>The first chunks of a range that were never written.</summary>
    public (ulong Offset, ulong Length) FindUnwritten(ulong offset, ulong end)
    {
        while (offset < end && _chunks.ContainsKey(offset / ChunkBytes))
        {
            offset = ((offset / ChunkBytes) + 1) * ChunkBytes;
        }

        var to = offset;
        while (to < end && !_chunks.ContainsKey(to / ChunkBytes))
        {
            to = ((to / ChunkBytes) + 1) * ChunkBytes;
        }

        return offset < end ? (offset, Math.Min(to, end) - offset) : default;
    }

    /// <summary>A copy.</summary>
    /// <param name="arena">Where it has its own chunks from; null for the same place.</param>
    public SparseBytes Fork(ChunkArena? arena = null)
    {
        _owned.Clear();
        return new SparseBytes(arena ?? _arena, new Dictionary<ulong, byte[]>(_chunks));
    }

    public void Read(ulong offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var within = (int)(offset % ChunkBytes);
            var part = Math.Min(destination.Length, ChunkBytes - within);
            if (_chunks.TryGetValue(offset / ChunkBytes, out var chunk))
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

    public void Write(ulong offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var within = (int)(offset % ChunkBytes);
            var part = Math.Min(source.Length, ChunkBytes - within);
            source[..part].CopyTo(Own(offset / ChunkBytes, part == ChunkBytes).AsSpan(within));
            source = source[part..];
            offset += (ulong)part;
        }
    }

    /// <summary>Makes a range zeroes; chunks that lie in it whole are as though they had never been written.</summary>
    public void Clear(ulong offset, int length)
    {
        while (length > 0)
        {
            var (index, within) = (offset / ChunkBytes, (int)(offset % ChunkBytes));
            var part = Math.Min(length, ChunkBytes - within);
            if (part == ChunkBytes)
            {
                _chunks.Remove(index);
                _owned.Remove(index);
            }
            else if (_chunks.ContainsKey(index))
            {
                Own(index, false).AsSpan(within, part).Clear();
            }

            offset += (ulong)part;
            length -= part;
        }
    }

    /// <summary>Takes a range over from another's: whole chunks are shared.</summary>
    public void Take(SparseBytes from, ulong offset, int length)
    {
        while (length > 0)
        {
            var (index, within) = (offset / ChunkBytes, (int)(offset % ChunkBytes));
            var part = Math.Min(length, ChunkBytes - within);
            if (from._chunks.TryGetValue(index, out var chunk))
            {
                if (part == ChunkBytes)
                {
                    from._owned.Remove(index);
                    _owned.Remove(index);
                    _chunks[index] = chunk;
                }
                else
                {
                    chunk.AsSpan(within, part).CopyTo(Own(index, false).AsSpan(within));
                }
            }

            offset += (ulong)part;
            length -= part;
        }
    }

    /// <summary>Flips a bit; false where nothing was ever written.</summary>
    public bool Flip(ulong offset, int bit)
    {
        if (!_chunks.ContainsKey(offset / ChunkBytes))
        {
            return false;
        }

        Own(offset / ChunkBytes, false)[offset % ChunkBytes] ^= (byte)(1 << bit);
        return true;
    }

    private byte[] Own(ulong index, bool isReplaced)
    {
        if (_owned.Add(index))
        {
            var own = _arena.Rent();
            if (_chunks.TryGetValue(index, out var shared) && !isReplaced)
            {
                shared.CopyTo(own, 0);
            }
            else if (!isReplaced)
            {
                Array.Clear(own);
            }

            _chunks[index] = own;
        }

        return _chunks[index];
    }
}

/// <summary>
/// Chunks of all the copies of one simulated device. They are lent to the next one when nobody can look at them any more:
/// ten thousand devices would else be ten thousand times collected.
/// </summary>
internal sealed class ChunkArena : IDisposable
{
    private const int KeptMax = 4096;

    private static readonly ConcurrentBag<byte[]> Spare = [];

    private readonly List<byte[]> _lent = [];

    public byte[] Rent()
    {
        if (!Spare.TryTake(out var chunk))
        {
            chunk = new byte[SparseBytes.ChunkBytes];
        }

        lock (_lent)
        {
            _lent.Add(chunk);
        }

        return chunk;
    }

    public void Dispose()
    {
        lock (_lent)
        {
            foreach (var chunk in _lent)
            {
                if (Spare.Count < KeptMax)
                {
                    Spare.Add(chunk);
                }
            }

            _lent.Clear();
        }
    }
}
