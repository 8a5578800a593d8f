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

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination)
    {
        return IsHereAlone ? disk.ReadAsync(offset, destination, None)
            : GoOnAsync(disk.ReadAsync(offset, destination, None), remote => remote.ReadAsync(offset, destination, None));
    }

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua)
    {
        return IsHereAlone ? disk.WriteAsync(offset, data, fua, None)
            : GoOnAsync(disk.WriteAsync(offset, data, fua, None), remote => remote.WriteAsync(offset, data, fua, None));
    }

    public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua)
    {
        return IsHereAlone ? disk.WriteAsync(batch, fua, None)
            : GoOnAsync(disk.WriteAsync(batch, fua, None), remote => RemoteTarget.WriteAsync(remote, batch, fua));
    }

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua)
    {
        return IsHereAlone ? disk.ZeroAsync(offset, length, fua, None)
            : GoOnAsync(disk.ZeroAsync(offset, length, fua, None), remote => remote.ZeroAsync(offset, length, fua, None));
    }

    public ValueTask<IoStatus> FlushAsync() => Flush(disk.FlushAsync(CancellationToken.None));

    public ValueTask<IoStatus> FlushHereAsync() => Flush(disk.FlushHereAsync());

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

    private ValueTask<IoStatus> Flush(ValueTask<IoStatus> here) =>
        IsHereAlone ? here : GoOnAsync(here, remote => remote.FlushAsync(CancellationToken.None));

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
