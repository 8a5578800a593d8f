using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// One client's session with a disk whose primary is another host. What was acknowledged and not flushed is remembered by its newest version; a
/// primary that comes back without it ends the session: every call then gives <see cref="IoStatus.Stopped"/> (PROTOCOL.md, 15). While the primary can't be
/// reached, requests wait, up to the disk's patience, then fail with <see cref="IoStatus.Unreachable"/>. Any thread.
/// </summary>
public sealed class RemoteDisk : IAsyncDisposable
{
    public Id160 Id => default;

    public string? Name => null;

    public ulong SizeBytes => 0;

    /// <summary>True once the session has ended for good.</summary>
    public bool IsBroken => false;

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation) => throw new InvalidOperationException();

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua, CancellationToken cancellation) => throw new InvalidOperationException();

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua, CancellationToken cancellation) => throw new InvalidOperationException();

    public ValueTask<IoStatus> FlushAsync(CancellationToken cancellation) => throw new InvalidOperationException();

    public ValueTask<IoStatus> DescribeAsync(ulong offset, ulong length, int maxRanges, List<DiskRange> into) => throw new InvalidOperationException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
