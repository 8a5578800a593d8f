using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Log;

/// <content>
/// The log's other end: what was closed is written and flushed, by one at a time. Mostly that is the loop; a caller that has
/// nothing else to wait for than its flush takes the loop's turn and does it on its own thread: waking another one, and being
/// woken by it, can cost as much as the disk does.
/// </content>
public sealed partial class LogWriter
{
    /// <summary>1 while somebody writes and flushes.</summary>
    private int _turn;

    /// <summary>
    /// As <see cref="FlushAsync"/>, but done on the caller's thread where nobody else is at it: it waits for the device there.
    /// </summary>
    public async ValueTask<IoStatus> FlushHereAsync()
    {
        lock (Gate)
        {
            if (_failure is null && IsDurable())
            {
                return IoStatus.Ok;
            }
        }

        if (Failure is not null || !TryTakeTurn())
        {
            return await FlushAsync();
        }

        try
        {
            await RunRoundAsync(isFlushWanted: true);
        }
        catch (Exception e)
        {
            Fail(e);
        }

        PassTurn();
        return Failure is null ? IoStatus.Ok : IoStatus.Poisoned;
    }

    /// <summary>
    /// Writes what is there without flushing it, on the caller's thread, where nobody else is at it: for who expects to be asked for a
    /// flush next, which then has that much less to do. Never throws.
    /// </summary>
    public async ValueTask WriteHereAsync()
    {
        if (Failure is not null || !TryTakeTurn())
        {
            return;
        }

        try
        {
            int jobs;
            lock (Gate)
            {
                CloseOpen(CommitContent.New);
                jobs = _jobs.Count;
            }

            await WriteJobsAsync(jobs);
        }
        catch (Exception e)
        {
            Fail(e);
        }

        PassTurn();
    }

    /// <summary>The loop. Ends after <see cref="Stop"/>, or with the log poisoned; it never throws.</summary>
    public async Task RunAsync()
    {
        try
        {
            while (!TryTakeTurn() || await RunTurnAsync())
            {
                await _wake.WaitAsync();
            }
        }
        catch (Exception e)
        {
            // Whatever it is, a log whose loop has ended must say so: else everybody who waits for it hangs.
            Fail(e);
        }
        finally
        {
            await _timer.DisposeAsync();
        }
    }

    private bool TryTakeTurn() => Interlocked.CompareExchange(ref _turn, 1, 0) == 0;

    /// <summary>Whoever came meanwhile found the turn taken: if there is something for them, it is the loop's.</summary>
    private void PassTurn()
    {
        Volatile.Write(ref _turn, 0);
        lock (Gate)
        {
            if (HasWork() || _stopping)
            {
                _wake.Set();
            }
        }
    }

    /// <summary>Rounds until nothing is left to do. False ends the loop.</summary>
    private async ValueTask<bool> RunTurnAsync()
    {
        while (true)
        {
            var stop = await RunRoundAsync(isFlushWanted: false);
            lock (Gate)
            {
                if (!HasWork())
                {
                    Volatile.Write(ref _turn, 0);
                    return !stop;
                }
            }
        }
    }

    private bool HasWork() => _jobs.Count > 0 || _pendingFlush is not null || _flushDue;

    /// <summary>
    /// One round: everything that is there now is written and, if anybody wants it, flushed. True when the log was to stop before.
    /// </summary>
    private async ValueTask<bool> RunRoundAsync(bool isFlushWanted)
    {
        bool flush;
        bool stop;
        int jobs;
        lock (Gate)
        {
            _servedFlush = _pendingFlush;
            _pendingFlush = null;
            flush = isFlushWanted || _servedFlush is not null || _flushDue;
            _flushDue = false;
            if (flush)
            {
                CloseOpen(CommitContent.New);
            }

            MaybeMark(flush);
            stop = _stopping;
            jobs = _jobs.Count;
        }

        // Not what is closed meanwhile: whoever waits for a flush would wait for all who go on writing.
        await WriteJobsAsync(jobs);
        if (flush && (_servedFlush is not null || _pipe.HasUnflushed))
        {
            await _pipe.WriteAheadAsync();
            await _pipe.FlushAsync();
        }

        _servedFlush?.TrySetResult(IoStatus.Ok);
        lock (Gate)
        {
            _servedFlush = null;
            if (!HasWork() && !stop && _pipe.Claimed < Durable && _open is null && !_timerArmed)
            {
                // At rest, one more commit says on the device that all before it is durable: so that rot in what
                // was flushed last can't be taken for a torn tail.
                _markDue = true;
                ArmTimer();
            }

            return stop;
        }
    }

    private void MaybeMark(bool due)
    {
        if (!due || !_markDue || _open is not null || _jobs.Count > 0 || _catalog is null || _stopping)
        {
            return;
        }

        _markDue = false;
        var slot = FindSlot();
        var none = default(AppendSize);
        if (slot < 0)
        {
            return;
        }

        var mark = new OpenCommit(_buffer, slot, _end, _nextSequence);
        if (Fits(mark, none))
        {
            _nextSequence++;
            _open = mark;
            _buffer.Open(slot, mark.Sequence, mark.Position, mark.Filled);
            CloseOpen(CommitContent.Mark);
        }
    }

    private async ValueTask WriteJobsAsync(int count)
    {
        for (; count > 0; count--)
        {
            LogJob job;
            lock (Gate)
            {
                job = _jobs.Dequeue();
            }

            if (job.Commit is { } commit)
            {
                await _pipe.WriteAsync(commit);
                _room.Pulse();
            }
            else
            {
                await _pipe.SealAsync(job);
                Release(job.Seal!);
            }
        }
    }

    /// <summary>The segment's headers are in its footer now: nobody looks for them here any more.</summary>
    private void Release(SegmentCatalog catalog)
    {
        lock (Gate)
        {
            _buffer.Written = _pipe.WrittenEnd;
            _sealing.Remove(catalog);
            _spare = catalog;
        }
    }
}
