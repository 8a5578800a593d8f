using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Engine;

/// <summary>
/// Keeps the log going: the next segment ready before it is needed, a checkpoint every 256 MiB of log so that recovery
/// never reads more than 512, and dead segments reclaimed, oldest first, when room is short. Woken by the log; at rest
/// it does nothing.
/// </summary>
internal sealed class Housekeeper(
    IBlockDevice device, DiskServices services, CheckpointStore checkpoints, LogPosition checkpointed) : IDisposable
{
    /// <summary>Half of what recovery may have to read: one interval may pass while a checkpoint is written.</summary>
    private const long CheckpointIntervalBytes = 256L << 20;

    /// <summary>How soon something that could not be done is tried again.</summary>
    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    private readonly AsyncSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _oneCheckpoint = new(1);
    private LogPosition _checkpointed = checkpointed;
    private bool _told;
    private long _reclaimed;
    private long _written;

    /// <summary>Segments reclaimed since the device was opened.</summary>
    public ulong Reclaimed => (ulong)Volatile.Read(ref _reclaimed);

    /// <summary>Checkpoints written since the device was opened.</summary>
    public ulong Checkpoints => (ulong)Volatile.Read(ref _written);

    /// <summary>Why it can't do its work now; null when it can.</summary>
    public string? Trouble { get; private set; }

    /// <summary>There may be something to do.</summary>
    public void Wake() => _wake.Set();

    /// <summary>The loop; ends after <see cref="Stop"/> or with the log poisoned.</summary>
    public async Task RunAsync()
    {
        try
        {
            while (services.Log.Failure is null)
            {
                var again = await WorkAsync();
                using var timeout = again ? new CancellationTokenSource(RetryDelay, services.Runtime.Time) : null;
                using var either = CancellationTokenSource.CreateLinkedTokenSource(
                    _stop.Token, timeout?.Token ?? CancellationToken.None);
                try
                {
                    await _wake.WaitAsync(either.Token);
                }
                catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
                {
                    // Time to try again.
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped.
        }
        catch (Exception e)
        {
            // Without upkeep the log would come to a stop without a word.
            services.Log.Fail(e);
        }

        TellFailure();
    }

    /// <summary>Ends the loop.</summary>
    public void Stop() => _stop.Cancel();

    /// <summary>Chooses the next segment: the one that the log's end names, if it can be had. False when another was taken.</summary>
    public async Task<bool> PrepareFirstAsync(int named)
    {
        if (named >= 0 && services.Segments.StateOf(named) == SegmentState.Free && await TryReserveAsync(named))
        {
            services.Segments.SetNext(named);
            return true;
        }

        await PrepareNextAsync();
        return false;
    }

    /// <summary>Writes a checkpoint of everything as it is now.</summary>
    /// <returns>False when there was no room for it, or the log is not durable.</returns>
    public async Task<bool> CheckpointAsync()
    {
        await _oneCheckpoint.WaitAsync();
        try
        {
            return await WriteCheckpointAsync();
        }
        finally
        {
            _oneCheckpoint.Release();
        }
    }

    public void Dispose()
    {
        _stop.Dispose();
        _oneCheckpoint.Dispose();
    }

    private async Task<bool> WriteCheckpointAsync()
    {
        // What the log takes while this is written is not in it: the segments are those at the cut, and after the flush all
        // of them but the last are sealed.
        var cut = CutLog();
        var snapshots = services.Disks.All().Select(disk => disk.Locked(DiskSnapshot.Of)).ToList();
        if (await services.Log.FlushAsync() != IoStatus.Ok)
        {
            return false;
        }

        try
        {
            await checkpoints.WriteAsync(
                services.Segments, cut, services.Log.Durable, services.Clock.NowMicros, snapshots);
        }
        catch (CheckpointSpaceException)
        {
            Trouble = "no room for a checkpoint: dead segments can't be reclaimed until something is trimmed or deleted";
            return false;
        }

        Trouble = null;
        _checkpointed = cut.RollFrom;
        Interlocked.Increment(ref _written);
        services.Segments.Reserve = SegmentTable.ReserveSegments + checkpoints.SpillsOfNewest;
        return true;
    }

    private LogCut CutLog()
    {
        lock (services.Log.Gate)
        {
            var rollFrom = services.Log.Cut();
            var segments = services.Segments.Snapshot();
            for (var i = 0; i < segments.Count; i++)
            {
                segments[i] = segments[i].Use < rollFrom.Use ? segments[i] with { State = SegmentState.Sealed } : segments[i];
            }

            return new LogCut(rollFrom, services.Log.Tail().NextSequence, services.Segments.Next, segments);
        }
    }

    /// <summary>One pass. True when something could not be done and should be tried again soon.</summary>
    private async Task<bool> WorkAsync()
    {
        var prepared = await PrepareNextAsync();
        if (services.Segments.IsShort)
        {
            await ReclaimAsync();
            prepared = await PrepareNextAsync();
        }

        if (services.Log.Tail().End.Value - _checkpointed.Value >= CheckpointIntervalBytes)
        {
            await CheckpointAsync();
        }

        return !prepared || (services.Segments.IsShort && services.Segments.ReclaimIsBlocked);
    }

    private async Task<bool> PrepareNextAsync()
    {
        if (services.Segments.Next >= 0)
        {
            return true;
        }

        var free = services.Segments.FindFree();
        if (free < 0)
        {
            return true;
        }

        if (!await TryReserveAsync(free))
        {
            // Nobody waits for room that may never come: what finds no segment is refused from now on.
            Trouble = "the file system below the device is full: writes answer ENOSPC until it has room again, or until what is "
                + "dead here can be used again; trim, delete a disk or make room there";
            services.Segments.NothingBelow = true;
            services.Log.RoomMayHaveChanged();
            return false;
        }

        Trouble = null;
        services.Segments.NothingBelow = false;
        services.Segments.SetNext(free);
        services.Log.RoomMayHaveChanged();
        return true;
    }

    private ValueTask<bool> TryReserveAsync(int segment) =>
        device.TryReserveAsync(DeviceGeometry.SegmentOffset(segment), DeviceGeometry.SegmentBytes);

    private async Task ReclaimAsync()
    {
        // A dead segment may still be needed by a checkpoint, or have died by an entry that is not durable yet: a flush and
        // two checkpoints, one for each slot, settle both.
        for (var attempt = 0; attempt < 3 && services.Segments.IsShort; attempt++)
        {
            if (ReclaimDead() > 0)
            {
                services.Segments.ReclaimIsBlocked = false;
            }
            else if (!await CheckpointAsync())
            {
                services.Segments.ReclaimIsBlocked = true;
                break;
            }
        }

        if (services.Segments.IsShort && ReclaimDead() > 0)
        {
            services.Segments.ReclaimIsBlocked = false;
        }

        services.Log.RoomMayHaveChanged();
    }

    private int ReclaimDead()
    {
        var count = 0;
        while (services.Segments.IsShort
            && services.Segments.Reclaim(services.Log.Durable, checkpoints.NeededFrom) is var use and > 0)
        {
            foreach (var disk in services.Disks.All())
            {
                disk.OnReclaimed(use);
            }

            Interlocked.Increment(ref _reclaimed);
            count++;
        }

        return count;
    }

    private void TellFailure()
    {
        if (services.Log.Failure is { } failure && !_told)
        {
            _told = true;
            services.Runtime.Report(new EngineEvent(
                EventLevel.Error,
                "poisoned",
                $"the device failed and takes nothing more until it is opened again: {failure.Message}; reads go on; check the "
                + "device, then restart the daemon"));
        }
    }
}
