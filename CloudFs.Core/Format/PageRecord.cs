using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>What the header says of one page: 32 bytes.</summary>
/// <param name="Sha1">SHA-1 of the page's bytes; part of the entry's id.</param>
/// <param name="Xxh64">XXH64 of the same bytes; what every read checks.</param>
/// <param name="Sectors">1 to 8.</param>
/// <param name="State">Whether the bytes are in the body.</param>
public readonly record struct PageRecord(Id160 Sha1, ulong Xxh64, byte Sectors, PageState State)
{
    /// <summary>Bytes of the page.</summary>
    public int Length => Sectors * EntryLayout.SectorSize;

    /// <summary>Hashes a page: the costly part of sealing, and free of any order, so it can run beside it.</summary>
    /// <param name="page">1 to 8 whole sectors.</param>
    /// <exception cref="ArgumentException">The length is not that of a page.</exception>
    public static PageRecord Of(ReadOnlySpan<byte> page)
    {
        if (page.IsEmpty || page.Length > EntryLayout.PageSize || page.Length % EntryLayout.SectorSize != 0)
        {
            throw new ArgumentException($"expected 1 to 8 sectors, found {page.Length} bytes", nameof(page));
        }

        return new(Sha1Hash.Of(page), XXH64.DigestOf(page), (byte)(page.Length / EntryLayout.SectorSize), PageState.Present);
    }

    /// <summary>Reads the fields from 32 bytes, whatever they hold.</summary>
    internal static PageRecord Read(ReadOnlySpan<byte> source) => new(
        new(source.Slice(EntryLayout.PageSha1Offset, EntryLayout.PageSha1Size)),
        BinaryPrimitives.ReadUInt64LittleEndian(source[EntryLayout.PageXxh64Offset..]),
        source[EntryLayout.PageSectorsOffset],
        (PageState)source[EntryLayout.PageStateOffset]);

    /// <summary>Writes all 32 bytes.</summary>
    internal void Write(Span<byte> destination)
    {
        Sha1.WriteTo(destination[EntryLayout.PageSha1Offset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[EntryLayout.PageXxh64Offset..], Xxh64);
        destination[EntryLayout.PageSectorsOffset] = Sectors;
        destination[EntryLayout.PageStateOffset] = (byte)State;
        destination.Slice(EntryLayout.PageReservedOffset, EntryLayout.PageReservedSize).Clear();
    }
}
