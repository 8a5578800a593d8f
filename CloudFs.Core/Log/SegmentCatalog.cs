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
    private readonly List<Item> _items;
    private byte[] _headers;
    private int _length;
    private long _copyBytes;
    private int _allCopyBytes;

    /// <summary>An empty catalog.</summary>
    public SegmentCatalog(ulong use)
        : this(use, [], new byte[64 << 10])
    {
    }

    private SegmentCatalog(ulong use, List<Item> items, byte[] headers)
    {
        Use = use;
        _items = items;
        _headers = headers;
    }

    /// <summary>The segment use.</summary>
    public ulong Use { get; }

    /// <summary>How many headers.</summary>
    public int Count => _items.Count;

    /// <summary>What the headers take, with their copies.</summary>
    public HeaderTally Tally => new(Count, _length + _allCopyBytes + (Count * HeaderTally.FixedCopyBytes));

    /// <summary>True when some headers could not be had: what they said may be missing here.</summary>
    public bool IsIncomplete { get; set; }

    /// <summary>Second copies that were damaged, whether or not the original stood in.</summary>
    public int DamagedCopies { get; set; }

    /// <summary>The header (or device record) of item <paramref name="index"/>.</summary>
    public ReadOnlySpan<byte> Copy(int index) => _headers.AsSpan(_items[index].Offset, _items[index].Length);

    /// <summary>The same as memory; only where nothing is added any more.</summary>
    public ReadOnlyMemory<byte> Memory(int index) => _headers.AsMemory(_items[index].Offset, _items[index].Length);

    /// <summary>Where the original of item <paramref name="index"/> lies.</summary>
    public LogPosition Position(int index) => new(Use, (uint)_items[index].Place);

    /// <summary>An empty catalog for another use in the memory of this one, which nobody may look at any more.</summary>
    public SegmentCatalog ReuseFor(ulong otherUse)
    {
        _items.Clear();
        return new SegmentCatalog(otherUse, _items, _headers);
    }

    /// <summary>Adds an item behind the others.</summary>
    /// <param name="header">All of its header, or its record.</param>
    /// <param name="place">Where that lies, bytes from the segment's start.</param>
    /// <param name="copy">Where a trailer has a second copy of it, bytes from the segment's start; 0: the footer will have it.</param>
    public void Add(ReadOnlySpan<byte> header, uint place, uint copy = 0)
    {
        header.CopyTo(Room(header.Length));
        Take(header.Length, place, copy);
    }

    /// <summary>Adds an item from a second copy, which has no padding. False, and nothing is added, when it proves no header.</summary>
    public bool TryAddCopy(ReadOnlySpan<byte> bytes, int headerLength, uint place, uint copy)
    {
        var header = Room(headerLength);
        bytes.CopyTo(header);
        header[bytes.Length..].Clear();
        if (!LogItem.Proves(header))
        {
            return false;
        }

        Take(headerLength, place, copy);
        return true;
    }

    /// <summary>
    /// Notes that a commit was closed whose items were added last: if its trailer has their second copies, the footer needs none.
    /// </summary>
    internal void TakeCopies(OpenCommit commit)
    {
        var copy = commit.CopiesPlace;
        for (var i = Count - commit.Items; i < Count && copy > 0; i++)
        {
            copy += AppendSize.PrefixHeaderBytes;
            _items[i] = _items[i] with { Copy = (int)copy };
            var length = LogItem.CopyLength(Copy(i));
            _copyBytes -= length;
            copy += (uint)length;
        }
    }

    /// <summary>
    /// Leaves copies out until the footer takes no more than <paramref name="room"/>: a trailer that was to have them is damaged, so
    /// nothing was kept free for them. A place that leads to the original says that there is no other.
    /// </summary>
    public void DropCopies(int room, int physicalBlock)
    {
        for (var i = Count - 1; i >= 0 && FooterBytes(0, 0, physicalBlock) > room; i--)
        {
            if (_items[i].Copy == 0)
            {
                _items[i] = _items[i] with { Copy = _items[i].Place };
                _copyBytes -= LogItem.CopyLength(Copy(i));
            }
        }
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
        SegmentFooter.BytesNeeded(_copyBytes + moreCopyBytes, _items.Count + moreItems, physicalBlock);

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
        var copiesLength = (int)_copyBytes;
        var places = destination.Slice(copiesLength, _items.Count * SegmentFooter.PlaceBytes);
        var offset = 0;
        for (var i = 0; i < _items.Count; i++)
        {
            var item = _items[i];
            var copy = item.Copy;
            if (copy == 0)
            {
                var header = Copy(i);
                header = header[..LogItem.CopyLength(header)];
                header.CopyTo(destination[offset..]);
                copy = start + offset;
                offset += header.Length;
            }

            BinaryPrimitives.WriteInt32LittleEndian(places[(i * SegmentFooter.PlaceBytes)..], item.Place);
            BinaryPrimitives.WriteInt32LittleEndian(places[((i * SegmentFooter.PlaceBytes) + 4)..], copy);
        }

        return new SegmentFooter(
            device, Use, commitsEnd, start, copiesLength, _items.Count, nextSegment, lastSequence, XXH64.DigestOf(places));
    }

    private Span<byte> Room(int bytes)
    {
        if (_length + bytes > _headers.Length)
        {
            Array.Resize(ref _headers, Math.Max(_headers.Length * 2, _length + bytes));
        }

        return _headers.AsSpan(_length, bytes);
    }

    private void Take(int length, uint place, uint copy)
    {
        var copyLength = LogItem.CopyLength(_headers.AsSpan(_length, length));
        _copyBytes += copy == 0 ? copyLength : 0;
        _allCopyBytes += copyLength;
        _items.Add(new Item((int)place, _length, length, (int)copy));
        _length += length;
    }

    private readonly record struct Item(int Place, int Offset, int Length, int Copy);
}
