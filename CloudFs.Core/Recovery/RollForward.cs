using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Applies what the log holds to the disks, in order, and decides what a hole means: where the entries behind it show that
/// nothing of a disk is missing, nothing; where some are missing, every sector of the disk may be older than what was
/// lost, and answers EIO until it is overwritten. Never older contents.
/// </summary>
public sealed class RollForward(
    Dictionary<Id160, DiskState> disks, SegmentTable segments, Id160 hostId, Id160 deviceId, RecoveryReport report,
    RememberedDisks remembered, Dictionary<(Id160 Disk, Id160 View), Id160>? secrets = null)
{
    private readonly Dictionary<(Id160 Disk, Id160 View), Id160> _secrets = secrets ?? [];
    private readonly HashSet<Id160> _inDoubt = [];
    private readonly HashSet<Id160> _viewUnknown = [];

    /// <summary>Disks that were given up to their size as it was known, at an LSN: what is missing may have made them larger.</summary>
    private readonly Dictionary<Id160, (ulong Sectors, ulong Lsn)> _sizeUnknown = [];
    private Action? _late;
    private bool _hasHole;

    internal PlantedBug Planted { get; init; }

    /// <summary>
    /// The use before which entries may be missing because they were compacted away; 0 for none. A disk whose entries were
    /// all applied from older uses may lack some without damage.
    /// </summary>
    public ulong ReclaimedBefore { get; init; }

    /// <summary>Applies an item whose header proves itself. <paramref name="readBody"/> gives an entry's body when it is wanted.</summary>
    public async ValueTask ApplyAsync(
        ReadOnlyMemory<byte> header, LogPosition position, Func<int, int, ValueTask<ReadOnlyMemory<byte>?>> readBody)
    {
        if (DeviceRecord.TryRead(header.Span, out var record) == LayoutFault.None)
        {
            ApplyRecord(record);
            return;
        }

        if (!EntryHeaderCodec.TryRead(header.Span, out var fields, out var error))
        {
            report.AddDamage("bad-entry", $"an entry at {position} is not valid ({error.Text()}): left out");
            return;
        }

        var state = StateOf(fields.Disk);
        if (state is not null && fields.Lsn <= state.Head.Lsn)
        {
            return;
        }

        EntryBodyParsed? body = null;
        if (fields.HasJsonBody)
        {
            var bytes = await readBody(fields.HeaderLength, fields.BodyLength);
            if (bytes is null || !EntryBody.VerifyPages(header.Span, fields, bytes.Value.Span, out _, out _)
                || !EntryBodyParsed.TryParse(fields.Kind, bytes.Value.Span, out body, out _))
            {
                LoseMeta(state, fields, position);
                return;
            }
        }

        Apply(state, header, fields, body, position);
    }

    /// <summary>Applies what is known of an entry whose header and pages are damaged: which it was, and what it covered.</summary>
    public void ApplyPrefix(ReadOnlyMemory<byte> prefix, LogPosition position)
    {
        if (DeviceRecord.IsAt(prefix.Span))
        {
            return;
        }

        var fields = EntryHeaderCodec.ReadFields(prefix.Span, default);
        var known = StateOf(fields.Disk);
        if (known is not null && fields.Lsn <= known.Head.Lsn)
        {
            return;
        }

        if (fields.HasJsonBody)
        {
            LoseMeta(known, fields, position);
            return;
        }

        if (GoOn(known, fields, position) is not { } state)
        {
            return;
        }

        report.AddDamage(
            "lost-entry",
            $"disk {fields.Disk}: LSN {fields.Lsn} at {position} is damaged: what it wrote answers EIO until it is overwritten");
        state.Advance(state.Head.Next(fields, null), null, fields.Previous, position, fields.TotalLength);
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(prefix.Span, i);
            state.ApplyLost(extent.Lba, extent.Sectors, fields.Lsn);
        }
    }

    /// <summary>Newer entries of these disks may be missing already.</summary>
    /// <param name="missing">The disks.</param>
    /// <param name="others">True when there may be others, of which nothing was found.</param>
    public void Doubt(IEnumerable<Id160> missing, bool others)
    {
        _inDoubt.UnionWith(missing);
        _hasHole |= others;
    }

    /// <summary>Something unknown is missing here: from now on every disk is in doubt until its next entry clears it.</summary>
    public void NoteHole(LogPosition from, LogPosition to)
    {
        report.AddDamage(
            "hole", $"the log can't be read from {from} to {to}, which was durable: it goes on behind");
        _hasHole = true;
        foreach (var (id, state) in disks)
        {
            if (!state.Head.Deleted && !state.IsDropped)
            {
                _inDoubt.Add(id);
            }
        }
    }

    /// <summary>Ends the roll-forward: a disk still in doubt may have had a newer head.</summary>
    public void Finish()
    {
        _late?.Invoke();
        foreach (var id in _inDoubt)
        {
            var state = disks[id];
            LoseAll(state);
            state.Suspect = "its newest entries may lie in a part of the log that can't be read: it is read-only, and what was "
                + "not overwritten since answers EIO; copy off what can be read, or restore it from a mirror";
            report.AddDamage("head-lost", $"disk {id}: {state.Suspect}");
        }

        foreach (var (id, given) in _sizeUnknown)
        {
            // Were the disk made larger again, what it had there would be mapped nowhere.
            LoseOlder(disks[id], given.Sectors, EntryLayout.MaxSector, given.Lsn);
        }

        foreach (var (id, state) in disks.ToArray())
        {
            var known = remembered.Of(id);
            state.Promised = known.Promised;
            state.IsCopying = known.IsCopying;
            if (state.IsDropped)
            {
                continue;
            }

            if (state.Head.View is null)
            {
                report.AddDamage("orphan", $"disk {id}: its entries are there, but no view of it: it is left out");
                state.Map.Clear();
                disks.Remove(id);
            }

            Settle(state);
        }
    }

    private bool MayLackReclaimed(DiskState? state) => ReclaimedBefore > 0
        && (state is null || state.Lsns.Runs.Count == 0 || state.Lsns.Runs[^1].Use < ReclaimedBefore);

    /// <summary>What is known of a disk; null where nothing is, or a copy that was dropped and comes again.</summary>
    private DiskState? StateOf(Id160 disk)
    {
        var state = disks.GetValueOrDefault(disk);
        if (state is not { IsDropped: true })
        {
            return state;
        }

        // Its room is found again when the index is rebuilt.
        state.ReleasePins();
        disks.Remove(disk);
        return null;
    }

    private void ApplyRecord(in DeviceRecord record)
    {
        if (record.Type != DeviceRecordType.ViewSecret)
        {
            remembered.Apply(record);
            if (record.Type == DeviceRecordType.Dropped && disks.TryGetValue(record.Disk, out var dropped))
            {
                dropped.Drop();
                _inDoubt.Remove(record.Disk);
                _sizeUnknown.Remove(record.Disk);
            }
            else if (record.Type == DeviceRecordType.CopyEnd && disks.TryGetValue(record.Disk, out var copied))
            {
                copied.Lsns.ForgetBefore(record.Lsn);
            }
            else if (record.Type == DeviceRecordType.CopyLost && disks.TryGetValue(record.Disk, out var losing))
            {
                losing.ApplyLost(record.Lba, record.Sectors, record.Lsn);
            }

            return;
        }

        _secrets[(record.Disk, record.View)] = record.Secret;
        if (disks.TryGetValue(record.Disk, out var state) && state.Head.View?.Hash == record.View)
        {
            state.Secret = record.Secret;
        }
    }

    private void Apply(
        DiskState? known, ReadOnlyMemory<byte> header, in EntryHeader fields, EntryBodyParsed? body, LogPosition position)
    {
        if (GoOn(known, fields, position) is not { } state)
        {
            return;
        }

        // Where entries are missing a view may be, too: the next one can't be held against the view that is known.
        var isNewView = body?.View is not null && _viewUnknown.Remove(fields.Disk);
        var judged = !isNewView && state.Head.Lsn + 1 == fields.Lsn && state.Head.Id == fields.Previous && !state.Head.Lock.IsZero;
        var error = judged ? ChainRules.Check(state.Head, fields, body) : ChainError.None;
        if (error != ChainError.None)
        {
            report.AddDamage("bad-link", $"disk {fields.Disk}: LSN {fields.Lsn} at {position} does not fit: {error.Text()}");
            return;
        }

        state.Advance(state.Head.Next(fields, body), body, fields.Previous, position, fields.TotalLength);
        if (Planted == PlantedBug.IndexOutOfOrder && _late is null)
        {
            var (late, copy, bytes) = (state, fields, header.ToArray());
            _late = () => late.ApplyHeader(bytes, copy, position);
        }
        else
        {
            state.ApplyHeader(header.Span, fields, position);
            _late?.Invoke();
            _late = null;
        }

        if (body is not null)
        {
            LoseGrowth(state, isWhole: body.View is not null);
        }

        if (body?.View is { } view)
        {
            state.Secret = _secrets.GetValueOrDefault((fields.Disk, view.View));
        }

        report.EntriesRolledForward++;
    }

    /// <summary>
    /// The disk as it stands before an entry, with what may be missing before that given up; null, which is told, where nothing can be
    /// made of the entry.
    /// </summary>
    private DiskState? GoOn(DiskState? known, in EntryHeader fields, LogPosition position)
    {
        if (known is not null)
        {
            Resume(known, fields.Lsn, fields.Previous, position);
            return known;
        }

        if (fields.Lsn != 1 && !MayLackReclaimed(null))
        {
            report.AddDamage("orphan", $"LSN {fields.Lsn} of disk {fields.Disk} at {position}: its beginning is missing");
            return null;
        }

        // Its view may follow: a view releases the segments of those before it, but not of the data.
        var state = new DiskState(segments)
        {
            Head = new ChainHead { Disk = fields.Disk, Lsn = fields.Lsn - 1, Id = fields.Previous },
        };
        disks.Add(fields.Disk, state);
        if (fields.Lsn == 1)
        {
            return state;
        }

        state.Lsns.ForgetBefore(fields.Lsn);
        _viewUnknown.Add(fields.Disk);
        if (_hasHole)
        {
            report.AddDamage(
                "gap",
                $"disk {fields.Disk}: LSNs before {fields.Lsn} at {position} may be missing: what they may have covered answers EIO "
                + "until it is overwritten");
            LoseAll(state);
        }

        return state;
    }

    /// <summary>Finds out whether entries are missing before this one, and if so gives up what they may have covered.</summary>
    private void Resume(DiskState state, ulong lsn, Id160 previous, LogPosition position)
    {
        var head = state.Head;
        var contiguous = head.Lsn + 1 == lsn && head.Id == previous;
        var isInDoubt = _inDoubt.Remove(head.Disk);
        if (contiguous)
        {
            return;
        }

        if (!isInDoubt && (MayLackReclaimed(state) || remembered.Of(head.Disk).IsCopying))
        {
            // What was in reclaimed segments was dead: later entries, which are here, cover it.
            state.Lsns.ForgetBefore(lsn);
        }
        else
        {
            report.AddDamage(
                "gap",
                $"disk {head.Disk}: LSNs {head.Lsn + 1} to {lsn - 1} before {position} are missing: what they may have covered "
                + "answers EIO until it is overwritten");
            LoseAll(state);
        }

        _viewUnknown.Add(head.Disk);
        state.Head = head with { Lsn = lsn - 1, Id = previous, Lock = default, Entropy = default };
    }

    private void LoseMeta(DiskState? known, in EntryHeader fields, LogPosition position)
    {
        report.AddDamage(
            "lost-view", $"disk {fields.Disk}: LSN {fields.Lsn} at {position}, a {fields.Kind}, is damaged");
        if (GoOn(known, fields, position) is not { } state)
        {
            return;
        }

        state.Advance(state.Head.Next(fields, null), null, fields.Previous, position, fields.TotalLength);
        state.Suspect = "the entry that holds its view or attributes is damaged: it is read-only";
    }

    private void LoseAll(DiskState state)
    {
        var sectors = SectorsOf(state);
        state.ApplyLost(0, sectors, state.Head.Lsn);
        if (sectors < EntryLayout.MaxSector)
        {
            _sizeUnknown[state.Head.Disk] = (sectors, state.Head.Lsn);
        }
    }

    /// <summary>The disk is larger than it was known to be when it was given up: what is missing may have written there, too.</summary>
    /// <param name="state">The disk, with the entry applied that states attributes.</param>
    /// <param name="isWhole">True when it states all of them: nothing about them is unknown behind it.</param>
    private void LoseGrowth(DiskState state, bool isWhole)
    {
        if (!_sizeUnknown.TryGetValue(state.Head.Disk, out var given))
        {
            return;
        }

        var sectors = SectorsOf(state);
        LoseOlder(state, given.Sectors, sectors, given.Lsn);
        foreach (var lost in state.Map.View(given.Sectors, Math.Max(given.Sectors, sectors)).Pieces
            .Where(piece => piece.Content == MappedContent.Lost))
        {
            state.Damage.Add(lost.Lba, lost.Sectors, DamageBook.LostEntry);
        }

        if (isWhole || sectors > given.Sectors)
        {
            _sizeUnknown.Remove(state.Head.Disk);
        }
    }

    private static void LoseOlder(DiskState state, ulong lba, ulong end, ulong lsn)
    {
        if (lba < end)
        {
            state.Map.ApplyNewest(new MappedExtent(lba, end - lba, MappedContent.Lost, ushort.MaxValue, lsn, LogPosition.None));
        }
    }

    private static ulong SectorsOf(DiskState state) =>
        state.Head.Attributes is { } known ? known.Size / EntryLayout.SectorSize : EntryLayout.MaxSector;

    private void Settle(DiskState state)
    {
        if (state.Head.Deleted || state.Suspect is not null || !state.IsPrimary(hostId, deviceId))
        {
            return;
        }

        if (state.Head.Entropy.IsZero)
        {
            state.Suspect = "its newest entry is damaged, so that nothing can be appended to it: it is read-only";
        }
        else if (state.Secret.IsZero || EntryHashes.ViewOf(state.Secret) != state.Head.View!.Hash)
        {
            state.Suspect = "the secret of its view is lost, so that nothing can be appended to it: it is read-only";
        }

        if (state.Suspect is not null)
        {
            report.AddDamage("head-lost", $"disk {state.Head.Disk}: {state.Suspect}");
        }
    }
}
