using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>How one attempt to append ended. On <see cref="Wait"/> nothing happened: try again when room has changed.</summary>
internal readonly record struct AppendOutcome(IoStatus Status, bool Wait, DiskVersion Version)
{
    /// <summary>Where an update's header lies; none for everything else.</summary>
    public LogPosition Position { get; init; }

    public static AppendOutcome Refused(IoStatus status, DiskVersion newest = default) => new(status, false, newest);

    public static AppendOutcome TryAgain => new(IoStatus.Ok, true, default);
}

/// <summary>What must still hold when a write gets its place in the chain.</summary>
/// <param name="Newest">The version that must be the newest; null for any.</param>
/// <param name="EdgesAsOf">The head's LSN when the sectors at the edges were read and merged into the data; 0 when they were not.</param>
/// <param name="FirstLba">The first of those sectors.</param>
/// <param name="LastLba">The last.</param>
internal readonly record struct WriteCondition(Id160? Newest, ulong EdgesAsOf, ulong FirstLba, ulong LastLba);

/// <summary>
/// Where a disk's order is made: an entry gets its LSN, parent and time, is sealed into the chain, put into the log, and
/// applied to the index, all in one step under the disk's lock and the log's gate. Everything costly (hashing pages,
/// waiting for room) happens outside.
/// </summary>
internal sealed class DiskAppender(DiskServices services, DiskState state, Lock gate, Disk owner)
{
    private bool _viewIsOpen;
    private Id160 _token;

    /// <summary>Appends an update. <paramref name="data"/> is what the draft was cut from.</summary>
    public AppendOutcome TryAppend(WriteDraft draft, ReadOnlySpan<byte> data, in WriteCondition condition, ulong endLba)
    {
        lock (gate)
        {
            lock (services.Log.Gate)
            {
                var refusal = Check(condition);
                if (refusal != IoStatus.Ok)
                {
                    return AppendOutcome.Refused(refusal, new DiskVersion(state.Head.Lsn, state.Head.Id));
                }

                if (endLba > state.Head.Attributes!.Size / EntryLayout.SectorSize)
                {
                    return AppendOutcome.Refused(IoStatus.OutOfRange);
                }

                var opened = OpenView();
                return opened != AppendRoom.Ok ? Refuse(opened) : AppendUpdate(draft, data);
            }
        }
    }

    /// <summary>
    /// What is left to do about an update that was appended, and takes no gate: its pages are counted, and those of a short one kept in
    /// memory for who reads them soon. Whoever reads them before this finds them in the log, and keeps the same.
    /// </summary>
    public void Note(WriteDraft draft, ReadOnlySpan<byte> data, in AppendOutcome appended)
    {
        draft.Watch.End(isAppended: !appended.Position.IsNone);
        if (appended.Position.IsNone)
        {
            return;
        }

        var disk = state.Head.Disk;
        draft.CountIn(services.Heat, DiskServices.HeatOf(disk));
        if (services.Pages.Cache is { } cache && draft.BodyLength is > 0 and <= ReadCache.LongestWriteKept)
        {
            draft.Keep(data, cache, disk, appended.Version.Lsn, appended.Position);
        }
    }

    /// <summary>Appends a change of attributes; it may use the reserve.</summary>
    public AppendOutcome TryAppend(AttributesBody attributes)
    {
        var body = attributes.ToBytes();
        lock (gate)
        {
            lock (services.Log.Gate)
            {
                var refusal = Check(default);
                if (refusal != IoStatus.Ok)
                {
                    return AppendOutcome.Refused(refusal);
                }

                var opened = OpenView();
                if (opened != AppendRoom.Ok)
                {
                    return Refuse(opened);
                }

                var draft = JsonDraft.Of(EntryKind.Attributes, body);
                return AppendJson(draft, EntryBodyParsed.Of(attributes), record: null, state.Secret);
            }
        }
    }

    /// <summary>Appends the first entry of a new disk, with the record of its secret before it.</summary>
    public AppendOutcome TryCreate(ViewBody view, Id160 secret)
    {
        var body = view.ToBytes();
        lock (gate)
        {
            lock (services.Log.Gate)
            {
                var draft = JsonDraft.Of(EntryKind.View, body);
                return AppendJson(draft, EntryBodyParsed.Of(view), secret, secret);
            }
        }
    }

