namespace CloudFs.Core.Tests.Engine;

/// <summary>Bytes of a device, in chunks that copies share until one of them changes.</summary>
internal sealed class SparseBytes
{
    public const int ChunkBytes = 1 << 16;

    private readonly Dictionary<ulong, byte[]> _chunks;
    private readonly HashSet<ulong> _owned = [];

    public SparseBytes()
        : this([])
    {
    }

    private SparseBytes(Dictionary<ulong, byte[]> chunks) => _chunks = chunks;

    /// <summary>The offsets of chunks that were ever written.</summary>
    public IReadOnlyList<ulong> Written => [.. _chunks.Keys.Order().Select(index => index * ChunkBytes)];

    public SparseBytes Fork()
    {
        _owned.Clear();
        return new SparseBytes(new Dictionary<ulong, byte[]>(_chunks));
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
            source[..part].CopyTo(Own(offset / ChunkBytes).AsSpan(within));
            source = source[part..];
            offset += (ulong)part;
        }
    }

    /// <summary>Flips a bit; false where nothing was ever written.</summary>
    public bool Flip(ulong offset, int bit)
    {
        if (!_chunks.ContainsKey(offset / ChunkBytes))
        {
            return false;
        }

        Own(offset / ChunkBytes)[offset % ChunkBytes] ^= (byte)(1 << bit);
        return true;
    }

    private byte[] Own(ulong index)
    {
        if (_owned.Add(index))
        {
            _chunks[index] = _chunks.TryGetValue(index, out var shared) ? [.. shared] : new byte[ChunkBytes];
        }

        return _chunks[index];
    }
}
