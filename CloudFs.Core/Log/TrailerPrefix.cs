using System.Buffers.Binary;
using CloudFs.Core.Format;

namespace CloudFs.Core.Log;

/// <summary>
/// What a commit's trailer repeats of one item: a u32 place in the commit, a u32 length, a u64 check (XXH64 of place, length and
/// bytes), then the bytes. Each proves itself, so that one bad spot in a long trailer costs one item's copy.
/// </summary>
internal static class TrailerPrefix
{
    private const int CheckOffset = 8;

    /// <summary>Writes a prefix behind its header.</summary>
    public static void Write(Span<byte> destination, int place, ReadOnlySpan<byte> prefix)
    {
        BinaryPrimitives.WriteInt32LittleEndian(destination, place);
        BinaryPrimitives.WriteInt32LittleEndian(destination[4..], prefix.Length);
        prefix.CopyTo(destination[AppendSize.PrefixHeaderBytes..]);
        BinaryPrimitives.WriteUInt64LittleEndian(
            destination[CheckOffset..], CheckOf(destination[..(AppendSize.PrefixHeaderBytes + prefix.Length)]));
    }

    /// <summary>Reads all that can be read of the prefixes of a trailer, by the places of their items.</summary>
    public static SortedDictionary<int, ReadOnlyMemory<byte>> ReadAll(ReadOnlyMemory<byte> prefixes, int count)
    {
        var found = new SortedDictionary<int, ReadOnlyMemory<byte>>();
        for (; count > 0 && prefixes.Length >= AppendSize.PrefixHeaderBytes; count--)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(prefixes.Span[4..]);
            if (length < LogItem.MeasureBytes || length > prefixes.Length - AppendSize.PrefixHeaderBytes)
            {
                break;
            }

            var whole = prefixes[..(AppendSize.PrefixHeaderBytes + length)];
            if (LogItem.IsSoundPrefix(whole.Span[AppendSize.PrefixHeaderBytes..])
                && CheckOf(whole.Span) == BinaryPrimitives.ReadUInt64LittleEndian(whole.Span[CheckOffset..]))
            {
                found[BinaryPrimitives.ReadInt32LittleEndian(whole.Span)] = whole[AppendSize.PrefixHeaderBytes..];
            }

            // Behind a damaged one the next is looked for where its length says: more often than not that is right.
            prefixes = prefixes[whole.Length..];
        }

        return found;
    }

    private static ulong CheckOf(ReadOnlySpan<byte> whole)
    {
        var hash = default(XXH64);
        hash.Update(whole[..CheckOffset]);
        hash.Update(whole[AppendSize.PrefixHeaderBytes..]);
        return hash.Digest();
    }
}
