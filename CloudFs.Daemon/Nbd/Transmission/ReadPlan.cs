using CloudFs.Core.Disks;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>A part of a read: data to be read, or a hole that is only told.</summary>
internal readonly record struct ReadPart(ulong Offset, int Length, bool IsHole);

/// <summary>
/// Cuts a long read into parts, so that holes need not be sent and no part needs more than one piece of memory.
/// Between asking for holes and reading the data a write may come in; each sector is then still what it was at some
/// moment during the read, which is all that the protocol promises.
/// </summary>
internal static class ReadPlan
{
    /// <summary>
    /// Shorter reads are answered whole: a second look into the index would cost more than sending zeroes.
    /// </summary>
    public const uint LeastLength = 64 << 10;

    /// <summary>
    /// Longer ones are read and sent part by part: what was copied last is still in the processor's cache when it is sent, and the
    /// client takes it while the next part is copied.
    /// </summary>
    public const uint LongestPart = 256 << 10;

    /// <summary>Shorter holes are sent as zeroes with the data around them: each part costs a chunk.</summary>
    public const ulong LeastHole = 32 << 10;

    /// <summary>Runs asked of the index for one read; what lies beyond them is read as data.</summary>
    public const int MaxRanges = 256;

    /// <summary>Cuts the range by what is known of it; <paramref name="known"/> may cover only its beginning.</summary>
    public static void Cut(ulong offset, uint length, List<DiskRange> known, List<ReadPart> into)
    {
        var end = offset + length;
        var dataStart = offset;
        var at = offset;
        foreach (var range in known)
        {
            if (range.Offset != at || range.Length == 0)
            {
                break;
            }

            var rangeEnd = at + Math.Min(range.Length, end - at);
            if (range.Content == RangeContent.Hole && rangeEnd - at >= LeastHole)
            {
                AddData(dataStart, at, into);
                into.Add(new ReadPart(at, (int)(rangeEnd - at), true));
                dataStart = rangeEnd;
            }

            at = rangeEnd;
            if (at == end)
            {
                break;
            }
        }

        AddData(dataStart, end, into);
    }

    private static void AddData(ulong start, ulong end, List<ReadPart> into)
    {
        while (start < end)
        {
            var length = (int)Math.Min(end - start, LongestPart);
            into.Add(new ReadPart(start, length, false));
            start += (uint)length;
        }
    }
}
