using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>
/// A disk as a target. Nothing is cancelled from here: a request that was taken is carried out, whether or not its
/// client waits for the answer. Where another host is the disk's primary, or becomes it while a client is attached, requests go on there.
/// </summary>
internal sealed class DiskTarget(Disk disk, Forwarding? elsewhere = null) : IBlockTarget
{
    private static CancellationToken None => CancellationToken.None;

    public string Id { get; } = disk.Id.ToString();

    public string? Name => disk.Name;

    public ulong SizeBytes => disk.SizeBytes;

    public bool IsReadOnly => disk.IsReadOnly && elsewhere is not { IsElsewhere: true };

    public string Description => elsewhere is { IsElsewhere: true } ? $"CloudFS disk {Id}, through its primary"
        : IsReadOnly ? $"CloudFS disk {Id}, read-only here" : $"CloudFS disk {Id}";

    // What captures its arguments is in methods of its own: a closure is made where they come in, and a disk on one host needs none.
    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination) =>
        IsHereAlone ? disk.ReadAsync(offset, destination, None) : ReadSomewhere(offset, destination);

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua) =>
        IsHereAlone ? disk.WriteAsync(offset, data, fua, None) : WriteSomewhere(offset, data, fua);

    public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua) =>
        IsHereAlone ? disk.WriteAsync(batch, fua, None) : WriteSomewhere(batch, fua);

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua) =>
        IsHereAlone ? disk.ZeroAsync(offset, length, fua, None) : ZeroSomewhere(offset, length, fua);

    public ValueTask<IoStatus> FlushAsync() => IsHereAlone ? disk.FlushAsync(None) : FlushSomewhere(disk.FlushAsync(None));

    public ValueTask<IoStatus> FlushHereAsync() => IsHereAlone ? disk.FlushHereAsync() : FlushSomewhere(disk.FlushHereAsync());

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
        // The caller is a connection's own thread: it may wait for a page of the index, or for another host.
        if (elsewhere is { IsElsewhere: true })
        {
            try
            {
                return RemoteTarget.Describe(elsewhere.OpenAsync().GetAwaiter().GetResult(), offset, length, maxRanges, into);
            }
            catch (IOException)
            {
                return IoStatus.Unreachable;
            }
        }

        var described = disk.DescribeAsync(offset, length, maxRanges, into);
        return described.IsCompletedSuccessfully ? described.Result : described.AsTask().GetAwaiter().GetResult();
    }

    private ValueTask<IoStatus> ReadSomewhere(ulong offset, Memory<byte> destination) =>
        GoOnAsync(disk.ReadAsync(offset, destination, None), remote => remote.ReadAsync(offset, destination, None));

    private ValueTask<IoStatus> WriteSomewhere(ulong offset, ReadOnlyMemory<byte> data, bool fua) =>
        GoOnAsync(disk.WriteAsync(offset, data, fua, None), remote => remote.WriteAsync(offset, data, fua, None));

    private ValueTask<IoStatus> WriteSomewhere(WriteBatch batch, bool fua) =>
        GoOnAsync(disk.WriteAsync(batch, fua, None), remote => RemoteTarget.WriteAsync(remote, batch, fua));

    private ValueTask<IoStatus> ZeroSomewhere(ulong offset, ulong length, bool fua) =>
        GoOnAsync(disk.ZeroAsync(offset, length, fua, None), remote => remote.ZeroAsync(offset, length, fua, None));

    private ValueTask<IoStatus> FlushSomewhere(ValueTask<IoStatus> here) => GoOnAsync(here, remote => remote.FlushAsync(None));

    /// <summary>A disk on one host is the usual case, and costs nothing here.</summary>
    private bool IsHereAlone => elsewhere is null || !disk.IsOnSeveralHosts;

    private async ValueTask<IoStatus> GoOnAsync(ValueTask<IoStatus> here, Func<Core.Replication.RemoteDisk, ValueTask<IoStatus>> there)
    {
        var status = await here;
        if (status is not (IoStatus.ReadOnly or IoStatus.Stopped or IoStatus.Fenced) || !elsewhere!.IsElsewhere)
        {
            return status;
        }

        try
        {
            return await there(await elsewhere.OpenAsync());
        }
        catch (IOException)
        {
            return IoStatus.Unreachable;
        }
    }
}
