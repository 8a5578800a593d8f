using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Engine;

/// <summary>
/// Keeps the log going: the next segment ready before it is needed, checkpoints by bytes of log and by time, and space that
/// comes back when room gets short. One loop does all of it, so that nothing of it can get in another's way. Woken by the
/// log; at rest it does nothing.
/// </summary>
internal sealed class Housekeeper(
    IBlockDevice device, DiskServices services, Checkpointer checkpointer, Compactor compactor) : IDisposable
{
    /// <summary>Half of what recovery may have to read: one interval may pass while a checkpoint is written.</summary>
    public const long CheckpointIntervalBytes = 256L << 20;

    /// <summary>Extents in memory that a checkpoint is due at, whatever the log has grown: 16 MiB of them.</summary>
    private const int LayerExtentsMax = 256 << 10;

    /// <summary>How many free segments are tried before the file system below is taken to be full.</summary>
    private const int CandidatesMax = 1024;

    /// <summary>How old a checkpoint gets while the log grows.</summary>
    private static readonly TimeSpan CheckpointInterval = TimeSpan.FromSeconds(60);

    /// <summary>How soon something that could not be done is tried again.</summary>
    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    private readonly AsyncSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private DateTimeOffset _checkpointedAt = services.Runtime.Time.GetUtcNow();
    private readonly System.Collections.Concurrent.ConcurrentQueue<TaskCompletionSource<bool>> _compact = new();
    private bool _told;
    private bool _ended;

    /// <summary>Why it can't do its work now; null when it can.</summary>
    public string? Trouble => _belowIsFull ?? checkpointer.Trouble;

    private string? _belowIsFull;

    /// <summary>There may be something to do.</summary>
    public void Wake() => _wake.Set();

    /// <summary>The loop; ends after <see cref="Stop"/> or with the log poisoned.</summary>
    public async Task RunAsync()
    {
        // A cycle of compaction takes long: the log's next segment can't wait for its end.
        compactor.Meanwhile = PrepareNextAsync;
        try
        {
            while (services.Log.Failure is null)
            {
                await WaitAsync(await WorkAsync());
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
        catch (Exception e)
        {
            // Without upkeep the log would come to a stop without a word.
            services.Log.Fail(e);
        }

        Volatile.Write(ref _ended, true);
        RefuseCompaction();
        TellFailure();
    }

    /// <summary>Ends the loop.</summary>
    public void Stop() => _stop.Cancel();

    /// <summary>Has one cycle of compaction done, however much is free.</summary>
    /// <returns>False when there was nothing to compact, or it could not be.</returns>
    public Task<bool> CompactAsync()
    {
        var asked = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        _compact.Enqueue(asked);
        _wake.Set();
        if (Volatile.Read(ref _ended))
        {
            RefuseCompaction();
        }

        return asked.Task;
    }

    private void RefuseCompaction()
    {
        while (_compact.TryDequeue(out var asked))
        {
            asked.TrySetResult(false);
        }
    }

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

    public void Dispose() => _stop.Dispose();

    /// <summary>One pass. How soon there is to be another one though nobody wakes it; null for not at all.</summary>
    private async Task<TimeSpan?> WorkAsync()
    {
        if (services.IndexIsDamaged)
        {
            await checkpointer.GiveUpIndexAsync();
        }

        var prepared = await PrepareNextAsync();
        if (IsCheckpointDue(out var dueIn))
        {
            _checkpointedAt = services.Runtime.Time.GetUtcNow();
            await checkpointer.WriteAsync();
        }

        // Answered only when it is done: one that is cut off is refused when the loop ends.
        while (_compact.TryPeek(out var asked))
        {
            asked.TrySetResult(await checkpointer.WriteAsync() && await compactor.ForceAsync(_stop.Token));
            _compact.TryDequeue(out _);
        }

        var compacted = await compactor.RunAsync(_stop.Token);
        if (compacted == CompactionOutcome.Freed)
        {
            await PrepareNextAsync();
        }

        return compacted == CompactionOutcome.Freed ? TimeSpan.Zero
            : !prepared || compacted == CompactionOutcome.Blocked ? RetryDelay
            : dueIn;
    }

    private bool IsCheckpointDue(out TimeSpan? dueIn)
    {
        var grown = services.Log.Tail().End.Value - checkpointer.RollFrom.Value;
        dueIn = null;
        if (grown == 0)
        {
            return false;
        }

        var now = services.Runtime.Time.GetUtcNow();
        if (checkpointer.WasRefused)
        {
            // What is due is due as soon as it may be tried again.
            dueIn = checkpointer.NotBefore > now ? checkpointer.NotBefore - now : TimeSpan.FromSeconds(1);
            return checkpointer.NotBefore <= now;
        }

        var age = now - _checkpointedAt;
        dueIn = age < CheckpointInterval ? CheckpointInterval - age : CheckpointInterval;
        return grown >= CheckpointIntervalBytes || age >= CheckpointInterval || LayerExtents() > LayerExtentsMax;
    }

    private int LayerExtents() => services.Disks.All().Sum(disk => disk.Locked(state => state.Map.LayerExtents));

    private async Task WaitAsync(TimeSpan? again)
    {
        if (again == TimeSpan.Zero)
        {
            _stop.Token.ThrowIfCancellationRequested();
            return;
        }

        using var timeout = again is { } delay ? new CancellationTokenSource(delay, services.Runtime.Time) : null;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, timeout?.Token ?? CancellationToken.None);
        try
        {
            await _wake.WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            // Time to try again.
        }
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
            var candidates = services.Segments.FindUnbacked(CandidatesMax);
            if (candidates.Count == 0)
            {
                return true;
            }

            free = await ReserveOneAsync(candidates);
            NoteBelow(isFull: free < 0);
        }

        if (free < 0)
        {
            return false;
        }

        services.Segments.SetNext(free);
        services.Log.RoomMayHaveChanged();
        return true;
    }

    /// <summary>The first of these whose blocks can be had: a segment that was used before a restart lies on blocks already.</summary>
    private async Task<int> ReserveOneAsync(List<int> candidates)
    {
        foreach (var candidate in candidates)
        {
            if (await TryReserveAsync(candidate))
            {
                return candidate;
            }
        }

        return -1;
    }

    private void NoteBelow(bool isFull)
    {
        _belowIsFull = isFull
            ? "the file system below the device is full: writes answer ENOSPC until it has room again, or until what is dead here "
                + "can be used again; trim, delete a disk or make room there"
            : null;
        if (services.Segments.NothingBelow != isFull)
        {
            services.Segments.NothingBelow = isFull;
            services.Log.RoomMayHaveChanged();
        }
    }

    private ValueTask<bool> TryReserveAsync(int segment) =>
        device.TryReserveAsync(DeviceGeometry.SegmentOffset(segment), DeviceGeometry.SegmentBytes);

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
