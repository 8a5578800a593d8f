using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <content>What replication asks of a disk.</content>
public sealed partial class Disk
{
    /// <summary>
    /// Where it lies on other hosts too, and what they must say before clients are answered; null for a disk on this host alone.
    /// </summary>
    internal IDiskGroup? Group
    {
        get => _group;
        set => _group = value;
    }

    /// <summary>The newest version that is durable here, shown or not.</summary>
    internal DiskVersion DurableHere => Locked(_ => _durable);

    internal ChainHead Head => Locked(state => state.Head);

    internal Durability DurabilityNow => Locked(state => state.Head.Attributes?.Durability ?? Durability.Flush);

    /// <summary>For how long requests wait for too few replicas; zero for ever.</summary>
    internal TimeSpan Patience => Locked(state => state.Head.Attributes?.Patience) ?? DefaultPatience;

    /// <summary>How long requests wait for too few replicas unless the disk says otherwise.</summary>
    public static readonly TimeSpan DefaultPatience = TimeSpan.FromSeconds(120);

    /// <summary>True when the disk lies on other hosts too, or is about to.</summary>
    public bool IsOnSeveralHosts => _group is not null;

    /// <summary>The highest ballot that this host has promised for the disk.</summary>
    internal Ballot Promised => Locked(state => state.Promised);

    /// <summary>
    /// Promises a ballot, in one step (PROTOCOL.md, 1): from here on nothing of a lower one is appended by any way; what was received
    /// is made durable, then the
    /// promise; then the head is read. Refused where a ballot as high was promised or accepted; the same one again is granted again.
    /// </summary>
    internal async ValueTask<PromiseAnswer> PromiseAsync(Ballot ballot, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        bool isNew;
        lock (_gate)
        {
            var view = _state.Head.Ballot;
            if (_state.IsCopying || ballot <= view || ballot < _state.Promised)
            {
                return new PromiseAnswer(
                    false, view > _state.Promised ? view : _state.Promised, view, _state.Head.Lsn, _state.Head.Id);
            }

            isNew = _services.Remembered.Of(_state.Head.Disk).Promised != ballot;
            _state.Promised = _services.Runtime.Planted == PlantedBug.IgnoreFence ? _state.Promised : ballot;
        }

        var status = await _services.Log.FlushAsync();
        if (status == IoStatus.Ok && isNew)
        {
            status = await _services.Remembered.WriteAsync(_services, RememberedDisks.Promise(Id, ballot));
        }

        var head = Head;
        var stands = Promised == ballot || _services.Runtime.Planted == PlantedBug.IgnoreFence;
        return new PromiseAnswer(status == IoStatus.Ok && stands, Promised, head.Ballot, head.Lsn, head.Id);
    }

    /// <summary>True while it is being copied from another host: it answers nothing until it is whole (PROTOCOL.md, 4).</summary>
    public bool IsCopying => Locked(state => state.IsCopying);

    /// <summary>From here on, or from here no more, entries come by a copy alone. Gives the head as it is then.</summary>
    internal ChainHead SetCopying(bool isCopying, ulong historyFrom = 0)
    {
        lock (_gate)
        {
            _state.IsCopying = isCopying;
            _state.Lsns.ForgetBefore(historyFrom);
            return _state.Head;
        }
    }

    /// <summary>Sectors that the sender of a copy has not, either.</summary>
    internal void NoteCopyLost(in LostRun run)
    {
        lock (_gate)
        {
            _state.ApplyLost(run.Lba, run.Sectors, run.Lsn);
        }
    }

    /// <exception cref="RefusalException">Unavailable: it is being copied.</exception>
    private void RequireWhole()
    {
        var (isCopying, lsn) = Locked(state => (state.IsCopying, state.Head.Lsn));
        if (isCopying)
        {
            throw new RefusalException(
                Refusal.Unavailable, $"the disk is being copied to this host, which has it up to LSN {lsn}: try again once it is whole");
        }
    }

    /// <summary>This host's copy is given up: everything answers as of a deleted disk.</summary>
    internal void Drop()
    {
        lock (_gate)
        {
            _state.Drop();
        }

        Stop();
    }

    /// <summary>A checkpoint is without it.</summary>
    internal void ReleasePins()
    {
        lock (_gate)
        {
            _state.ReleasePins();
        }
    }

    /// <summary>What is appended here is durable when this ends with Ok, whatever other hosts do.</summary>
    internal ValueTask<IoStatus> FlushLogAsync() => _services.Log.FlushAsync();

    /// <summary>The same on this thread, where nobody else is at it.</summary>
    internal ValueTask<IoStatus> FlushLogHereAsync() => _services.Log.FlushHereAsync();

    /// <summary>More may be shown than before.</summary>
    internal void OnShown() => _durableChanged.Pulse();

