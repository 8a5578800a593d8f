using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>A disk whose primary is another host, as a target: this daemon asks it, and stays connected.</summary>
internal sealed class RemoteTarget(RemoteDisk disk) : IBlockTarget
{
    public string Id { get; } = disk.Id.ToString();

    public string? Name => disk.Name;

    public ulong SizeBytes => disk.SizeBytes;

    public bool IsReadOnly => false;

    public string Description => $"CloudFS disk {Id}, through {disk.Through}";

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination) =>
        disk.ReadAsync(offset, destination, CancellationToken.None);

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua) =>
        disk.WriteAsync(offset, data, fua, CancellationToken.None);

    public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua) => WriteAsync(disk, batch, fua);

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua) =>
        disk.ZeroAsync(offset, length, fua, CancellationToken.None);

    public ValueTask<IoStatus> FlushAsync() => disk.FlushAsync(CancellationToken.None);

    public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into) =>
        Describe(disk, offset, length, maxRanges, into);

    /// <summary>All of a batch, side by side: they overlap nowhere.</summary>
    internal static async ValueTask<IoStatus> WriteAsync(RemoteDisk disk, WriteBatch batch, bool fua)
    {
        // What is needed of the batch is taken before the first wait: its owner may use it again then.
        var data = batch.Data;
        var writes = batch.Writes.Select(write =>
            disk.WriteAsync(write.Offset, data.Slice(write.Start, write.Length), fua, CancellationToken.None).AsTask()).ToArray();
        var worst = IoStatus.Ok;
        foreach (var write in writes)
        {
            var status = await write;
            worst = worst == IoStatus.Ok ? status : worst;
        }

        return worst;
    }

    internal static IoStatus Describe(RemoteDisk disk, ulong offset, ulong length, int maxRanges, List<DiskRange> into) =>
        disk.DescribeAsync(offset, length, maxRanges, into).AsTask().GetAwaiter().GetResult();
}
