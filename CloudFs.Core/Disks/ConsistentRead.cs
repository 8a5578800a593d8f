using System.Buffers;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>Bytes of one version of a disk; see <see cref="Disk.BeginConsistentReadAsync"/>.</summary>
public sealed class ConsistentRead
{
    private readonly DiskReader? _reader;
    private readonly MappedExtent[] _extents;

    internal ConsistentRead(IoStatus status, DiskVersion version, DiskReader? reader, MappedExtent[] extents)
    {
        Status = status;
        Version = version;
        _reader = reader;
        _extents = extents;
    }

    /// <summary>Ok, or why there is nothing to read; then <see cref="ReadAsync"/> must not be called.</summary>
    public IoStatus Status { get; }

    /// <summary>The version that every byte is of.</summary>
    public DiskVersion Version { get; }

    /// <summary>Reads bytes at an absolute offset within the range that was begun, any alignment.</summary>
    public async ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var lba = offset / EntryLayout.SectorSize;
        var skip = (int)(offset % EntryLayout.SectorSize);
        var sectors = (skip + destination.Length + EntryLayout.SectorSize - 1) / EntryLayout.SectorSize;
        var scratch = ArrayPool<byte>.Shared.Rent(sectors * EntryLayout.SectorSize);
        try
        {
            var whole = scratch.AsMemory(0, sectors * EntryLayout.SectorSize);
            var extents = Within(lba, lba + (ulong)sectors);
            var (status, _) = await _reader!.ReadBatchAsync(lba, whole, extents);
            if (status == LogRead.Reclaimed && await _reader.FindAgainAsync(extents) is { } moved)
            {
                (status, _) = await _reader.ReadBatchAsync(lba, whole, moved);
            }

            if (status != LogRead.Ok)
            {
                return IoStatus.Damaged;
            }

            whole.Slice(skip, destination.Length).CopyTo(destination);
            return IoStatus.Ok;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
    }

    private MappedExtent[] Within(ulong lba, ulong end)
    {
        var first = Array.FindIndex(_extents, extent => extent.End > lba);
        if (first < 0)
        {
            return [];
        }

        var within = new List<MappedExtent>();
        for (var i = first; i < _extents.Length && _extents[i].Lba < end; i++)
        {
            within.Add(_extents[i].Clip(lba, end));
        }

        return [.. within];
    }
}
