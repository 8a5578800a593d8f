using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>The other hosts' side: what is here of a disk whose primary is elsewhere.</content>
internal sealed partial class Group
{
    /// <summary>More are not looked at for a view in common.</summary>
    private const int MarksTold = 64;

    private ViewMark _witnessed;

    /// <summary>Whom this host was told to have the disk from, before it has a view that says so.</summary>
    public Id160 ToldPrimary { get; set; }

    /// <summary>When it was told so last, by the hub's clock.</summary>
    public long ToldAt { get; set; }

    /// <summary>What follows on a link; null while nothing does.</summary>
    public Following? Following { get; set; }

    /// <summary>When following is to be tried again, by the hub's clock.</summary>
    public long RetryAt { get; set; }

    public int Failures { get; set; }

    /// <summary>True for a witness that has a view: it was named with this device when it was given it.</summary>
    public bool IsWitness => Role == GroupRole.Witness && _witnessed.Lsn > 0;

    /// <summary>The newest promise of this host, or the newest view's ballot if that is higher.</summary>
    public Ballot Promised
    {
        get
        {
            var promised = Disk?.Promised ?? _hub.PromisedOf(Id);
            var view = Ballot;
            return promised > view ? promised : view;
        }
    }

    /// <summary>Where the primary said that the right to write went, until a view says so.</summary>
    public Id160 Redirect { get; set; }

    /// <summary>True once the primary said that what is here is not in the disk's chain.</summary>
    public bool IsForked { get; set; }

    /// <summary>The host to follow: of the highest ballot that was promised or accepted (PROTOCOL.md, 7).</summary>
    public Id160 PrimaryHost => !Redirect.IsZero ? Redirect
        : !ToldPrimary.IsZero ? ToldPrimary
        : Told > Promised ? Told.Primary

        // What it promised itself as a candidate, the primary of the newest view must hear of, and run above it (PROTOCOL.md, 2).
        : Promised.Primary == _hub.HostId && Role != GroupRole.Primary ? Ballot.Primary : Promised.Primary;

    /// <summary>The ballot that the primary named when it agreed to be followed: what is behind is of older ones.</summary>
    public Ballot Told { get; set; }

    /// <summary>Whom this host asked is not the primary, and has a view of that ballot.</summary>
    public void NoteElsewhere(Ballot ballot)
    {
        Redirect = default;
        if (ballot.Primary == _hub.HostId || ballot <= Ballot)
        {
            return;
        }

        Told = ballot > Told ? ballot : Told;
        ToldPrimary = ToldPrimary.IsZero ? default : ballot.Primary;
    }

    public FollowAsk AskNow()
    {
        if (Disk is { } disk)
        {
            var (head, views) = disk.Locked(state => (state.Head, state.Views.TakeLast(MarksTold).ToArray()));
            return new FollowAsk(Id, Promised, head.Lsn, head.Id, disk.IsCopying, views);
        }

        lock (_lock)
        {
            return new FollowAsk(Id, Promised, _witnessed.Lsn, _witnessed.Id, false, _witnessed.Lsn == 0 ? [] : [_witnessed]);
        }
    }

    public (ulong Received, DiskVersion Durable) Progress()
    {
        if (Disk is { } disk)
        {
            return disk.IsCopying ? default : (disk.Newest.Lsn, disk.DurableHere);
        }

        lock (_lock)
        {
            return (_witnessed.Lsn, new DiskVersion(_witnessed.Lsn, _witnessed.Id));
        }
    }

    public Disk DiskOrNew(DiskServices services)
    {
        if (Disk is { } disk)
        {
            return disk;
        }

        disk = new Disk(services, new DiskState(services.Segments) { Promised = services.Remembered.Of(Id).Promised }) { Group = this };
        Disk = disk;
        return disk;
    }

    /// <summary>The primary says what is committed.</summary>
    public void NoteCommitted(ulong committed)
    {
        bool shown;
        lock (_lock)
        {
            Volatile.Write(ref _committed, Math.Max(_committed, committed));
            if (Role == GroupRole.Replica && _newest >= committed)
            {
                // Up to date: from here on the views say whom to follow.
                ToldPrimary = default;
            }

            shown = _shownUpTo != ulong.MaxValue && _views.Count > 0 && _views[^1].Lsn <= _committed;
            if (shown)
            {
                Volatile.Write(ref _shownUpTo, ulong.MaxValue);
            }
        }

        if (shown)
        {
            Disk?.OnShown();
            _hub.Changed();
        }
    }

    public async ValueTask<string?> TakeViewAsync(ViewBody view, ViewMark mark)
    {
        var status = await _hub.RememberViewAsync(Id, mark);
        if (status != IoStatus.Ok)
        {
            return $"the view of ballot {mark.Ballot} could not be kept ({status})";
        }

        lock (_lock)
        {
            _witnessed = mark;
        }

        NoteView(view, mark.Lsn, mark.Lsn);
        return null;
    }

    public void RestoreWitnessed(ViewMark mark)
    {
        lock (_lock)
        {
            _witnessed = mark;
            _newest = _durable = mark.Lsn;
            // Who else is named it hears again with the next view; whom to follow, and below what to promise nothing, it knows.
            Told = mark.Ballot;
            _views.Add(new GroupView(mark.Lsn, mark.Ballot, []));
            Role = GroupRole.Witness;
        }
    }
}
