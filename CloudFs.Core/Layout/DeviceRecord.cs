using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>What a device record says.</summary>
public enum DeviceRecordType : byte
{
    /// <summary>The secret of a disk's view, known to this host alone.</summary>
    ViewSecret = 1,

    /// <summary>This host's promise to take nothing of a lower ballot.</summary>
    Promise = 2,

    /// <summary>The newest view of a disk of which this host holds no entries: it is its witness, or held it once.</summary>
    RememberedView = 3,

    /// <summary>This host's copy of a disk was dropped: what lies before this in the log is nobody's.</summary>
    Dropped = 4,

    /// <summary>From here on a disk's entries come from another host's /state, with gaps that are no damage.</summary>
    CopyBegin = 5,

    /// <summary>That copy is whole.</summary>
    CopyEnd = 6,

    /// <summary>Sectors that the sender of a copy could not have either.</summary>
    CopyLost = 7,
}

/// <summary>Offsets of a device record's fields.</summary>
public static class DeviceRecordLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int Type = 6;
    public const int Disk = 8;
    public const int View = 28;
    public const int Secret = 48;
    public const int Epoch = 68;
    public const int Lsn = 76;
    public const int Previous = 84;
    public const int Lba = 104;
    public const int Sectors = 112;
    public const int Check = 504;
    public const int Size = 512;
}

/// <summary>
/// Something that the device keeps in its log beside the entries and shows to nobody: the secret of a view, so
/// that it is durable together with, and in the order before, the entry that introduces it (PROTOCOL.md, 25); promises, and what is
/// known of disks that
/// are not here (PROTOCOL.md, 1, 9 and 22).
/// </summary>
/// <param name="Type">What it says.</param>
/// <param name="Disk">The disk it is about.</param>
/// <param name="View">Of a secret: H(secret). Of a promise or view: the host of its ballot.</param>
/// <param name="Secret">20 random bytes. Of a view: its id.</param>
public readonly record struct DeviceRecord(DeviceRecordType Type, Id160 Disk, Id160 View, Id160 Secret)
{
    /// <summary>
    /// Of a promise or view: the epoch of its ballot. Of a copy: its number. Of a drop: the number of the last copy that it ends.
    /// </summary>
    public ulong Epoch { get; init; }

    /// <summary>Of a view: the LSN of its entry. Of a drop: the use of relocation segments from which on copies count again.
    /// Of a copy's beginning: up to where the disk was whole; of its end: where the history begins; of lost sectors: of what was
    /// lost.</summary>
    public ulong Lsn { get; init; }

    /// <summary>Of a view: the version before it.</summary>
    public Id160 Previous { get; init; }

    /// <summary>Of lost sectors: the first.</summary>
    public ulong Lba { get; init; }

    /// <summary>Of lost sectors: how many.</summary>
    public ulong Sectors { get; init; }

    private const byte CurrentVersion = 1;

    private static ReadOnlySpan<byte> MagicBytes => "CFSR"u8;

    /// <summary>True when these bytes begin as a device record does.</summary>
    public static bool IsAt(ReadOnlySpan<byte> source) => source[..4].SequenceEqual(MagicBytes);

    /// <summary>Writes all 512 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        destination = destination[..DeviceRecordLayout.Size];
        destination.Clear();
        MagicBytes.CopyTo(destination);
        destination[DeviceRecordLayout.Version] = CurrentVersion;
        destination[DeviceRecordLayout.MinReader] = CurrentVersion;
        destination[DeviceRecordLayout.Type] = (byte)Type;
        Disk.WriteTo(destination[DeviceRecordLayout.Disk..]);
        View.WriteTo(destination[DeviceRecordLayout.View..]);
        Secret.WriteTo(destination[DeviceRecordLayout.Secret..]);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceRecordLayout.Epoch..], Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceRecordLayout.Lsn..], Lsn);
        Previous.WriteTo(destination[DeviceRecordLayout.Previous..]);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceRecordLayout.Lba..], Lba);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceRecordLayout.Sectors..], Sectors);
        LayoutCheck.Seal(destination, DeviceRecordLayout.Check);
    }

    /// <summary>Reads 512 bytes; never throws.</summary>
    public static LayoutFault TryRead(ReadOnlySpan<byte> source, out DeviceRecord record)
    {
        record = default;
        if (source.Length < DeviceRecordLayout.Size || !IsAt(source))
        {
            return LayoutFault.Absent;
        }

        source = source[..DeviceRecordLayout.Size];
        if (!LayoutCheck.Holds(source, DeviceRecordLayout.Check))
        {
            return LayoutFault.Damaged;
        }

        if (source[DeviceRecordLayout.MinReader] > CurrentVersion)
        {
            return LayoutFault.NewerVersion;
        }

        record = new DeviceRecord(
            (DeviceRecordType)source[DeviceRecordLayout.Type],
            new Id160(source.Slice(DeviceRecordLayout.Disk, Id160.Size)),
            new Id160(source.Slice(DeviceRecordLayout.View, Id160.Size)),
            new Id160(source.Slice(DeviceRecordLayout.Secret, Id160.Size)))
        {
            Epoch = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceRecordLayout.Epoch..]),
            Lsn = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceRecordLayout.Lsn..]),
            Previous = new Id160(source.Slice(DeviceRecordLayout.Previous, Id160.Size)),
            Lba = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceRecordLayout.Lba..]),
            Sectors = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceRecordLayout.Sectors..]),
        };
        return record.Type is >= DeviceRecordType.ViewSecret and <= DeviceRecordType.CopyLost ? LayoutFault.None : LayoutFault.Inconsistent;
    }
}
