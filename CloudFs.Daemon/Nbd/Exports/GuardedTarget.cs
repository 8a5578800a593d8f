using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Transmission;

namespace CloudFs.Daemon.Nbd.Exports;

/// <summary>
/// Turns an exception that a target throws at the call into a status: it answers one request with EIO and is logged.
/// Without it a defect behind one request would end every request of the connection.
/// </summary>
internal sealed class GuardedTarget(IBlockTarget inner, ILogger log, LogThrottle defects) : IBlockTarget
{
    public string Id => inner.Id;

    public string? Name => inner.Name;

    public ulong SizeBytes => inner.SizeBytes;

    public bool IsReadOnly => inner.IsReadOnly;

    public string Description => inner.Description;

    public ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination)
    {
        try
        {
            return inner.ReadAsync(offset, destination);
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua)
    {
        try
        {
            return inner.WriteAsync(offset, data, fua);
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua)
    {
        try
        {
            return inner.WriteAsync(batch, fua);
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua)
    {
        try
        {
            return inner.ZeroAsync(offset, length, fua);
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public ValueTask<IoStatus> FlushAsync()
    {
        try
        {
            return inner.FlushAsync();
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public ValueTask<IoStatus> FlushHereAsync()
    {
        try
        {
            return inner.FlushHereAsync();
        }
        catch (Exception e)
        {
            return new ValueTask<IoStatus>(Unexpected(e));
        }
    }

    public void PrepareFlush()
    {
        try
        {
            inner.PrepareFlush();
        }
        catch (Exception e)
        {
            // The flush itself will say what is wrong, if it comes.
            Unexpected(e);
        }
    }

    public IoStatus Describe(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        try
        {
            return inner.Describe(offset, length, maxRanges, into);
        }
        catch (Exception e)
        {
            return Unexpected(e);
        }
    }

    /// <summary>The result of a task that has ended, with an exception turned into a status.</summary>
    public IoStatus Result(in System.Runtime.CompilerServices.ValueTaskAwaiter<IoStatus> ended)
    {
        try
        {
            return ended.GetResult();
        }
        catch (Exception e)
        {
            return Unexpected(e);
        }
    }

    private IoStatus Unexpected(Exception e)
    {
        if (defects.TryPass(out var untold))
        {
            log.RequestFailed(e, inner.Id, LogThrottle.Tell(untold));
        }

        return NbdErrorMap.Unexpected;
    }
}