    /// <summary>
    /// Appends a view of this host's own, with a fresh secret, that reveals the one before and restates the disk's attributes. Refused as
    /// ReadOnly where the secret of the view in force is not here, or the epoch is not above the one in force.
    /// </summary>
    public AppendOutcome TryAppendView(ulong epoch, IReadOnlyList<Replica> replicas)
    {
        lock (gate)
        {
            lock (services.Log.Gate)
            {
                return state.Head.Deleted ? AppendOutcome.Refused(IoStatus.Deleted)
                    : state.Suspect is not null || state.Head.Entropy.IsZero || new Ballot(epoch, services.HostId) <= state.Head.Ballot
                        || new Ballot(epoch, services.HostId) < state.Promised
                        || EntryHashes.ViewOf(state.Secret) != state.Head.View!.Hash
                    ? AppendOutcome.Refused(IoStatus.ReadOnly) : AppendView(epoch, replicas);
            }
        }
    }

    /// <summary>
    /// Appends an entry that was sealed elsewhere or before, byte for byte, if it still extends the head that it was judged
    /// by; with <paramref name="secret"/>, the record of a view's secret goes before it. A replay may use the reserve: what
    /// it brings was acknowledged.
    /// </summary>
    public AppendOutcome TryAppendRaw(
        ReadOnlySpan<byte> entry, in EntryHeader fields, EntryBodyParsed? body, Id160 expected, DeviceRecord? secret = null,
        bool isReplay = false, Ballot source = default, bool isCopy = false)
    {
        lock (gate)
        {
            lock (services.Log.Gate)
            {
                if (state.IsDropped)
                {
                    return AppendOutcome.Refused(IoStatus.Deleted);
                }

                if (state.IsCopying != isCopy)
                {
                    return AppendOutcome.Refused(IoStatus.Unreachable);
                }

                // Old views come with what was missed: what counts is who sends them.
                if (!isReplay && source < state.Promised)
                {
                    return AppendOutcome.Refused(IoStatus.Fenced);
                }

                if (state.Head.Id != expected)
                {
                    return AppendOutcome.Refused(IoStatus.VersionMismatch);
                }

                var size = AppendSize.OfEntry(fields.ExtentCount, fields.PageCount, fields.BodyLength)
                    + (secret is null ? default : AppendSize.OfRecord);
                var recordLength = secret is null ? 0 : DeviceRecordLayout.Size;
                var urgent = isReplay || fields.PageCount == 0 || fields.HasJsonBody;
                var room = services.Log.TryReserve(size, urgent, out var destination, out var position);
                if (room != AppendRoom.Ok)
                {
                    return Refuse(room);
                }

                secret?.Write(destination);
                entry.CopyTo(destination[recordLength..]);
                services.Log.Publish(size, owner, fields.Lsn, fields.Id);
                Tell(body, fields.Lsn, fields.Id, fields.Previous, entry, isOwn: secret is not null);
                position = position.Plus(recordLength);
                state.Secret = secret?.Secret ?? (body?.View is null ? state.Secret : default);
                Join(fields.Disk);
                state.Advance(state.Head.Next(fields, body), body, fields.Previous, position, fields.TotalLength);
                if (body?.View is not null)
                {
                    // Of a disk's first entry, made for this host by whoever chose its hosts, this host may go on at once.
                    _viewIsOpen = secret is not null && !isReplay && fields.Lsn == 1;
                    _token = _viewIsOpen ? state.Head.Token(state.Secret) : default;
                }

                state.ApplyHeader(entry[..fields.HeaderLength], fields, position);
                services.Io.AddEntry(size.Bytes);
                return new AppendOutcome(IoStatus.Ok, false, new DiskVersion(fields.Lsn, fields.Id));
            }
        }
    }

    /// <summary>
    /// Appends an entry of a copy, which may lie beyond a gap: the link across is the sender's word. Nothing changes unless it is Ok.
    /// </summary>
    public AppendOutcome TryAppendCopied(
        ReadOnlySpan<byte> entry, in EntryHeader fields, EntryBodyParsed? body, Ballot source, bool isReplay = false)
    {
        lock (gate)
        {
            var before = state.Head;
            if (!state.IsCopying || fields.Lsn <= before.Lsn)
            {
                return AppendOutcome.Refused(IoStatus.VersionMismatch);
            }

            var isGap = fields.Lsn != before.Lsn + 1;
            if (isGap)
            {
                state.Head = before with
                {
                    Disk = fields.Disk,
                    Lsn = fields.Lsn - 1,
                    Id = fields.Previous,
                    Lock = default,
                    Entropy = default,
                };
            }

            var outcome = TryAppendRaw(entry, fields, body, state.Head.Id, isReplay: isReplay, source: source, isCopy: true);
            if (outcome.Wait || outcome.Status != IoStatus.Ok)
            {
                state.Head = before;
            }
            else if (isGap)
            {
                state.Lsns.ForgetBefore(fields.Lsn);
            }

            return outcome;
        }
    }

