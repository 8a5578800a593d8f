using System.Buffers.Binary;
using System.Runtime.InteropServices;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// The memory in which commits are put together: slots of 4 MiB in a region that may outlive the process, so that what was
/// acknowledged before it reached the device is found again after a kill (docs/format/write-buffer.md). The region is bound
/// to a device and to a boot of the machine; each slot to its place in the log. Appends are the log's, under its gate;
/// reads may come from any thread and are checked against the slot's sequence, as by a seqlock.
/// </summary>
public sealed class WriteBuffer
{
    /// <summary>Bytes before the first slot.</summary>
    public const int HeaderBytes = 4096;

    /// <summary>Bytes of a slot: the largest commit.</summary>
    public const int SlotBytes = 4 << 20;

    /// <summary>Slots, unless told otherwise: 32 MiB of writes that the device has not yet taken.</summary>
    public const int DefaultSlots = 8;

    private const int MaxSlots = 32;
    private const int DeviceOffset = 8;
    private const int BootOffset = 28;
    private const int SlotCountOffset = 48;
    private const int SlotBytesOffset = 52;
    private const int WrittenOffset = 56;
    private const int SlotTableOffset = 512;
    private const int SlotEntryBytes = 64;
    private const int SequenceOffset = 0;
    private const int PositionOffset = 8;
    private const int FilledOffset = 16;

    private readonly Memory<byte> _region;

    private WriteBuffer(Memory<byte> region, int slots)
    {
        _region = region;
        Slots = slots;
    }

    private static ReadOnlySpan<byte> MagicBytes => "CFSBUF01"u8;

    /// <summary>How many slots.</summary>
    public int Slots { get; }

    /// <summary>Bytes of a region with that many slots.</summary>
    public static int RegionBytes(int slots) => HeaderBytes + (slots * SlotBytes);

    /// <summary>
    /// Takes a region. What is in it is left as it is when it matches the device, the boot and the geometry
    /// (<paramref name="matches"/>); else it is made empty.
    /// </summary>
    /// <param name="region">Exactly <see cref="RegionBytes"/> for some count of slots.</param>
    /// <param name="device">The device's id.</param>
    /// <param name="boot">Differs from one boot of the machine to the next.</param>
    /// <param name="matches">True when the region holds what a process of this boot left for this device.</param>
    public static WriteBuffer Attach(Memory<byte> region, Id160 device, Id160 boot, out bool matches)
    {
        var slots = (region.Length - HeaderBytes) / SlotBytes;
        Invariant.That(slots is >= 2 and <= MaxSlots && region.Length == RegionBytes(slots), "a region has 2 to 32 slots");
        var buffer = new WriteBuffer(region, slots);
        var header = region.Span[..HeaderBytes];
        matches = !boot.IsZero && header[..8].SequenceEqual(MagicBytes)
            && new Id160(header.Slice(DeviceOffset, Id160.Size)) == device
            && new Id160(header.Slice(BootOffset, Id160.Size)) == boot
            && BinaryPrimitives.ReadInt32LittleEndian(header[SlotCountOffset..]) == slots
            && BinaryPrimitives.ReadInt32LittleEndian(header[SlotBytesOffset..]) == SlotBytes;
        if (!matches)
        {
            header.Clear();
            device.WriteTo(header[DeviceOffset..]);
            boot.WriteTo(header[BootOffset..]);
            BinaryPrimitives.WriteInt32LittleEndian(header[SlotCountOffset..], slots);
            BinaryPrimitives.WriteInt32LittleEndian(header[SlotBytesOffset..], SlotBytes);
            MagicBytes.CopyTo(header);
        }

        return buffer;
    }

    /// <summary>A buffer in ordinary memory, which does not outlive the process.</summary>
    public static WriteBuffer InMemory(int slots = DefaultSlots) =>
        Attach(GC.AllocateUninitializedArray<byte>(RegionBytes(slots)), default, default, out _);

