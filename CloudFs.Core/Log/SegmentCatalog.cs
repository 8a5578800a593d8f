using System.Buffers;
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

    /// <summary>Copies of a footer that were damaged, whether or not the original stood in.</summary>
    public int DamagedCopies { get; private set; }

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
        var start = DeviceGeometry.SegmentBytes - destination.Length;
        var record = WriteCopies(destination, start, device, commitsEnd, nextSegment, lastSequence);
        record.Write(destination[^SegmentFooterLayout.Size..]);
    }

    /// <summary>
    /// Writes a footer's copies and places alone, and gives the record that leads to them: <paramref name="destination"/> is
    /// <see cref="FooterBytes"/> long, and will lie at <paramref name="start"/> in the segment, wherever that is.
    /// </summary>
    public SegmentFooter WriteCopies(
        Span<byte> destination, int start, Id160 device, int commitsEnd, int nextSegment, ulong lastSequence)
    {
        destination.Clear();
        _copies.AsSpan(0, _length).CopyTo(destination);
        var places = destination.Slice(_length, _items.Count * SegmentFooter.PlaceBytes);
        for (var i = 0; i < _items.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(places[(i * SegmentFooter.PlaceBytes)..], _items[i].Place);
            BinaryPrimitives.WriteInt32LittleEndian(places[((i * SegmentFooter.PlaceBytes) + 4)..], _items[i].Length);
        }

        return new SegmentFooter(
            device, Use, commitsEnd, start, _length, _items.Count, nextSegment, lastSequence, XXH64.DigestOf(places));
    }

    /// <summary>
    /// Reads the copies of a footer. One that does not prove itself is had from its original's place, if that does; else it
    /// is left out, and the catalog is incomplete. Null when the table of places can't be read.
    /// </summary>
    /// <param name="footer">The footer's record.</param>
    /// <param name="read">Reads bytes of the segment from an offset; false when they can't be had.</param>
    public static async ValueTask<SegmentCatalog?> LoadAsync(
        SegmentFooter footer, Func<uint, Memory<byte>, ValueTask<bool>> read)
    {
        var length = footer.CopiesLength + (footer.CopyCount * SegmentFooter.PlaceBytes);
        var rented = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            return await LoadAsync(footer, rented.AsMemory(0, length), read);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static async ValueTask<SegmentCatalog?> LoadAsync(
        SegmentFooter footer, Memory<byte> bytes, Func<uint, Memory<byte>, ValueTask<bool>> read)
    {
        if (!await read((uint)footer.CopiesStart, bytes) || !footer.ProvesPlaces(bytes.Span[footer.CopiesLength..]))
        {
            return null;
        }

        var catalog = new SegmentCatalog(footer.Use, [], new byte[Math.Max(footer.CopiesLength, 1)]);
        var offset = 0;
        uint end = 0;
        for (var i = 0; i < footer.CopyCount; i++)
        {
            var entry = bytes.Slice(footer.CopiesLength + (i * SegmentFooter.PlaceBytes), SegmentFooter.PlaceBytes);
            var place = BinaryPrimitives.ReadUInt32LittleEndian(entry.Span);
            var length = BinaryPrimitives.ReadInt32LittleEndian(entry.Span[4..]);
            if (length <= 0 || length > footer.CopiesLength - offset || place < end
                || place > (long)footer.CommitsEnd - length)
            {
                return null;
            }

            end = place + (uint)length;
            var copy = bytes.Slice(offset, length);
            offset += length;
            if (!LogItem.Proves(copy.Span))
            {
                catalog.DamagedCopies++;
                if (!await read(place, copy) || !LogItem.Proves(copy.Span))
                {
                    catalog.IsIncomplete = true;
                    continue;
                }
            }

            catalog.Add(copy.Span, place);
        }

        return catalog;
    }
}
