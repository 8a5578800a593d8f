using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>What a trailer repeats of one item.</summary>
/// <param name="Offset">Where it begins, bytes from the first prefix.</param>
/// <param name="Bytes">A prefix, a whole header without its padding, or a device record.</param>
internal readonly record struct TrailerCopy(int Offset, ReadOnlyMemory<byte> Bytes);

/// <summary>
/// What a commit's trailer repeats of one item: a u32 place in the commit, a u32 length, a u64 check, then the bytes. Each
/// proves itself, so that one bad spot in a long trailer costs one item's copy. The check is the XXH64 of device id, commit's
/// position, place, length and bytes: where a block of the trailer and one of the items were not written, both may hold
/// what an earlier use of the segment put there, and fit each other.
/// <para>
/// In long commits and those of copies it is the whole header without its padding, and so its second copy: the footer only says
/// where it lies.
/// </para>
/// </summary>
internal static class TrailerPrefix
{
    private const int CheckOffset = 8;

    /// <summary>Writes a prefix behind its header.</summary>
    public static void Write(
        Span<byte> destination, Id160 device, LogPosition commit, int place, ReadOnlySpan<byte> prefix)
    {
        BinaryPrimitives.WriteInt32LittleEndian(destination, place);
        BinaryPrimitives.WriteInt32LittleEndian(destination[4..], prefix.Length);
        prefix.CopyTo(destination[AppendSize.PrefixHeaderBytes..]);
        BinaryPrimitives.WriteUInt64LittleEndian(
            destination[CheckOffset..], CheckOf(device, commit, destination[..(AppendSize.PrefixHeaderBytes + prefix.Length)]));
    }

    /// <summary>Reads the prefix that begins here, if it is that of the item at a place in the segment, and sound.</summary>
    public static bool TryRead(
        ReadOnlySpan<byte> source, Id160 device, ulong use, uint place, out ReadOnlySpan<byte> prefix)
    {
        prefix = default;
        if (source.Length < AppendSize.PrefixHeaderBytes)
        {
            return false;
        }

        var placeInCommit = BinaryPrimitives.ReadUInt32LittleEndian(source);
        var length = BinaryPrimitives.ReadInt32LittleEndian(source[4..]);
        if (placeInCommit > place || length < LogItem.MeasureBytes || length > source.Length - AppendSize.PrefixHeaderBytes)
        {
            return false;
        }

        var whole = source[..(AppendSize.PrefixHeaderBytes + length)];
        prefix = whole[AppendSize.PrefixHeaderBytes..];
        return CheckOf(device, new LogPosition(use, place - placeInCommit), whole)
            == BinaryPrimitives.ReadUInt64LittleEndian(whole[CheckOffset..]);
    }

    /// <summary>Reads all that can be read of the prefixes of a trailer, by the places of their items.</summary>
    public static SortedDictionary<int, TrailerCopy> ReadAll(
        ReadOnlyMemory<byte> prefixes, Id160 device, LogPosition commit, int count)
    {
        var found = new SortedDictionary<int, TrailerCopy>();
        var offset = 0;
        for (; count > 0 && prefixes.Length >= AppendSize.PrefixHeaderBytes; count--)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(prefixes.Span[4..]);
            if (length < LogItem.MeasureBytes || length > prefixes.Length - AppendSize.PrefixHeaderBytes)
            {
                break;
            }

            var whole = prefixes[..(AppendSize.PrefixHeaderBytes + length)];
            if (LogItem.IsSoundPrefix(whole.Span[AppendSize.PrefixHeaderBytes..])
                && CheckOf(device, commit, whole.Span) == BinaryPrimitives.ReadUInt64LittleEndian(whole.Span[CheckOffset..]))
            {
                found[BinaryPrimitives.ReadInt32LittleEndian(whole.Span)] =
                    new TrailerCopy(offset + AppendSize.PrefixHeaderBytes, whole[AppendSize.PrefixHeaderBytes..]);
            }

            // Behind a damaged one the next is looked for where its length says: more often than not that is right.
            prefixes = prefixes[whole.Length..];
            offset += whole.Length;
        }

        return found;
    }

    private static ulong CheckOf(Id160 device, LogPosition commit, ReadOnlySpan<byte> whole)
    {
        Span<byte> owner = stackalloc byte[Id160.Size + sizeof(ulong)];
        device.WriteTo(owner);
        BinaryPrimitives.WriteUInt64LittleEndian(owner[Id160.Size..], commit.Value);
        var hash = default(XXH64);
        hash.Update(owner);
        hash.Update(whole[..CheckOffset]);
        hash.Update(whole[AppendSize.PrefixHeaderBytes..]);
        return hash.Digest();
    }
}
