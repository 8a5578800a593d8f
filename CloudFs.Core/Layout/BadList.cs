using System.Buffers.Binary;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Layout;

/// <summary>Offsets of the bad list's fields; docs/format/device.md holds the same table, and a test compares them.</summary>
public static class BadListLayout
{
    public const int Magic = 0;
    public const int Version = 4;
    public const int MinReader = 5;
    public const int Block = 6;
    public const int DeviceId = 8;
    public const int Count = 28;
    public const int Generation = 32;
    public const int Places = 48;
    public const int Check = 4088;
    public const int Size = 4096;
}

/// <summary>A segment that is not used any more, since a write to it failed.</summary>
/// <param name="Segment">Which; <see cref="BadList.IndexArea"/> for the index pages before the segments.</param>
/// <param name="MovedTo">The segment that has what was in it; -1 where nothing was moved.</param>
/// <param name="Use">The use that was moved; 0 where none was.</param>
public readonly record struct BadPlace(int Segment, int MovedTo, ulong Use);

/// <summary>The list of bad places in one of its blocks. What it says is read with whatever checkpoint holds.</summary>
/// <param name="Generation">Raised with each change; the valid block of the highest holds.</param>
/// <param name="Places">In the order in which they went bad, no segment twice.</param>
public sealed record BadList(ulong Generation, IReadOnlyList<BadPlace> Places)
{
    /// <summary>Stands for the index pages before the segments.</summary>
    public const int IndexArea = -1;

    /// <summary>How many places a device may have: one with more is to be replaced.</summary>
    public const int MaxPlaces = (BadListLayout.Check - BadListLayout.Places) / PlaceBytes;

    private const int PlaceBytes = 16;

    private const byte CurrentVersion = 1;

    private static ReadOnlySpan<byte> MagicBytes => "CFSB"u8;

    /// <summary>Fills a block (4096 bytes).</summary>
    public void Write(Span<byte> destination, Id160 deviceId, int block)
    {
        destination = destination[..BadListLayout.Size];
        destination.Clear();
        MagicBytes.CopyTo(destination);
        destination[BadListLayout.Version] = CurrentVersion;
        destination[BadListLayout.MinReader] = CurrentVersion;
        destination[BadListLayout.Block] = (byte)block;
        deviceId.WriteTo(destination[BadListLayout.DeviceId..]);
        BinaryPrimitives.WriteInt32LittleEndian(destination[BadListLayout.Count..], Places.Count);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[BadListLayout.Generation..], Generation);
        var at = destination[BadListLayout.Places..];
        foreach (var place in Places)
        {
            BinaryPrimitives.WriteInt32LittleEndian(at, place.Segment);
            BinaryPrimitives.WriteInt32LittleEndian(at[4..], place.MovedTo);
            BinaryPrimitives.WriteUInt64LittleEndian(at[8..], place.Use);
            at = at[PlaceBytes..];
        }

        LayoutCheck.Seal(destination, BadListLayout.Check);
    }

    /// <summary>Reads a block. Never throws, whatever the bytes are; the list is null for any fault.</summary>
    public static LayoutFault TryRead(ReadOnlySpan<byte> source, Id160 deviceId, int block, int segmentCount, out BadList? list)
    {
        list = null;
        if (source.Length < BadListLayout.Size || !source[..MagicBytes.Length].SequenceEqual(MagicBytes))
        {
            return LayoutFault.Absent;
        }

        source = source[..BadListLayout.Size];
        if (!LayoutCheck.Holds(source, BadListLayout.Check))
        {
            return LayoutFault.Damaged;
        }

        if (source[BadListLayout.MinReader] > CurrentVersion)
        {
            return LayoutFault.NewerVersion;
        }

        if (new Id160(source.Slice(BadListLayout.DeviceId, Id160.Size)) != deviceId)
        {
            return LayoutFault.OtherDevice;
        }

        if (source[BadListLayout.Block] != block)
        {
            return LayoutFault.OtherPlace;
        }

        var count = BinaryPrimitives.ReadInt32LittleEndian(source[BadListLayout.Count..]);
        if (count is < 0 or > MaxPlaces)
        {
            return LayoutFault.Inconsistent;
        }

        var places = new List<BadPlace>(count);
        var seen = new HashSet<int>();
        for (var i = 0; i < count; i++)
        {
            var at = source[(BadListLayout.Places + (i * PlaceBytes))..];
            var place = new BadPlace(
                BinaryPrimitives.ReadInt32LittleEndian(at), BinaryPrimitives.ReadInt32LittleEndian(at[4..]),
                BinaryPrimitives.ReadUInt64LittleEndian(at[8..]));
            if (place.Segment < IndexArea || place.Segment >= segmentCount || place.MovedTo < -1 || place.MovedTo >= segmentCount
                || (place.MovedTo < 0) != (place.Use == 0) || place.MovedTo == place.Segment && place.Use != 0
                || !seen.Add(place.Segment))
            {
                return LayoutFault.Inconsistent;
            }

            places.Add(place);
        }

        list = new BadList(BinaryPrimitives.ReadUInt64LittleEndian(source[BadListLayout.Generation..]), places);
        return LayoutFault.None;
    }
}
