using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>Offsets of a checkpoint root's fields; it is the first 4 KiB of a slot.</summary>
public static class CheckpointRootLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int Slot = 6;
    public const int DeviceId = 8;
    public const int SpillCount = 28;
    public const int Sequence = 32;
    public const int RollFrom = 40;
    public const int Durable = 48;
    public const int BlobLength = 56;
    public const int TimeMicros = 64;
    public const int Spills = 80;
    public const int Check = 4088;
    public const int Size = 4096;

    /// <summary>Segments that one root can name: 15 GiB of index.</summary>
    public const int MaxSpills = (Check - Spills) / 4;
}

/// <summary>Offsets of a checkpoint page's fields; its contents follow.</summary>
public static class CheckpointPageLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int DeviceId = 8;
    public const int Length = 28;
    public const int Sequence = 32;
    public const int Index = 40;
    public const int Check = 56;
    public const int HeaderBytes = 64;

    /// <summary>Bytes of a page in all.</summary>
    public const int Size = 64 << 10;

    /// <summary>Bytes of the checkpoint that one page carries.</summary>
    public const int ContentBytes = Size - HeaderBytes;

    /// <summary>Pages in a slot, behind the root.</summary>
    public const int PagesInSlot = (DeviceGeometry.CheckpointSlotBytes - CheckpointRootLayout.Size) / Size;

    public const int PagesInSegment = DeviceGeometry.SegmentBytes / Size;

    /// <summary>Bytes of the longest contents that one root can lead to.</summary>
    public const long MaxBlobBytes =
        (PagesInSlot + ((long)CheckpointRootLayout.MaxSpills * PagesInSegment)) * ContentBytes;
}

