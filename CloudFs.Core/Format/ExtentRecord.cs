using System.Buffers.Binary;

namespace CloudFs.Core.Format;

/// <summary>A run of sectors that an update sets: 16 bytes in the header.</summary>
/// <param name="Lba">Its first sector.</param>
/// <param name="Sectors">At least 1; <c>Lba + Sectors</c> is at most <see cref="EntryLayout.MaxSector"/>.</param>
/// <param name="Kind">Data or zeroes.</param>
public readonly record struct ExtentRecord(ulong Lba, uint Sectors, ExtentKind Kind)
{
    /// <summary>The sector after its last.</summary>
    public ulong End => Lba + Sectors;

    /// <summary>Page records that belong to it: none for zeroes.</summary>
    public int Pages => Kind == ExtentKind.Data ? PageCutter.Count(Lba, Sectors) : 0;

    /// <summary>Reads the fields from 16 bytes, whatever they hold.</summary>
    internal static ExtentRecord Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(source[EntryLayout.ExtentLbaOffset..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[EntryLayout.ExtentSectorsOffset..]),
        (ExtentKind)source[EntryLayout.ExtentKindOffset]);

    /// <summary>Writes all 16 bytes.</summary>
    internal void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination[EntryLayout.ExtentLbaOffset..], Lba);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[EntryLayout.ExtentSectorsOffset..], Sectors);
        destination[EntryLayout.ExtentKindOffset] = (byte)Kind;
        destination.Slice(EntryLayout.ExtentReservedOffset, EntryLayout.ExtentReservedSize).Clear();
    }
}
