using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// One disk: its chain, its contents, its history. All methods may be called from any thread, concurrently.
/// Offsets and lengths are bytes. A cancelled caller stops waiting; what it asked for may still happen.
/// </summary>
public sealed class Disk
{
    /// <summary>The base id.</summary>
    public Id160 Id => throw new NotImplementedException();

    /// <summary>The name, or null. Changes with a rename.</summary>
    public string? Name => throw new NotImplementedException();

    /// <summary>The size in bytes, as of now: it may grow while attached.</summary>
    public ulong SizeBytes => throw new NotImplementedException();

    /// <summary>True when this host can't extend the disk.</summary>
    public bool IsReadOnly => throw new NotImplementedException();

    /// <summary>True once deleted: everything answers <see cref="IoStatus.Deleted"/>.</summary>
    public bool IsDeleted => throw new NotImplementedException();

    /// <summary>The newest version that is durable here.</summary>
    public DiskVersion Durable => throw new NotImplementedException();

    /// <summary>The newest version, durable or not.</summary>
    public DiskVersion Newest => throw new NotImplementedException();

    /// <summary>
    /// Reads sectors. Completes synchronously when nothing has to be waited for. Each page is checked; on anything but
    /// Ok the destination's contents are undefined and must not be sent.
    /// </summary>
    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>
    /// Writes sectors. Ok means: visible to every read that begins from now on, and it survives the death of the
    /// process; with <paramref name="fua"/> (or durability "write") it is durable. <paramref name="data"/> may be
    /// reused once this completes. Completes synchronously when there is room and no durability is asked.
    /// A write of up to 1 MiB is atomic; a longer one becomes several entries, in order.
    /// </summary>
    public ValueTask<IoStatus> WriteAsync(
        ulong offset, ReadOnlyMemory<byte> data, bool fua, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>Makes a range read as zeroes (trim and write-zeroes): one small entry, whatever the length.</summary>
    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>Everything that was acknowledged before this call is durable when it completes with Ok.</summary>
    public ValueTask<IoStatus> FlushAsync(CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>
    /// Appends to <paramref name="into"/> what the range holds, in order and without gaps, adjoining runs of the same
    /// content merged, at most <paramref name="maxRanges"/> runs (so it may end before the range does).
    /// </summary>
    public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into) =>
        throw new NotImplementedException();

    /// <summary>
    /// A consistent view of a range: the newest version is made durable, and every byte read through the result is of
    /// that version. Any byte alignment. Memory is bounded by the caller's limit on <paramref name="length"/>.
    /// </summary>
    public ValueTask<ConsistentRead> BeginConsistentReadAsync(
        ulong offset, ulong length, CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>
    /// Writes bytes at any alignment, durable when it completes with Ok; the sectors at the edges keep their other
    /// bytes even against concurrent writers. With <paramref name="ifNewest"/> only when that is the newest version,
    /// else <see cref="IoStatus.VersionMismatch"/>. The version is the one made (or, on a mismatch, the newest).
    /// </summary>
    public ValueTask<(IoStatus Status, DiskVersion Version)> PutAsync(
        ulong offset, ReadOnlyMemory<byte> data, Id160? ifNewest, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>
    /// Opens the history after a point. Throws <see cref="RefusalException"/>: Gone, BeyondHead, or Conflict for a
    /// version that is not in this chain.
    /// </summary>
    public ValueTask<EntryStream> OpenStreamAsync(StreamPoint after, CancellationToken cancellation) =>
        throw new NotImplementedException();

    /// <summary>Gives the disk another name, durable when it returns; null takes the name away.</summary>
    public ValueTask RenameAsync(string? name, CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>Grows the disk, durable when it returns. Shrinking is refused (Conflict).</summary>
    public ValueTask ResizeAsync(ulong sizeBytes, CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>Deletes the disk, durable when it returns. Works on a full device. Its tombstone stays.</summary>
    public ValueTask DeleteAsync(CancellationToken cancellation) => throw new NotImplementedException();

    /// <summary>A description for people and for JSON.</summary>
    public DiskStatus GetStatus() => throw new NotImplementedException();
}

/// <summary>Bytes of one version of a disk; see <see cref="Disk.BeginConsistentReadAsync"/>.</summary>
public sealed class ConsistentRead
{
    /// <summary>Ok, or why there is nothing to read; then <see cref="ReadAsync"/> must not be called.</summary>
    public IoStatus Status => throw new NotImplementedException();

    /// <summary>The version that every byte is of.</summary>
    public DiskVersion Version => throw new NotImplementedException();

    /// <summary>Reads bytes at an absolute offset within the range that was begun, any alignment.</summary>
    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation) =>
        throw new NotImplementedException();
}

/// <summary>
/// The entries of a disk after a point, as they lie in the log. One reader at a time. Holds nothing back: it reads the
/// log at its own pace and keeps one entry in memory.
/// </summary>
public sealed class EntryStream : IDisposable
{
    /// <summary>The LSN from which on the stream is whole, when it begins with dropped pages; else null.</summary>
    public ulong? WholeAt => throw new NotImplementedException();

    /// <summary>The entry's bytes, header and body; valid until the next call of <see cref="MoveNextAsync"/>.</summary>
    public ReadOnlyMemory<byte> Current => throw new NotImplementedException();

    /// <summary>
    /// Moves to the next durable entry. False at the durable head when <paramref name="wait"/> is false, and after the
    /// last entry of a deleted disk; otherwise waits for one to become durable.
    /// Throws <see cref="UnprovableEntryException"/> where the log is damaged (the connection must then be broken off),
    /// <see cref="RefusalException"/> Gone when space was reclaimed under it or Unavailable when the engine stops.
    /// </summary>
    public ValueTask<bool> MoveNextAsync(bool wait, CancellationToken cancellation) =>
        throw new NotImplementedException();

    public void Dispose()
    {
    }
}
