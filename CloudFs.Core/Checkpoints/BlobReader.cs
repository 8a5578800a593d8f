using System.Buffers.Binary;
using System.Text;
using CloudFs.Core.Devices;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Checkpoints;

/// <summary>A checkpoint can't be believed: a page is damaged, or its contents make no sense.</summary>
public sealed class DamagedCheckpointException(string message) : Exception(message);

/// <summary>Reads what <see cref="BlobWriter"/> wrote, page by page, each checked before a byte of it is used.</summary>
internal sealed class BlobReader(IBlockDevice device, CheckpointRoot root)
{
    private readonly byte[] _page = new byte[CheckpointPageLayout.Size];
    private byte[] _buffer = new byte[2 * CheckpointPageLayout.Size];
    private int _start;
    private int _end;
    private int _next;

    public async ValueTask<byte> ByteAsync()
    {
        await EnsureAsync(1);
        return _buffer[_start++];
    }

    public async ValueTask<int> Int32Async()
    {
        await EnsureAsync(sizeof(int));
        return BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));
    }

    public async ValueTask<ulong> UInt64Async()
    {
        await EnsureAsync(sizeof(ulong));
        return BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)));
    }

    public async ValueTask<Id160> IdAsync()
    {
        await EnsureAsync(Id160.Size);
        return new Id160(Take(Id160.Size));
    }

    public async ValueTask<string> StringAsync()
    {
        var length = await CountAsync();
        await EnsureAsync(length);
        return Encoding.UTF8.GetString(Take(length));
    }

    /// <summary>A count or length: never negative, never more than the contents could hold.</summary>
    public async ValueTask<int> CountAsync()
    {
        var count = await Int32Async();
        return count >= 0 && count <= root.BlobLength
            ? count
            : throw new DamagedCheckpointException($"a count of {count} in a checkpoint of {root.BlobLength} bytes");
    }

    /// <summary>Makes so many bytes ready for <see cref="Take"/>.</summary>
    public async ValueTask EnsureAsync(int bytes)
    {
        while (_end - _start < bytes)
        {
            if (_next >= CheckpointRoot.PageCount(root.BlobLength))
            {
                throw new DamagedCheckpointException("the contents end too early");
            }

            try
            {
                await device.ReadAsync(CheckpointRoot.PageOffset(root.Slot, root.Spills, _next), _page);
            }
            catch (DeviceException e)
            {
                throw new DamagedCheckpointException(e.Message);
            }

            Append();
            _next++;
        }
    }

    /// <summary>The next bytes, which are ready.</summary>
    public ReadOnlySpan<byte> Take(int bytes)
    {
        var taken = _buffer.AsSpan(_start, bytes);
        _start += bytes;
        return taken;
    }

    private void Append()
    {
        if (!CheckpointRoot.ProvesPage(_page, root.DeviceId, root.Sequence, _next, out var contents))
        {
            throw new DamagedCheckpointException($"page {_next} is damaged");
        }

        if (_end + contents.Length > _buffer.Length)
        {
            var held = _buffer.AsSpan(_start, _end - _start);
            var larger = held.Length + contents.Length > _buffer.Length
                ? new byte[Math.Max(_buffer.Length * 2, held.Length + contents.Length)]
                : _buffer;
            held.CopyTo(larger);
            (_buffer, _start, _end) = (larger, 0, held.Length);
        }

        contents.CopyTo(_buffer.AsSpan(_end));
        _end += contents.Length;
    }
}
