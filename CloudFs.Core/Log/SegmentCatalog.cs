using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// The headers (and device records) of one use of a segment with their places, in order: what a footer is made of, what it
/// is read into, and how a reader finds its way without trusting the originals.
/// </summary>
public sealed class SegmentCatalog
{
    private readonly List<(int Place, int Offset, int Length)> _items;
    private byte[] _copies;
    private int _length;

    /// <summary>An empty catalog.</summary>
    public SegmentCatalog(ulong use)
        : this(use, [], new byte[64 << 10])
    {
    }

    private SegmentCatalog(ulong use, List<(int Place, int Offset, int Length)> items, byte[] copies)
    {
        Use = use;
        _items = items;
        _copies = copies;
    }

    /// <summary>The segment use.</summary>
    public ulong Use { get; }

    /// <summary>How many copies.</summary>
    public int Count => _items.Count;

    /// <summary>True when some copies could not be had: what they said may be missing here.</summary>
    public bool IsIncomplete { get; set; }

    /// <summary>The copy of item <paramref name="index"/>.</summary>
    public ReadOnlySpan<byte> Copy(int index) => _copies.AsSpan(_items[index].Offset, _items[index].Length);

    /// <summary>The same as memory; only where nothing is added any more.</summary>
    public ReadOnlyMemory<byte> Memory(int index) => _copies.AsMemory(_items[index].Offset, _items[index].Length);

    /// <summary>Where the original of item <paramref name="index"/> lies.</summary>
    public LogPosition Position(int index) => new(Use, (uint)_items[index].Place);

    /// <summary>An empty catalog for another use in the memory of this one, which nobody may look at any more.</summary>
    public SegmentCatalog ReuseFor(ulong otherUse)
    {
        _items.Clear();
        return new SegmentCatalog(otherUse, _items, _copies);
    }

    /// <summary>Adds an item behind the others.</summary>
    public void Add(ReadOnlySpan<byte> header, uint place)
    {
        if (_length + header.Length > _copies.Length)
        {
            Array.Resize(ref _copies, Math.Max(_copies.Length * 2, _length + header.Length));
        }

        header.CopyTo(_copies.AsSpan(_length));
        _items.Add(((int)place, _length, header.Length));
        _length += header.Length;
    }

    /// <summary>The index of the item at a place; -1 when there is none.</summary>
    public int IndexOf(uint place)
    {
        var low = 0;
        var high = _items.Count - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            if (_items[middle].Place == place)
            {
                return middle;
            }

            (low, high) = _items[middle].Place < place ? (middle + 1, high) : (low, middle - 1);
        }

        return -1;
    }

    /// <summary>Bytes that the footer takes, with so much more in it.</summary>
    public int FooterBytes(int moreCopyBytes, int moreItems, int physicalBlock) =>
        SegmentFooter.BytesNeeded(_length + (long)moreCopyBytes, _items.Count + moreItems, physicalBlock);

    /// <summary>
    /// Writes the footer: all bytes from its first copy to the segment's end. <paramref name="destination"/> is exactly
    /// <see cref="FooterBytes"/> long.
    /// </summary>
    public void WriteFooter(
        Span<byte> destination, Id160 device, int commitsEnd, int nextSegment, ulong lastSequence)
    {
        destination.Clear();
        _copies.AsSpan(0, _length).CopyTo(destination);
        var places = destination.Slice(_length, _items.Count * SegmentFooter.PlaceBytes);
        for (var i = 0; i < _items.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(places[(i * SegmentFooter.PlaceBytes)..], _items[i].Place);
            BinaryPrimitives.WriteInt32LittleEndian(places[((i * SegmentFooter.PlaceBytes) + 4)..], _items[i].Length);
        }

        var record = new SegmentFooter(
            device, Use, commitsEnd, DeviceGeometry.SegmentBytes - destination.Length, _length, _items.Count, nextSegment,
            lastSequence, XXH64.DigestOf(places));
        record.Write(destination[^SegmentFooterLayout.Size..]);
    }

    /// <summary>
    /// Reads the copies of a footer. A copy that does not prove itself is left out and makes the catalog incomplete.
    /// False when the table of places is damaged, so that no copy can be told from another.
    /// </summary>
    public static bool TryRead(in SegmentFooter footer, ReadOnlySpan<byte> copiesAndPlaces, out SegmentCatalog catalog)
    {
        catalog = new SegmentCatalog(footer.Use) { _copies = new byte[Math.Max(footer.CopiesLength, 1)] };
        if (copiesAndPlaces.Length < footer.CopiesLength + (footer.CopyCount * SegmentFooter.PlaceBytes))
        {
            return false;
        }

        var copies = copiesAndPlaces[..footer.CopiesLength];
        var places = copiesAndPlaces.Slice(footer.CopiesLength, footer.CopyCount * SegmentFooter.PlaceBytes);
        if (!footer.ProvesPlaces(places))
        {
            return false;
        }

        var offset = 0;
        uint end = 0;
        for (var i = 0; i < footer.CopyCount; i++)
        {
            var place = BinaryPrimitives.ReadUInt32LittleEndian(places[(i * SegmentFooter.PlaceBytes)..]);
            var length = BinaryPrimitives.ReadInt32LittleEndian(places[((i * SegmentFooter.PlaceBytes) + 4)..]);
            if (length <= 0 || length > copies.Length - offset || place < end || place > footer.CommitsEnd - length)
            {
                return false;
            }

            end = place + (uint)length;

            var copy = copies.Slice(offset, length);
            if (LogItem.Proves(copy))
            {
                catalog.Add(copy, place);
            }
            else
            {
                catalog.IsIncomplete = true;
            }

            offset += length;
        }

        return true;
    }
}