    /// <summary>Up to where the kernel has taken the log: what is bad below was not torn by the death of the process.</summary>
    public LogPosition Written
    {
        get => new(Volatile.Read(ref Word(WrittenOffset)));
        set => Volatile.Write(ref Word(WrittenOffset), value.Value);
    }

    /// <summary>The bytes of a slot.</summary>
    public Memory<byte> Slot(int slot) => _region.Slice(HeaderBytes + (slot * SlotBytes), SlotBytes);

    /// <summary>The sequence of the commit in a slot; 0 for a free one.</summary>
    public ulong SequenceOf(int slot) => Volatile.Read(ref Word(At(slot, SequenceOffset)));

    /// <summary>Where the commit in a slot will lie.</summary>
    public LogPosition PositionOf(int slot) => new(Volatile.Read(ref Word(At(slot, PositionOffset))));

    /// <summary>Bytes of the slot that are whole, from its start: a record's room, then items.</summary>
    public int FilledOf(int slot) => (int)Volatile.Read(ref Word(At(slot, FilledOffset)));

    /// <summary>How many slots are in use, and the bytes that are whole in them.</summary>
    public (int Slots, long Bytes) InUse()
    {
        var (slots, bytes) = (0, 0L);
        for (var slot = 0; slot < Slots; slot++)
        {
            if (SequenceOf(slot) != 0)
            {
                slots++;
                bytes += FilledOf(slot);
            }
        }

        return (slots, bytes);
    }

    /// <summary>Begins a commit in a free slot.</summary>
    public void Open(int slot, ulong sequence, LogPosition position, int filled)
    {
        Volatile.Write(ref Word(At(slot, PositionOffset)), position.Value);
        Volatile.Write(ref Word(At(slot, FilledOffset)), (ulong)filled);
        Volatile.Write(ref Word(At(slot, SequenceOffset)), sequence);
    }

    /// <summary>Says that the slot is whole up to <paramref name="filled"/>: from here on it survives the process.</summary>
    public void Publish(int slot, int filled) => Volatile.Write(ref Word(At(slot, FilledOffset)), (ulong)filled);

    /// <summary>The device has taken the commit.</summary>
    public void Free(int slot) => Volatile.Write(ref Word(At(slot, SequenceOffset)), 0);

    /// <summary>True while a position's bytes are in a slot.</summary>
    public bool Holds(LogPosition position)
    {
        for (var slot = 0; slot < Slots; slot++)
        {
            var start = PositionOf(slot);
            if (SequenceOf(slot) != 0 && position >= start && position.Value < start.Value + (ulong)FilledOf(slot))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Copies bytes of the log that are still in a slot; false when they are not (any more).</summary>
    public bool TryRead(LogPosition position, Span<byte> destination) =>
        TryReadStart(position, destination, destination.Length, out _);

    /// <summary>
    /// Copies as many bytes of the log from a position on as are still in its slot; false when they are fewer than
    /// <paramref name="least"/>, or not there (any more).
    /// </summary>
    public bool TryReadStart(LogPosition position, Span<byte> destination, int least, out int copied)
    {
        copied = 0;
        for (var slot = 0; slot < Slots; slot++)
        {
            var sequence = SequenceOf(slot);
            var start = PositionOf(slot);
            var filled = start.Value + (ulong)FilledOf(slot);
            if (sequence == 0 || position < start || position.Value + (ulong)least > filled)
            {
                continue;
            }

            copied = (int)Math.Min((ulong)destination.Length, filled - position.Value);
            Slot(slot).Span.Slice((int)(position.Value - start.Value), copied).CopyTo(destination);
            Interlocked.MemoryBarrier();
            return SequenceOf(slot) == sequence && PositionOf(slot) == start;
        }

        return false;
    }

    private static int At(int slot, int field) => SlotTableOffset + (slot * SlotEntryBytes) + field;

    // The words are little-endian on the machines that this runs on, which open checks.
    private ref ulong Word(int offset) => ref MemoryMarshal.AsRef<ulong>(_region.Span.Slice(offset, sizeof(ulong)));
}