    private IoStatus Check(in WriteCondition condition)
    {
        if (state.Head.Deleted || state.IsDropped)
        {
            return IoStatus.Deleted;
        }

        if (state.Suspect is not null || state.IsCopying || !state.IsPrimary(services.HostId, services.DeviceId))
        {
            return IoStatus.ReadOnly;
        }

        if (state.Promised > state.Head.Ballot)
        {
            return IoStatus.Fenced;
        }

        if (owner.Group is { MayAppend: false } || (!_viewIsOpen && state.IsShared))
        {
            // Its view is opened by those who ask the others first (PROTOCOL.md, 8), or it is about to move elsewhere.
            return IoStatus.Unreachable;
        }

        if (condition.Newest is { } newest && newest != state.Head.Id)
        {
            return IoStatus.VersionMismatch;
        }

        var edges = condition.EdgesAsOf;
        return edges > 0 && (state.Map.MayBeNewer(condition.FirstLba, edges) || state.Map.MayBeNewer(condition.LastLba, edges))
            ? IoStatus.VersionMismatch
            : IoStatus.Ok;
    }

    /// <summary>
    /// A primary that restarted never extends in its old view (PROTOCOL.md, 8): before its first entry it appends a view of
    /// its own, with a fresh secret, which reveals the old one and restates the disk's attributes.
    /// </summary>
    private AppendRoom OpenView()
    {
        if (_viewIsOpen)
        {
            return AppendRoom.Ok;
        }

        var before = state.Head.View!.Body;
        var outcome = AppendView(before.Epoch + 1, before.Replicas);
        return outcome.Wait ? AppendRoom.Wait
            : outcome.Status == IoStatus.Ok ? AppendRoom.Ok
            : outcome.Status == IoStatus.NoSpace ? AppendRoom.NoSpace : AppendRoom.Failed;
    }

    private AppendOutcome AppendView(ulong epoch, IReadOnlyList<Replica> replicas)
    {
        var secret = services.NewSecret();
        var view = new ViewBody
        {
            View = EntryHashes.ViewOf(secret),
            Epoch = epoch,
            Primary = services.HostId,
            Revoked = state.Secret,
            Replicas = replicas,
            Attributes = Restated(state.Head.Attributes!),
        };
        _token = state.Head.Token(state.Secret);
        return AppendJson(JsonDraft.Of(EntryKind.View, view.ToBytes()), EntryBodyParsed.Of(view), secret, secret);
    }

    private static AttributesBody Restated(DiskAttributes attributes)
    {
        // The merged state in its own words: also what this version does not know of.
        var parsed = AttributesBody.TryParse(
            System.Text.Encoding.UTF8.GetBytes(attributes.ToJson()), out var body, out _);
        Invariant.That(parsed, "a disk's attributes can be stated again");
        return body;
    }

    private AppendOutcome AppendUpdate(WriteDraft draft, ReadOnlySpan<byte> data)
    {
        var size = draft.Size;
        var room = services.Log.TryReserve(size, draft.IsZeroOnly, out var destination, out var position);
        if (room != AppendRoom.Ok)
        {
            return Refuse(room);
        }

        var head = state.Head;
        var entry = new EntryDraft
        {
            Kind = EntryKind.Update,
            Lsn = head.Lsn + 1,
            Disk = head.Disk,
            Previous = head.Id,
            Parent = _token,
            Secret = state.Secret,
            TimeMicros = services.Clock.After(head.TimeMicros),
            Extents = draft.Extents,
            Pages = draft.Pages,
        };
        draft.Watch.Resume();
        var done = EntrySealer.Seal(entry, destination);
        draft.CopyBody(data, destination[done.HeaderLength..]);
        draft.Watch.Sealed();
        services.Log.Publish(size, owner, entry.Lsn, done.Id);
        owner.Group?.OnAppended(entry.Lsn, done.Id, destination[..size.Bytes]);
        _token = done.Token;
        state.Advance(head.Next(entry, done, null), null, head.Id, position, size.Bytes);
        state.ApplyExtents(draft.Extents, entry.Lsn, position);
        draft.Watch.Applied();
        if (draft.IsZeroOnly)
        {
            services.Segments.Relieve();
        }

        services.Io.AddEntry(size.Bytes);
        return new AppendOutcome(IoStatus.Ok, false, new DiskVersion(entry.Lsn, done.Id)) { Position = position };
    }

