using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>What a device record says.</summary>
public enum DeviceRecordType : byte
{
    /// <summary>The secret of a disk's view, known to this host alone.</summary>
    ViewSecret = 1,
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
    public const int Check = 504;
    public const int Size = 512;
}

/// <summary>
/// Something that the device keeps in its log beside the entries and shows to nobody: here the secret of a view, so
/// that it is durable together with, and in the order before, the entry that introduces it (PROTOCOL.md, 25).
/// </summary>
/// <param name="Type">What it says.</param>
/// <param name="Disk">The disk it is about.</param>
/// <param name="View">H(secret).</param>
/// <param name="Secret">20 random bytes.</param>
public readonly record struct DeviceRecord(DeviceRecordType Type, Id160 Disk, Id160 View, Id160 Secret)
{
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
            new Id160(source.Slice(DeviceRecordLayout.Secret, Id160.Size)));
        return record.Type == DeviceRecordType.ViewSecret ? LayoutFault.None : LayoutFault.Inconsistent;
    }
}
