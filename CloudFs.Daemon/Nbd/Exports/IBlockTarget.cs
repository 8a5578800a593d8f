using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>
/// What the NBD server needs of a disk, with the meaning that <see cref="Disk"/> gives to each method. It keeps the
/// protocol apart from the engine, so that each can be tried without the other.
/// </summary>
internal interface IBlockTarget
{
    /// <summary>40 hex digits.</summary>
    string Id { get; }

    string? Name { get; }

    ulong SizeBytes { get; }

    bool IsReadOnly { get; }

    /// <summary>A line for people, told on request.</summary>
    string Description { get; }

    ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination);

    ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua);

    /// <summary>Short writes that came together, as one.</summary>
    ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua);

    ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua);

    ValueTask<IoStatus> FlushAsync();

    /// <summary>The same for a caller that has nothing else to do meanwhile: it may be done on its thread.</summary>
    ValueTask<IoStatus> FlushHereAsync() => FlushAsync();

    /// <summary>
    /// A flush is expected next, and the caller has nothing else to do: what it would write may be written on its thread.
    /// </summary>
    void PrepareFlush()
    {
    }

    IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into);
}