/// <summary>
/// The root of a checkpoint, written last into its slot: the pages of the checkpoint's contents lie in the slot behind
/// it, and those that do not fit in segments that it names.
/// </summary>
/// <param name="DeviceId">Whose it is.</param>
/// <param name="Slot">0 or 1; written in turn.</param>
/// <param name="Sequence">Counts checkpoints from 1; the valid one with the higher number holds.</param>
/// <param name="RollFrom">Recovery reads the log from here on.</param>
/// <param name="Durable">The log was durable up to here when this was written.</param>
/// <param name="BlobLength">Bytes of the contents.</param>
/// <param name="TimeMicros">When it was taken.</param>
/// <param name="Spills">Segments that hold pages beyond those in the slot.</param>
public sealed record CheckpointRoot(
    Id160 DeviceId,
    int Slot,
    ulong Sequence,
    LogPosition RollFrom,
    LogPosition Durable,
    long BlobLength,
    ulong TimeMicros,
    IReadOnlyList<int> Spills)
{
    private const byte CurrentVersion = 1;

    private static ReadOnlySpan<byte> MagicBytes => "CFSK"u8;

    private static ReadOnlySpan<byte> PageMagic => "CFSP"u8;

    /// <summary>How many pages contents of this length take.</summary>
    public static int PageCount(long blobLength) =>
        checked((int)((blobLength + CheckpointPageLayout.ContentBytes - 1) / CheckpointPageLayout.ContentBytes));

    /// <summary>How many segments beyond the slot contents of this length take.</summary>
    public static int SpillCount(long blobLength)
    {
        var beyond = PageCount(blobLength) - CheckpointPageLayout.PagesInSlot;
        return beyond <= 0 ? 0 : (beyond + CheckpointPageLayout.PagesInSegment - 1) / CheckpointPageLayout.PagesInSegment;
    }

    /// <summary>The device offset of page <paramref name="index"/>.</summary>
    public static ulong PageOffset(int slot, IReadOnlyList<int> spills, int index)
    {
        if (index < CheckpointPageLayout.PagesInSlot)
        {
            return DeviceGeometry.CheckpointSlotOffset(slot) + CheckpointRootLayout.Size
                + ((ulong)index * CheckpointPageLayout.Size);
        }

        index -= CheckpointPageLayout.PagesInSlot;
        return DeviceGeometry.SegmentOffset(spills[index / CheckpointPageLayout.PagesInSegment])
            + ((ulong)(index % CheckpointPageLayout.PagesInSegment) * CheckpointPageLayout.Size);
    }

    /// <summary>Writes all 4096 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        destination = destination[..CheckpointRootLayout.Size];
        destination.Clear();
        MagicBytes.CopyTo(destination);
        destination[CheckpointRootLayout.Version] = CurrentVersion;
        destination[CheckpointRootLayout.MinReader] = CurrentVersion;
        destination[CheckpointRootLayout.Slot] = (byte)Slot;
        DeviceId.WriteTo(destination[CheckpointRootLayout.DeviceId..]);
        BinaryPrimitives.WriteInt32LittleEndian(destination[CheckpointRootLayout.SpillCount..], Spills.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CheckpointRootLayout.Sequence..], Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CheckpointRootLayout.RollFrom..], RollFrom.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CheckpointRootLayout.Durable..], Durable.Value);
        BinaryPrimitives.WriteInt64LittleEndian(destination[CheckpointRootLayout.BlobLength..], BlobLength);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[CheckpointRootLayout.TimeMicros..], TimeMicros);
        for (var i = 0; i < Spills.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(destination[(CheckpointRootLayout.Spills + (4 * i))..], Spills[i]);
        }

        LayoutCheck.Seal(destination, CheckpointRootLayout.Check);
    }

    /// <summary>Reads the root of a slot; never throws.</summary>
    public static LayoutFault TryRead(
        ReadOnlySpan<byte> source, Id160 device, int slot, int segmentCount, out CheckpointRoot? root)
    {
        root = null;
        if (source.Length < CheckpointRootLayout.Size)
        {
            return LayoutFault.Absent;
        }

        source = source[..CheckpointRootLayout.Size];
        if (!source[..4].SequenceEqual(MagicBytes))
        {
            return source.IndexOfAnyExcept((byte)0) < 0 ? LayoutFault.Absent : LayoutFault.Damaged;
        }

        if (!LayoutCheck.Holds(source, CheckpointRootLayout.Check))
        {
            return LayoutFault.Damaged;
        }

        if (source[CheckpointRootLayout.MinReader] > CurrentVersion)
        {
            return LayoutFault.NewerVersion;
        }

        if (new Id160(source.Slice(CheckpointRootLayout.DeviceId, Id160.Size)) != device)
        {
            return LayoutFault.OtherDevice;
        }

        if (source[CheckpointRootLayout.Slot] != slot)
        {
            return LayoutFault.OtherPlace;
        }

        var blobLength = BinaryPrimitives.ReadInt64LittleEndian(source[CheckpointRootLayout.BlobLength..]);
        var spillCount = BinaryPrimitives.ReadInt32LittleEndian(source[CheckpointRootLayout.SpillCount..]);
        if (blobLength is < 0 or > CheckpointPageLayout.MaxBlobBytes || spillCount != SpillCount(blobLength))
        {
            return LayoutFault.Inconsistent;
        }

        var spills = new int[spillCount];
        for (var i = 0; i < spillCount; i++)
        {
            spills[i] = BinaryPrimitives.ReadInt32LittleEndian(source[(CheckpointRootLayout.Spills + (4 * i))..]);
            if (spills[i] < 0 || spills[i] >= segmentCount || spills.AsSpan(0, i).Contains(spills[i]))
            {
                return LayoutFault.Inconsistent;
            }
        }

        root = new CheckpointRoot(
            device,
            slot,
            BinaryPrimitives.ReadUInt64LittleEndian(source[CheckpointRootLayout.Sequence..]),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(source[CheckpointRootLayout.RollFrom..])),
            new LogPosition(BinaryPrimitives.ReadUInt64LittleEndian(source[CheckpointRootLayout.Durable..])),
            blobLength,
            BinaryPrimitives.ReadUInt64LittleEndian(source[CheckpointRootLayout.TimeMicros..]),
            spills);
        return LayoutFault.None;
    }

    /// <summary>Seals a page whose contents are in place behind its header; the rest must be zeroes.</summary>
    public static void SealPage(Span<byte> page, Id160 device, ulong sequence, int index, int length)
    {
        PageMagic.CopyTo(page);
        page[4..CheckpointPageLayout.HeaderBytes].Clear();
        page[CheckpointPageLayout.Version] = CurrentVersion;
        device.WriteTo(page[CheckpointPageLayout.DeviceId..]);
        BinaryPrimitives.WriteInt32LittleEndian(page[CheckpointPageLayout.Length..], length);
        BinaryPrimitives.WriteUInt64LittleEndian(page[CheckpointPageLayout.Sequence..], sequence);
        BinaryPrimitives.WriteInt32LittleEndian(page[CheckpointPageLayout.Index..], index);
        LayoutCheck.Seal(page, CheckpointPageLayout.Check);
    }

    /// <summary>True when this is page <paramref name="index"/> of that checkpoint, whole.</summary>
    public static bool ProvesPage(
        ReadOnlySpan<byte> page, Id160 device, ulong sequence, int index, out ReadOnlySpan<byte> contents)
    {
        contents = default;
        if (page.Length != CheckpointPageLayout.Size)
        {
            return false;
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(page[CheckpointPageLayout.Length..]);
        if (!page[..4].SequenceEqual(PageMagic)
            || length is < 0 or > CheckpointPageLayout.ContentBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(page[CheckpointPageLayout.Sequence..]) != sequence
            || BinaryPrimitives.ReadInt32LittleEndian(page[CheckpointPageLayout.Index..]) != index
            || new Id160(page.Slice(CheckpointPageLayout.DeviceId, Id160.Size)) != device
            || !LayoutCheck.Holds(page, CheckpointPageLayout.Check))
        {
            return false;
        }

        contents = page.Slice(CheckpointPageLayout.HeaderBytes, length);
        return true;
    }
}
