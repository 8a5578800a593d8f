namespace CloudFs.Core.Devices;

/// <summary>The device failed a request: EIO, ENOSPC of the file system below it, a short transfer.</summary>
public sealed class DeviceException(string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>
    /// True when it was a write, and the medium refused it there: of that range nothing, part or all may be changed, every
    /// other is as it was, and a write to another place may succeed. Never true for a flush, nor for a file system without room.
    /// </summary>
    public bool IsBadPlace { get; init; }
}

/// <summary>
/// What the log lies on. Offsets and lengths are multiples of 512 bytes. Reads may run beside each other and beside
/// writes; writes and flushes are the log's, one at a time, except for ranges that nobody else touches.
/// What was written is in the kernel's hands when a write completes, and durable when a flush begun after that
/// completes. Every failure is a <see cref="DeviceException"/>; a failed flush says nothing about what is durable.
/// </summary>
public interface IBlockDevice : IDisposable
{
    /// <summary>Bytes that can be addressed.</summary>
    ulong Length { get; }

    /// <summary>The unit that a write of the hardware can tear: a power of two, 512 to 4096.</summary>
    int PhysicalBlock { get; }

    /// <summary>Fills <paramref name="destination"/>. Completes synchronously where the bytes are at hand.</summary>
    ValueTask ReadAsync(ulong offset, Memory<byte> destination);

    /// <summary>
    /// Says that a range is about to be read, so that the device may begin to fetch it. It waits for nothing and promises
    /// nothing: a device that can't do it does nothing.
    /// </summary>
    void Prefetch(ulong offset, int length)
    {
    }

    /// <summary>Writes all of <paramref name="source"/>.</summary>
    ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source);

    /// <summary>Makes durable every write that completed before.</summary>
    ValueTask FlushAsync();

    /// <summary>
    /// Makes sure that a range can be written without needing room from what lies below (a sparse file on a full file
    /// system). False: there is none. Contents stay as they were.
    /// </summary>
    ValueTask<bool> TryReserveAsync(ulong offset, ulong length);

    /// <summary>
    /// The first part of a range that was never written, so that a flush after a write to it costs more than others do, and that
    /// reads as zeroes. Length 0: there is none, or it is not known.
    /// </summary>
    (ulong Offset, ulong Length) FindUnwritten(ulong offset, ulong length) => default;

    /// <summary>Takes back that it grew when it was opened, where it did: what is refused is left as it was.</summary>
    void UndoGrowth()
    {
    }
}
