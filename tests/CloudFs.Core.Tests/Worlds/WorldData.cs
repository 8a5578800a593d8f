using System.Runtime.InteropServices;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>
/// Bytes to write: slices of one block that is the same in every process. Two writes almost never get the same, and
/// nothing is made or kept for them. Some slices have whole pages of zeroes.
/// </summary>
internal static class WorldData
{
    private const int BlockBytes = 16 << 20;
    private const int HolesFrom = BlockBytes / 2;

    private static readonly byte[] Block = Make();

    public static ReadOnlyMemory<byte> Take(Random random, int length)
    {
        var from = random.Next(4) == 0 ? random.Next(HolesFrom, BlockBytes - length) : random.Next(HolesFrom);
        return Block.AsMemory(from, length);
    }

    private static byte[] Make()
    {
        var block = new byte[BlockBytes];
        var state = 0x1234_5678_9ABC_DEF1UL;
        foreach (ref var word in MemoryMarshal.Cast<byte, ulong>(block.AsSpan()))
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word = state * 0x2545F4914F6CDD1D;
        }

        var random = new Random(1);
        for (var at = HolesFrom; at < BlockBytes - 40_000; at += random.Next(30_000, 60_000))
        {
            block.AsSpan(at, random.Next(4_096, 24_000)).Clear();
        }

        return block;
    }
}
