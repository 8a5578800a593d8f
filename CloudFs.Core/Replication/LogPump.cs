using CloudFs.Core.Disks;
using CloudFs.Core.Log;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// Reads the log for a replica that is behind what is in memory, beside the link's loops, until it is in step. Two pieces are in memory
/// at a time, and no more is read than
/// the replica takes.
/// </summary>
internal sealed class LogPump(ReplicationHub hub, Group group, Feed feed, Disk disk)
{
    private const int PieceBytes = 512 << 10;

    private readonly AsyncSignal _taken = new();
    private readonly Lock _lock = new();
    private FrameWriter _piece = new();
    private FrameWriter _spare = new();
    private (ulong Last, int Count, bool IsState) _ready;
    private bool _hasPiece;

    /// <summary>True while what is left of a long history is sent.</summary>
    public bool IsState { get; private set; }

    public void Start() => hub.Spawn(RunAsync);

    /// <summary>Its feed is detached: it must not wait for a piece to leave that never will.</summary>
    public void Wake() => _taken.Set();

    /// <summary>Puts the piece that is ready, if there is one. Under the group's lock, on the link's writing loop.</summary>
    public bool Fill(FrameWriter into, ulong committed, Ballot ballot, bool sync)
    {
        lock (_lock)
        {
            if (!_hasPiece || feed.UnacknowledgedBytes >= Group.WindowBytes)
            {
                return false;
            }

            var start = into.Count;
            EntriesFrame.Begin(into, group.Id, committed, ballot);
            into.Put(_piece.Written.Span);
            var flags = (sync ? EntriesFlags.Sync : EntriesFlags.None) | (_ready.IsState ? EntriesFlags.State : EntriesFlags.None);
            EntriesFrame.End(into, start, _ready.Count, flags);
            feed.NoteSent(_ready.Last, into.Count - start);
            _hasPiece = false;
        }

        _taken.Set();
        return false;
    }

    private async Task RunAsync()
    {
        try
        {
            await PumpAsync();
        }
        catch (RefusalException refused)
        {
            group.FailFeed(feed, refused.Message);
        }
        catch (UnprovableEntryException damaged)
        {
            group.FailFeed(feed, damaged.Message);
        }
        catch (OperationCanceledException)
        {
            group.FailFeed(feed, "the daemon is stopping");
        }
    }

    private async Task PumpAsync()
    {
        var next = feed.Next;
        var source = await OpenAsync(next);
        while (!feed.IsDetached)
        {
            var count = 0;
            var isState = IsState;
            while (_spare.Count < PieceBytes && await source.MoveNextAsync(wait: false, hub.Stopping))
            {
                var entry = source.Current;
                var wire = WireEntry.LengthOf(entry.Span);
                WireEntry.Write(entry.Span, _spare.Room(wire));
                count++;
                next = Math.Max(next, EntryAddress.ClaimedLsn(entry.Span) + 1);
            }

            if (count > 0)
            {
                await HandOverAsync(next - 1, count, isState);
                continue;
            }

            // Not past a piece that has not left yet.
            await TakenAsync();
            if (group.TryGoLive(feed, next))
            {
                return;
            }

            // What is neither durable nor in memory is durable in a moment.
            var flushed = await disk.FlushLogAsync();
            if (flushed != IoStatus.Ok)
            {
                throw new RefusalException(Refusal.Unavailable, "the primary's device takes nothing more");
            }

        }
    }

    private async ValueTask<IEntrySource> OpenAsync(ulong next)
    {
        if (!feed.IsCopying && next >= disk.Locate(next).Oldest)
        {
            return disk.FeedAfter(next - 1);
        }

        IsState = true;
        var version = next == 1 ? (DiskVersion?)null : feed.From;
        return await disk.OpenStateAsync(version, hub.Stopping);
    }

    private async ValueTask TakenAsync()
    {
        while (!feed.IsDetached)
        {
            lock (_lock)
            {
                if (!_hasPiece)
                {
                    return;
                }
            }

            await _taken.WaitAsync(hub.Stopping);
        }
    }

    private async ValueTask HandOverAsync(ulong last, int count, bool isState)
    {
        await TakenAsync();
        lock (_lock)
        {
            (_piece, _spare) = (_spare, _piece);
            _spare.Clear();
            _ready = (last, count, isState);
            _hasPiece = true;
        }

        feed.Link.Ready(feed);
    }
}