    /// <summary>Appends a view or attributes; with <paramref name="record"/>, the secret that goes before it in the log.</summary>
    private AppendOutcome AppendJson(JsonDraft json, EntryBodyParsed body, Id160? record, Id160 secret)
    {
        var size = AppendSize.OfEntry(0, json.Pages.Length, json.Body.Length)
            + (record is null ? default : AppendSize.OfRecord);
        var room = services.Log.TryReserve(size, urgent: true, out var destination, out var position);
        if (room != AppendRoom.Ok)
        {
            return Refuse(room);
        }

        var recordLength = record is null ? 0 : DeviceRecordLayout.Size;
        var head = state.Head;
        var entry = new EntryDraft
        {
            Kind = json.Kind,
            Lsn = head.Lsn + 1,
            Disk = head.Disk,
            Previous = head.Id,
            Parent = head.IsNone ? default : _token,
            Secret = secret,
            TimeMicros = services.Clock.After(head.TimeMicros),
            Pages = json.Pages,
        };
        var done = EntrySealer.Seal(entry, destination[recordLength..]);
        json.Body.CopyTo(destination[(recordLength + done.HeaderLength)..]);
        var next = head.Next(entry, done, body);
        if (record is not null)
        {
            new DeviceRecord(DeviceRecordType.ViewSecret, next.Disk, EntryHashes.ViewOf(secret), secret).Write(destination);
        }

        services.Log.Publish(size, owner, entry.Lsn, done.Id);
        Tell(body, entry.Lsn, done.Id, entry.Previous, destination[recordLength..size.Bytes], isOwn: true);
        _token = done.Token;
        _viewIsOpen = true;
        state.Secret = secret;
        Join(next.Disk);
        state.Advance(next, body, entry.Previous, position.Plus(recordLength), size.Bytes - recordLength);
        if (next.Deleted)
        {
            services.Segments.Relieve();
        }

        services.Io.AddEntry(size.Bytes - recordLength);
        return new AppendOutcome(IoStatus.Ok, false, new DiskVersion(entry.Lsn, done.Id));
    }

    /// <summary>
    /// With its first entry a disk joins the others while the gate is held: so a checkpoint, which begins by closing the open
    /// commit under the gate, can't miss a disk whose first entry lies before it.
    /// </summary>
    private void Join(Id160 id)
    {
        if (state.Head.IsNone)
        {
            services.Disks.Add(id, owner);
        }
    }

    private void Tell(EntryBodyParsed? body, ulong lsn, Id160 id, Id160 previous, ReadOnlySpan<byte> entry, bool isOwn)
    {
        if (owner.Group is not { } group)
        {
            return;
        }

        if (body?.View is { } view)
        {
            group.OnView(view, lsn, id, previous, isOwn);
        }

        group.OnAppended(lsn, id, entry);
    }

    private AppendOutcome Refuse(AppendRoom room) => room switch
    {
        AppendRoom.Wait => AppendOutcome.TryAgain,
        AppendRoom.NoSpace => AppendOutcome.Refused(IoStatus.NoSpace),
        _ => AppendOutcome.Refused(services.Log.Failure is null ? IoStatus.Stopped : IoStatus.Poisoned),
    };

    /// <summary>A JSON body with its pages hashed.</summary>
    private sealed record JsonDraft(EntryKind Kind, byte[] Body, PageRecord[] Pages)
    {
        public static JsonDraft Of(EntryKind kind, byte[] body)
        {
            var pages = new PageRecord[(body.Length + EntryLayout.PageSize - 1) / EntryLayout.PageSize];
            for (var i = 0; i < pages.Length; i++)
            {
                var start = i * EntryLayout.PageSize;
                pages[i] = PageRecord.Of(body.AsSpan(start, Math.Min(EntryLayout.PageSize, body.Length - start)));
            }

            return new JsonDraft(kind, body, pages);
        }
    }
}
