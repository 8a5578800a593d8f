namespace CloudFs.Core.Disks;

/// <summary>
/// Short writes that came together, and share an entry: its header, its place in the chain and its append are paid once. They take
/// effect in the order in which they were added, all or none. Hashed as they are added. Reused; used by one thread at a time.
/// </summary>
public sealed class WriteBatch
{
    /// <summary>The longest that may be added: longer ones are entries of their own anyway.</summary>
    public const int LongestWrite = 256 << 10;

    private readonly List<(ulong Offset, int Start, int Length)> _writes = [];

    /// <summary>What all the writes are cut from.</summary>
    public ReadOnlyMemory<byte> Data { get; private set; }

    /// <summary>The writes: where each goes on the disk, and where in <see cref="Data"/> its bytes lie.</summary>
    public IReadOnlyList<(ulong Offset, int Start, int Length)> Writes => _writes;

    /// <summary>True when it has no write.</summary>
    public bool IsEmpty => _writes.Count == 0;

    /// <summary>Bytes of all the writes.</summary>
    public int Bytes { get; private set; }

    /// <summary>The byte of the disk at which the last of them ends.</summary>
    internal ulong End { get; private set; }

    internal WriteDraft Draft { get; } = WriteDraft.Rent();

    /// <summary>Adds a write, if it can share an entry with those that are there.</summary>
    /// <param name="data">What all the writes are cut from; the same for each.</param>
    /// <param name="offset">Where it goes on the disk.</param>
    /// <param name="start">Where in <paramref name="data"/> its bytes begin.</param>
    /// <param name="length">How many, at most <see cref="LongestWrite"/>.</param>
    /// <returns>False, and nothing was added, when it has to go by itself: not whole sectors, too long, or it overlaps another.</returns>
    public bool TryAdd(ReadOnlyMemory<byte> data, ulong offset, int start, int length)
    {
        const int sector = Format.EntryLayout.SectorSize;
        if (offset % sector != 0 || length % sector != 0 || length is 0 or > LongestWrite
            || !Draft.TryAdd(offset / sector, data.Span, start, length))
        {
            return false;
        }

        Data = data;
        _writes.Add((offset, start, length));
        Bytes += length;
        End = Math.Max(End, offset + (ulong)length);
        return true;
    }

    /// <summary>Forgets the writes.</summary>
    public void Clear()
    {
        Draft.Clear();
        _writes.Clear();
        Data = default;
        Bytes = 0;
        End = 0;
    }
}
