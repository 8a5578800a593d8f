using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Tests.Format;

/// <summary>Entries changed on purpose and then made to fit again, so that only the rule in question is
/// broken.</summary>
internal static class Mutants
{
    /// <summary>A copy of the header after a change, with its check computed anew, and its id where asked
    /// for.</summary>
    public static byte[] Of(StoredEntry entry, Action<byte[]> change, bool mendId = false)
    {
        var header = (byte[])entry.Header.Clone();
        change(header);
        Mend(header, mendId);
        return header;
    }

    /// <summary>Computes check, and id where asked for, over whatever the header now holds.</summary>
    public static void Mend(byte[] header, bool mendId)
    {
        var (extents, pages) = EntryHeaderCodec.ReadCounts(header);
        if (mendId && EntryLayout.UnpaddedLength(extents, pages) <= header.Length)
        {
            var @lock = new Id160(header.AsSpan(EntryLayout.LockOffset, EntryLayout.LockSize));
            EntryHashes.Id(EntryHashes.Entropy(header), @lock).WriteTo(header.AsSpan(EntryLayout.IdOffset));
        }

        BinaryPrimitives.WriteUInt64LittleEndian(
            header.AsSpan(EntryLayout.CheckOffset), EntryHeaderCodec.ComputeCheck(header));
    }
}
