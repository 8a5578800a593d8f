using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// What a disk must hold, kept beside it. Each sector of a write says of itself where it belongs and which write it came
/// with, and is filled to its end from the two: one that is old, torn, misplaced or made up can be told from the right one.
/// </summary>
internal sealed class SectorModel
{
    public const int Sector = 512;

    private const ulong Magic = 0x5345_4c46_5445_4c4c;

    // The number of the write that each sector should be of; 0: zeroes.
    private readonly long[] _sequences;
    private long _last;

    public SectorModel(long bytes) => _sequences = new long[bytes / Sector];

    public int Sectors => _sequences.Length;

    /// <summary>A number that no write had before.</summary>
    public long Next() => Interlocked.Increment(ref _last);

    public long this[int sector]
    {
        get => Volatile.Read(ref _sequences[sector]);
        set => Volatile.Write(ref _sequences[sector], value);
    }

    /// <summary>The bytes of a write.</summary>
    public static byte[] Contents(int first, int count, long sequence)
    {
        var bytes = new byte[count * Sector];
        for (var at = 0; at < count; at++)
        {
            Fill(bytes.AsSpan(at * Sector, Sector), first + at, sequence);
        }

        return bytes;
    }

    /// <summary>Records that sectors should be of a write, or zeroes.</summary>
    public void Set(int first, int count, long sequence)
    {
        for (var sector = first; sector < first + count; sector++)
        {
            this[sector] = sequence;
        }
    }

    /// <summary>Whether these bytes are a sector as a write left it; zeroes for 0.</summary>
    public static bool Holds(ReadOnlySpan<byte> bytes, int sector, long sequence)
    {
        Span<byte> expected = stackalloc byte[Sector];
        Fill(expected, sector, sequence);
        return bytes.SequenceEqual(expected);
    }

    /// <summary>The first sector of a range that is not as it should be, in words; null when all are.</summary>
    public string? Complaint(ReadOnlySpan<byte> bytes, int first)
    {
        for (var at = 0; at < bytes.Length / Sector; at++)
        {
            var found = bytes.Slice(at * Sector, Sector);
            if (!Holds(found, first + at, this[first + at]))
            {
                return $"sector {first + at} should be of write {this[first + at]}, and {Describe(found, first + at)}";
            }
        }

        return null;
    }

    public static string Describe(ReadOnlySpan<byte> found, int sector)
    {
        if (!found.ContainsAnyExcept((byte)0))
        {
            return "is zeroes";
        }

        var (magic, at, sequence) = (Word(found, 0), Word(found, 1), Word(found, 2));
        return magic != Magic ? $"is nothing that was written: {Convert.ToHexString(found[..32])}"
            : (long)at != sector ? $"is sector {at} of write {sequence}"
            : Holds(found, sector, (long)sequence) ? $"is of write {sequence}"
            : $"is a torn or spoilt sector of write {sequence}";
    }

    private static ulong Word(ReadOnlySpan<byte> bytes, int index) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[(index * 8)..]);

    private static void Fill(Span<byte> bytes, int sector, long sequence)
    {
        if (sequence == 0)
        {
            bytes.Clear();
            return;
        }

        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        (words[0], words[1], words[2]) = (Magic, (ulong)sector, (ulong)sequence);
        var state = ((ulong)sequence * 0x9E3779B97F4A7C15) ^ ((ulong)sector << 17);
        for (var at = 3; at < words.Length; at++)
        {
            // splitmix64: good enough that no two sectors look alike, and quick.
            state += 0x9E3779B97F4A7C15;
            var mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
            mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
            words[at] = mixed ^ (mixed >> 31);
        }
    }
}
