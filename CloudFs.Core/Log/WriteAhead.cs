using System.Runtime.InteropServices;
using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <summary>
/// Writes zeroes behind the log's end where the device is a file of which that part was never written. A flush of such a part
/// commits the journal of the file system below as well, which takes as long as the flush itself; so a log that is flushed in
/// small pieces has it written in large ones. What lies there reads as zeroes before and after, and the log alone writes there.
/// Used by whoever has the log's turn.
/// </summary>
internal sealed class WriteAhead(IBlockDevice device, SegmentTable segments)
{
    /// <summary>So much at once: one flush in 128 waits for it, if each is of one page.</summary>
    private const int AheadBytes = 1 << 20;

    /// <summary>A flush of more than that is not short: to write it twice would cost more than the journal does.</summary>
    private const int ShortBytes = 64 << 10;

    /// <summary>So many short flushes in a row are taken to be followed by more.</summary>
    private const int FlushesBefore = 4;

    private Memory<byte> _zeroes;
    private LogPosition _flushed;
    private LogPosition _written;
    private int _shortFlushes;

    /// <summary>Everything before <paramref name="end"/> is written and about to be flushed.</summary>
    /// <returns>How many bytes of zeroes were written behind it.</returns>
    /// <exception cref="DeviceException">The device failed.</exception>
    public ValueTask<int> BeforeFlushAsync(LogPosition end)
    {
        var isShort = end.Value - _flushed.Value <= ShortBytes;
        _flushed = end;
        _shortFlushes = isShort ? _shortFlushes + 1 : 0;
        return _shortFlushes < FlushesBefore || end.Value + ShortBytes <= _written.Value ? default : WriteAsync(end);
    }

    private async ValueTask<int> WriteAsync(LogPosition end)
    {
        if (!segments.TryLocate(end.Use, out var segment))
        {
            // Sealed just now: the next segment is not begun.
            return 0;
        }

        var start = DeviceGeometry.SegmentOffset(segment) + end.Offset;
        var left = (ulong)DeviceGeometry.SegmentBytes - end.Offset;
        var (offset, length) = device.FindUnwritten(start, left);
        if (length == 0)
        {
            _written = new LogPosition(end.Use + 1, 0);
            return 0;
        }

        // A hole further on has time.
        length = offset - start < ShortBytes ? Math.Min(length, AheadBytes) : 0;
        _written = end.Plus((long)(offset + length - start));
        return length > 0 && await TryWriteAsync(offset, (int)length) ? (int)length : 0;
    }

    private async ValueTask<bool> TryWriteAsync(ulong offset, int length)
    {
        if (_zeroes.IsEmpty)
        {
            // Aligned, so that it goes past the page cache.
            const int Block = DeviceGeometry.MaxPhysicalBlock;
            var array = GC.AllocateArray<byte>(AheadBytes + Block, pinned: true);
            var skew = (int)(Marshal.UnsafeAddrOfPinnedArrayElement(array, 0) & (Block - 1));
            _zeroes = array.AsMemory(Block - skew, AheadBytes);
        }

        try
        {
            await device.WriteAsync(offset, _zeroes[..length]);
            return true;
        }
        catch (DeviceException e) when (e.IsBadPlace)
        {
            // The commit that goes there will find it, and go elsewhere.
            return false;
        }
    }
}
