using System.Buffers;
using System.Buffers.Binary;
using CloudFs.Core.Format;
using CloudFs.Core.Log;

namespace CloudFs.Core.Replication;

/// <summary>What the tails of all disks may keep in memory together. Any thread.</summary>
internal sealed class TailBudget(long bytes)
{
    private long _left = bytes;

    public bool TryTake(int count)
    {
        if (Interlocked.Add(ref _left, -count) >= 0)
        {
            return true;
        }

        Interlocked.Add(ref _left, count);
        return false;
    }

    public void Give(int count) => Interlocked.Add(ref _left, count);
}

/// <summary>
/// A disk's newest entries in memory, as they go over a link: so that those who are in step need no read of the log. Bounded by what
/// one disk and all may keep: what
/// falls out is read from the log. Guarded by its group's lock.
/// </summary>
internal sealed class Tail(TailBudget budget)
{
    private const int BytesMax = 16 << 20;

    private readonly Queue<(byte[] Bytes, int Length)> _entries = new();
    private long _held;

    /// <summary>LSN of the oldest that is here; where there is none, of the next one that will be.</summary>
    public ulong First { get; private set; }

    /// <summary>One more than the LSN of the newest.</summary>
    public ulong End => First + (ulong)_entries.Count;

    /// <summary>Begins with the entry of that LSN.</summary>
    public void Begin(ulong lsn)
    {
        Clear();
        First = lsn;
    }

    /// <summary>Adds the next entry; whatever does not fit any more goes, oldest first, it included.</summary>
    public void Add(ulong lsn, ReadOnlySpan<byte> entry)
    {
        if (lsn != End)
        {
            Begin(lsn);
        }

        var length = WireEntry.LengthOf(entry);
        var bytes = ArrayPool<byte>.Shared.Rent(length);
        while (_held + bytes.Length > BytesMax || !budget.TryTake(bytes.Length))
        {
            if (_entries.Count == 0)
            {
                ArrayPool<byte>.Shared.Return(bytes);
                First = lsn + 1;
                return;
            }

            DropFirst();
        }

        WireEntry.Write(entry, bytes);
        _held += bytes.Length;
        _entries.Enqueue((bytes, length));
    }

    /// <summary>
    /// Puts entries from an LSN on and before another, at least one if it is here, until there are so many bytes; gives the LSN behind
    /// the last.
    /// </summary>
    public (ulong Next, int Count) CopyTo(FrameWriter into, ulong from, ulong before, int bytesMax)
    {
        if (from < First || from >= End || from >= before)
        {
            return (from, 0);
        }

        var skip = from - First;
        var (next, count, bytes) = (from, 0, 0);
        foreach (var (entry, length) in _entries)
        {
            if (skip > 0)
            {
                skip--;
                continue;
            }

            if (next >= before || (count > 0 && bytes + length > bytesMax))
            {
                break;
            }

            into.Put(entry.AsSpan(0, length));
            bytes += length;
            next++;
            count++;
        }

        return (next, count);
    }

    /// <summary>Nobody needs what comes before this LSN.</summary>
    public void DropBefore(ulong lsn)
    {
        while (_entries.Count > 0 && First < lsn)
        {
            DropFirst();
        }
    }

    public void Clear()
    {
        while (_entries.Count > 0)
        {
            DropFirst();
        }
    }

    private void DropFirst()
    {
        var (bytes, _) = _entries.Dequeue();
        First++;
        _held -= bytes.Length;
        budget.Give(bytes.Length);
        ArrayPool<byte>.Shared.Return(bytes);
    }
}

/// <summary>
/// An entry as it goes over a link: a u32 of bytes, then header and body. A short entry goes without the padding of its header, which
/// is up to an eighth of a
/// page: where the length is less than that of the entry, zeroes are missing there.
/// </summary>
internal static class WireEntry
{
    private const int LengthBytes = 4;

    /// <summary>A longer one is not worth a copy at the other end.</summary>
    private const int TrimmedBodyMax = 32 << 10;

    /// <summary>Bytes on the wire, the length included.</summary>
    public static int LengthOf(ReadOnlySpan<byte> entry)
    {
        var (header, copied) = Parts(entry);
        return LengthBytes + copied + entry.Length - header;
    }

    public static void Write(ReadOnlySpan<byte> entry, Span<byte> into)
    {
        var (header, copied) = Parts(entry);
        BinaryPrimitives.WriteInt32LittleEndian(into, copied + entry.Length - header);
        entry[..copied].CopyTo(into[LengthBytes..]);
        entry[header..].CopyTo(into[(LengthBytes + copied)..]);
    }

    /// <summary>
    /// Takes the next entry off <paramref name="wire"/>: as it stands there, or put together in <paramref name="scratch"/>.
    /// </summary>
    /// <exception cref="LinkProtocolException">No entry can stand there.</exception>
    public static ReadOnlyMemory<byte> Take(ref ReadOnlyMemory<byte> wire, Memory<byte> scratch)
    {
        var length = wire.Length < LengthBytes ? -1 : BinaryPrimitives.ReadInt32LittleEndian(wire.Span);
        if (length < EntryLayout.FixedSize || length > wire.Length - LengthBytes)
        {
            throw new LinkProtocolException($"an entry of {length} bytes can't stand in {wire.Length - LengthBytes} bytes");
        }

        var bytes = wire.Slice(LengthBytes, length);
        wire = wire[(LengthBytes + length)..];
        if (!EntryHeaderCodec.TryReadLengths(bytes.Span, out var header, out var body, out var error))
        {
            throw new LinkProtocolException($"what arrived is no entry: {error.Text()}");
        }

        if (length == header + body)
        {
            return bytes;
        }

        var copied = LogItem.CopyLength(bytes.Span);
        if (copied > header || length != copied + body)
        {
            throw new LinkProtocolException($"an entry of {header + body} bytes can't be made of {length}");
        }

        bytes.Span[..copied].CopyTo(scratch.Span);
        scratch.Span[copied..header].Clear();
        bytes.Span[copied..].CopyTo(scratch.Span[header..]);
        return scratch[..(header + body)];
    }

    private static (int Header, int Copied) Parts(ReadOnlySpan<byte> entry)
    {
        var header = BinaryPrimitives.ReadInt32LittleEndian(entry[EntryLayout.HeaderLengthOffset..]);
        return (header, entry.Length - header <= TrimmedBodyMax ? LogItem.CopyLength(entry) : header);
    }
}
