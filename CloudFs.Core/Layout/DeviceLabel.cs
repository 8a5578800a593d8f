using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>Offsets of the label's fields; docs/format/device.md holds the same table, and a test compares them.</summary>
public static class DeviceLabelLayout
{
    public const int Magic = 0;
    public const int Version = 8;
    public const int MinReader = 10;
    public const int Copy = 12;
    public const int PhysicalBlock = 16;
    public const int DeviceId = 20;
    public const int HostId = 40;
    public const int SegmentBytes = 60;
    public const int DeviceBytes = 64;
    public const int SegmentsOffset = 72;
    public const int CreatedMicros = 80;
    public const int Generation = 88;
    public const int Check = 4088;
    public const int Size = DeviceGeometry.LabelBytes;
}

/// <summary>
/// What a device says of itself. Two copies, 1 MiB apart; the valid one of the higher generation holds.
/// </summary>
public sealed record DeviceLabel
{
    /// <summary>The layout version that this code writes, and the oldest reader that may read it.</summary>
    public const ushort CurrentVersion = 1;

    private static ReadOnlySpan<byte> MagicBytes => "CFSLABEL"u8;

    public required Id160 DeviceId { get; init; }

    public required Id160 HostId { get; init; }

    /// <summary>Bytes of the device that are in use, as of the format or the last growth.</summary>
    public required ulong DeviceBytes { get; init; }

    /// <summary>Commits are padded to this many bytes: 512 to 4096, a power of two.</summary>
    public required int PhysicalBlock { get; init; }

    public required ulong CreatedMicros { get; init; }

    /// <summary>Raised by each rewrite.</summary>
    public required ulong Generation { get; init; }

    /// <summary>Segments on the device.</summary>
    public int SegmentCount => DeviceGeometry.SegmentCount(DeviceBytes);

    /// <summary>Writes a copy (0 or 1), filling all of <paramref name="destination"/> (4096 bytes).</summary>
    public void Write(Span<byte> destination, int copy)
    {
        destination = destination[..DeviceLabelLayout.Size];
        destination.Clear();
        MagicBytes.CopyTo(destination);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[DeviceLabelLayout.Version..], CurrentVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[DeviceLabelLayout.MinReader..], CurrentVersion);
        destination[DeviceLabelLayout.Copy] = (byte)copy;
        BinaryPrimitives.WriteInt32LittleEndian(destination[DeviceLabelLayout.PhysicalBlock..], PhysicalBlock);
        DeviceId.WriteTo(destination[DeviceLabelLayout.DeviceId..]);
        HostId.WriteTo(destination[DeviceLabelLayout.HostId..]);
        BinaryPrimitives.WriteInt32LittleEndian(
            destination[DeviceLabelLayout.SegmentBytes..], DeviceGeometry.SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceLabelLayout.DeviceBytes..], DeviceBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(
            destination[DeviceLabelLayout.SegmentsOffset..], DeviceGeometry.SegmentsOffset);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceLabelLayout.CreatedMicros..], CreatedMicros);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[DeviceLabelLayout.Generation..], Generation);
        LayoutCheck.Seal(destination, DeviceLabelLayout.Check);
    }

    /// <summary>Reads a copy; false tells why not. Never throws, whatever the bytes are.</summary>
    public static bool TryRead(ReadOnlySpan<byte> source, int copy, out DeviceLabel? label, out LayoutFault fault)
    {
        label = null;
        if (source.Length < DeviceLabelLayout.Size)
        {
            fault = LayoutFault.Absent;
            return false;
        }

        source = source[..DeviceLabelLayout.Size];
        if (!source[..8].SequenceEqual(MagicBytes))
        {
            fault = LayoutFault.Absent;
            return false;
        }

        if (!LayoutCheck.Holds(source, DeviceLabelLayout.Check))
        {
            fault = LayoutFault.Damaged;
            return false;
        }

        if (BinaryPrimitives.ReadUInt16LittleEndian(source[DeviceLabelLayout.MinReader..]) > CurrentVersion)
        {
            fault = LayoutFault.NewerVersion;
            return false;
        }

        if (source[DeviceLabelLayout.Copy] != copy)
        {
            fault = LayoutFault.OtherPlace;
            return false;
        }

        var read = new DeviceLabel
        {
            DeviceId = new Id160(source.Slice(DeviceLabelLayout.DeviceId, Id160.Size)),
            HostId = new Id160(source.Slice(DeviceLabelLayout.HostId, Id160.Size)),
            DeviceBytes = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceLabelLayout.DeviceBytes..]),
            PhysicalBlock = BinaryPrimitives.ReadInt32LittleEndian(source[DeviceLabelLayout.PhysicalBlock..]),
            CreatedMicros = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceLabelLayout.CreatedMicros..]),
            Generation = BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceLabelLayout.Generation..]),
        };
        var sane = read.PhysicalBlock is 512 or 1024 or 2048 or 4096
            && BinaryPrimitives.ReadInt32LittleEndian(source[DeviceLabelLayout.SegmentBytes..])
                == DeviceGeometry.SegmentBytes
            && BinaryPrimitives.ReadUInt64LittleEndian(source[DeviceLabelLayout.SegmentsOffset..])
                == DeviceGeometry.SegmentsOffset
            && read.DeviceBytes is >= DeviceGeometry.MinDeviceBytes and <= 1UL << 54;
        fault = sane ? LayoutFault.None : LayoutFault.Inconsistent;
        label = sane ? read : null;
        return sane;
    }
}

/// <summary>The one way in which a structure of the layout is sealed: XXH64 of all of it, the check taken as zeroes.</summary>
internal static class LayoutCheck
{
    /// <summary>Puts the check in at <paramref name="offset"/>; all other bytes must be final.</summary>
    public static void Seal(Span<byte> structure, int offset)
    {
        structure.Slice(offset, sizeof(ulong)).Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(structure[offset..], XXH64.DigestOf(structure));
    }

    /// <summary>True when the check at <paramref name="offset"/> is that of the other bytes.</summary>
    public static bool Holds(ReadOnlySpan<byte> structure, int offset)
    {
        var hash = new XXH64();
        hash.Update(structure[..offset]);
        hash.Update(Zeroes);
        hash.Update(structure[(offset + sizeof(ulong))..]);
        return hash.Digest() == BinaryPrimitives.ReadUInt64LittleEndian(structure[offset..]);
    }

    private static ReadOnlySpan<byte> Zeroes => [0, 0, 0, 0, 0, 0, 0, 0];
}
