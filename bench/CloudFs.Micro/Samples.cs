using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;

namespace CloudFs.Micro;

/// <summary>What benchmarks work on. The same numbers every time, so that two runs measure the same work.</summary>
internal static class Samples
{
    /// <summary>A disk's id, or any other.</summary>
    public static Id160 Disk { get; } = Id160.Parse("b104aec69fbb6384b678bf9f5d0209453969b8e9");

    public static byte[] Bytes(int length)
    {
        var bytes = new byte[length];
        new Random(1).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Numbers below a limit, in random order, each once for each time that it takes to fill the array.</summary>
    public static int[] Shuffled(int count, int limit)
    {
        var numbers = new int[count];
        for (var i = 0; i < count; i++)
        {
            numbers[i] = i % limit;
        }

        new Random(2).Shuffle(numbers);
        return numbers;
    }

    /// <summary>A page of a disk, as the write with that LSN maps it.</summary>
    public static MappedExtent Page(int page, ulong lsn) => new(
        (ulong)page * EntryLayout.PageSectors, EntryLayout.PageSectors, MappedContent.Data, 0, lsn,
        new LogPosition(1 + (lsn / 3400), (uint)(lsn % 3400) * 4608));
}
