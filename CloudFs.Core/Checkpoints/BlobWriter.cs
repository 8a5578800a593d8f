using System.Buffers.Binary;
using System.Text;
using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>No segment could be had for a checkpoint's pages.</summary>
public sealed class CheckpointSpaceException() : Exception("no free segment for a checkpoint");

/// <summary>
/// Writes a checkpoint's contents as a stream of sealed pages: into the slot, then into segments taken as they are needed.
/// Integers are little-endian, strings UTF-8 behind a u32 length (docs/format/checkpoint.md).
/// </summary>
internal sealed class BlobWriter(IBlockDevice device, SegmentTable segments, Id160 deviceId, int slot, ulong sequence)
{
    private readonly List<int> _spills = [];
    private readonly byte[] _page = new byte[CheckpointPageLayout.Size];
    private int _filled;
    private int _index;

    /// <summary>Segments taken so far.</summary>
    public IReadOnlyList<int> Spills => _spills;

    /// <summary>The segment that a page could not be written to; -1 for none.</summary>
    public int BadSpill { get; private set; } = -1;

    /// <summary>Bytes written so far.</summary>
    public long Length { get; private set; }

    public ValueTask PutAsync(byte value)
    {
        Span<byte> bytes = [value];
        return PutAsync(bytes);
    }

    public ValueTask PutAsync(int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return PutAsync(bytes);
    }

    public ValueTask PutAsync(ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return PutAsync(bytes);
    }

    public ValueTask PutAsync(Id160 value)
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        value.WriteTo(bytes);
        return PutAsync(bytes);
    }

    public async ValueTask PutAsync(string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        await PutAsync(bytes.Length);
        await PutAsync(bytes);
    }

    /// <summary>Writes raw bytes. Those that fit the page complete at once.</summary>
    public ValueTask PutAsync(ReadOnlySpan<byte> bytes)
    {
        var room = CheckpointPageLayout.ContentBytes - _filled;
        if (bytes.Length < room)
        {
            Fill(bytes);
            return ValueTask.CompletedTask;
        }

        Fill(bytes[..room]);
        return PutRestAsync(bytes[room..].ToArray());
    }

    /// <summary>Writes the last page.</summary>
    public ValueTask CompleteAsync() => _filled > 0 ? WritePageAsync() : ValueTask.CompletedTask;

    /// <summary>Gives back what was taken, after a failure.</summary>
    public void Abandon() => _spills.ForEach(spill => segments.ReleasePages(spill, SegmentState.Checkpoint));

    private void Fill(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_page.AsSpan(CheckpointPageLayout.HeaderBytes + _filled));
        _filled += bytes.Length;
        Length += bytes.Length;
    }

    private async ValueTask PutRestAsync(ReadOnlyMemory<byte> rest)
    {
        await WritePageAsync();
        while (!rest.IsEmpty)
        {
            var part = Math.Min(rest.Length, CheckpointPageLayout.ContentBytes - _filled);
            Fill(rest.Span[..part]);
            rest = rest[part..];
            if (_filled == CheckpointPageLayout.ContentBytes)
            {
                await WritePageAsync();
            }
        }
    }

    private async ValueTask WritePageAsync()
    {
        var spilled = _index - CheckpointPageLayout.PagesInSlot;
        if (spilled >= 0 && spilled % CheckpointPageLayout.PagesInSegment == 0)
        {
            var segment = _spills.Count < CheckpointRootLayout.MaxSpills ? segments.TakeForPages(SegmentState.Checkpoint) : -1;
            if (segment < 0)
            {
                throw new CheckpointSpaceException();
            }

            _spills.Add(segment);
            if (!await device.TryReserveAsync(DeviceGeometry.SegmentOffset(segment), DeviceGeometry.SegmentBytes))
            {
                throw new CheckpointSpaceException();
            }
        }

        _page.AsSpan(CheckpointPageLayout.HeaderBytes + _filled).Clear();
        CheckpointRoot.SealPage(_page, deviceId, sequence, _index, _filled);
        try
        {
            await device.WriteAsync(CheckpointRoot.PageOffset(slot, _spills, _index), _page);
        }
        catch (DeviceException e) when (e.IsBadPlace && spilled >= 0)
        {
            // Before anybody else can take it: it is given back when this is given up.
            segments.Condemn(_spills[^1]);
            BadSpill = _spills[^1];
            throw;
        }

        _index++;
        _filled = 0;
    }
}