    /// <summary>
    /// What replicas are sent from the log: every durable entry after an LSN. Gone where that is no longer in the history.
    /// </summary>
    internal EntryStream FeedAfter(ulong lsn) => new(this, _services, NewCursor(), lsn, showsAll: true);

    /// <summary>Appends an entry of the primary of that ballot, which was proved and found to extend the head that it names.</summary>
    internal AppendOutcome TakeFollowed(
        ReadOnlySpan<byte> entry, in EntryHeader fields, EntryBodyParsed? body, Id160 expected, Ballot source) =>
        _appender.TryAppendRaw(entry, fields, body, expected, source: source);

    /// <summary>Appends the first entry, made by who chose the disk's hosts; with its secret where this host is its primary.</summary>
    internal AppendOutcome TakeFirst(ReadOnlySpan<byte> entry, in EntryHeader fields, EntryBodyParsed body, Id160? secret) =>
        _appender.TryAppendRaw(
            entry, fields, body, default,
            secret is { } own ? new DeviceRecord(DeviceRecordType.ViewSecret, fields.Disk, body.View!.View, own) : null,
            source: body.View!.Ballot);

    /// <summary>The secret of the view in force, which its primary hands over.</summary>
    internal void TakeSecret(Id160 secret)
    {
        lock (_gate)
        {
            _state.Secret = secret;
        }
    }

    /// <summary>What is here, whoever the primary is: for those who compare copies.</summary>
    internal ValueTask<IoStatus> ReadHereAsync(ulong offset, Memory<byte> destination) =>
        _reader.ReadAsync(offset / EntryLayout.SectorSize, destination);

    /// <summary>
    /// One page of an entry of which the disk still reads a sector; null where it reads none, or the page can't be proved.
    /// One that is damaged here, too, is not asked of others: they may be those who ask.
    /// </summary>
    internal async ValueTask<byte[]?> ReadPageAsync(ulong lsn, ulong lba, uint sectors)
    {
        const int LooksMax = 3;
        var found = new MappedExtent[EntryLayout.PageSectors];
        var bytes = new byte[sectors * EntryLayout.SectorSize];
        for (var look = 0; look < LooksMax; look++)
        {
            var (status, count) = await _reader.LookUpAsync(lba, lba + sectors, found);
            var read = found.Take(count).FirstOrDefault(extent => extent.Lsn == lsn && extent.Content == MappedContent.Data);
            if (status != TreeRead.Ok || read.Sectors == 0)
            {
                return null;
            }

            var outcome = await _services.Pages.ReadAsync(read with { Lba = lba, Sectors = sectors }, Id, bytes);
            if (outcome.Status != LogRead.Reclaimed)
            {
                return outcome.Status == LogRead.Ok ? bytes : null;
            }
        }

        return null;
    }

    /// <summary>True when that version is in the chain here.</summary>
    internal async ValueTask<bool> HoldsAsync(DiskVersion version)
    {
        var newest = Newest;
        if (version.Lsn >= newest.Lsn)
        {
            return version == newest;
        }

        var cursor = NewCursor();
        return Locate(version.Lsn).Use is { } use && await cursor.FindAsync(use, version.Lsn) && cursor.Fields.Id == version.Id;
    }

    /// <summary>True when any view of this disk, however old, named that host with that device.</summary>
    internal async ValueTask<bool> WasNamedAsync(Id160 host, Id160 device)
    {
        foreach (var view in Locked(state => state.Views.ToArray()).Reverse())
        {
            if (await ReadViewAsync(view.Lsn) is { } body && body.Replicas.Any(replica => replica.Host == host && replica.Device == device))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The body of the view with that LSN; null where it can't be had.</summary>
    internal async ValueTask<ViewBody?> ReadViewAsync(ulong lsn)
    {
        var entry = await ReadEntryAsync(lsn);
        return entry is not null && Ingest.TryProve(entry, out _, out var body, out _) ? body?.View : null;
    }

    /// <summary>A view or attributes, whole; null where it can't be had.</summary>
    internal async ValueTask<byte[]?> ReadEntryAsync(ulong lsn)
    {
        var position = Locked(state => state.Pins.Where(pin => pin.Lsn == lsn).Select(pin => pin.Position).LastOrDefault(LogPosition.None));
        if (position.IsNone)
        {
            return null;
        }

        var header = new byte[EntryLayout.MaxHeaderLength];
        var (status, length) = await _services.Reader.ReadHeaderAsync(position, Id, lsn, header);
        if (status != LogRead.Ok || !EntryHeaderCodec.TryRead(header.AsSpan(0, length), out var fields, out _))
        {
            return null;
        }

        var entry = new byte[fields.TotalLength];
        header.AsSpan(0, length).CopyTo(entry);
        status = await _services.Reader.ReadRawAsync(position.Plus(length), entry.AsMemory(length));
        return status == LogRead.Ok ? entry : null;
    }
}
