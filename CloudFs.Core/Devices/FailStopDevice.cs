namespace CloudFs.Core.Devices;

/// <summary>
/// A device that takes nothing more once a flush failed. The kernel tells a failed flush once, to whoever asked
/// first, and then says that all is well: so flushes go one at a time, and after a failure none is asked again, whoever it
/// is that would ask (the log, or a checkpoint). A write that failed is as final, but for one whose place alone is bad: that
/// is for the writer to put elsewhere.
/// </summary>
internal sealed class FailStopDevice(IBlockDevice device) : IBlockDevice
{
    private readonly SemaphoreSlim _oneFlush = new(1);
    private volatile DeviceException? _failure;

    public ulong Length => device.Length;

    public int PhysicalBlock => device.PhysicalBlock;

    public ValueTask ReadAsync(ulong offset, Memory<byte> destination) => device.ReadAsync(offset, destination);

    public void Prefetch(ulong offset, int length) => device.Prefetch(offset, length);

    public async ValueTask WriteAsync(ulong offset, ReadOnlyMemory<byte> source)
    {
        ThrowIfFailed();
        try
        {
            await device.WriteAsync(offset, source);
        }
        catch (DeviceException e) when (!e.IsBadPlace)
        {
            _failure ??= e;
            throw;
        }
    }

    public async ValueTask FlushAsync()
    {
        await _oneFlush.WaitAsync();
        try
        {
            ThrowIfFailed();
            await device.FlushAsync();
        }
        catch (DeviceException e)
        {
            _failure ??= e;
            throw;
        }
        finally
        {
            _oneFlush.Release();
        }
    }

    public ValueTask<bool> TryReserveAsync(ulong offset, ulong length) => device.TryReserveAsync(offset, length);

    public (ulong Offset, ulong Length) FindUnwritten(ulong offset, ulong length) => device.FindUnwritten(offset, length);

    public void UndoGrowth() => device.UndoGrowth();

    public void Dispose()
    {
        device.Dispose();
        _oneFlush.Dispose();
    }

    private void ThrowIfFailed()
    {
        if (_failure is { } failure)
        {
            throw new DeviceException(failure.Message, failure);
        }
    }
}
