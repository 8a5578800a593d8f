using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>
/// A disk as a target. Nothing is cancelled from here: a request that was taken is carried out, whether or not its
/// client waits for the answer.
/// </summary>
internal sealed class DiskTarget(Disk disk) : IBlockTarget
{
    public string Id { get; } = disk.Id.ToString();

    public string? Name => disk.Name;

    public ulong SizeBytes => disk.SizeBytes;

    public bool IsReadOnly => disk.IsReadOnly;

    public string Description => IsReadOnly ? $"CloudFS disk {Id}, read-only here" : $"CloudFS disk {Id}";

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination) =>
        disk.ReadAsync(offset, destination, CancellationToken.None);

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua) =>
        disk.WriteAsync(offset, data, fua, CancellationToken.None);

    public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua) => disk.WriteAsync(batch, fua, CancellationToken.None);

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua) =>
        disk.ZeroAsync(offset, length, fua, CancellationToken.None);

    public ValueTask<IoStatus> FlushAsync() => disk.FlushAsync(CancellationToken.None);

    public ValueTask<IoStatus> FlushHereAsync() => disk.FlushHereAsync();

    public void PrepareFlush()
    {
        var prepared = disk.PrepareFlushAsync();
        if (!prepared.IsCompletedSuccessfully)
        {
            prepared.AsTask().GetAwaiter().GetResult();
        }
    }

    public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        // The caller is a connection's own thread: it may wait for a page of the index.
        var described = disk.DescribeAsync(offset, length, maxRanges, into);
        return described.IsCompletedSuccessfully ? described.Result : described.AsTask().GetAwaiter().GetResult();
    }
}
