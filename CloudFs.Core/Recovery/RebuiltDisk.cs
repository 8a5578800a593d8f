using CloudFs.Core.Chain;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>One disk while it is made again from entries that are found in any order.</summary>
internal sealed class RebuiltDisk(Id160 id, SegmentTable segments)
{
    private readonly SortedDictionary<ulong, (EntryHeader Fields, EntryBodyParsed Body, LogPosition Position)> _metas = [];
    private readonly HashSet<ulong> _unreadMetas = [];
    private EntryHeader _newest;
    private ulong _lastInLog;

    public Id160 Id { get; } = id;

    public DiskState State { get; } = new(segments);

    /// <summary>True while something before the next entry of the log may be missing that this disk had written.</summary>
    public bool IsInDoubt { get; set; }

    /// <summary>Any entry: the newest is the head; those of the log itself are its history, as far as they follow one another.</summary>
    public void NoteEntry(in EntryHeader fields, LogPosition position)
    {
        if (fields.Lsn > _newest.Lsn)
        {
            _newest = fields;
        }

        if (LogPosition.IsRelocation(position.Use))
        {
            return;
        }

        if (fields.Lsn != _lastInLog + 1)
        {
            State.Lsns.ForgetBefore(fields.Lsn);
            if (IsInDoubt)
            {
                LoseBefore(fields.Lsn);
            }
        }

        IsInDoubt = false;
        _lastInLog = fields.Lsn;
        State.Lsns.Note(position.Use, fields.Lsn, fields.TotalLength);
    }

    /// <summary>A view, branch or attributes; null where its body can't be had here: another copy may have it.</summary>
    public void NoteMeta(in EntryHeader fields, EntryBodyParsed? body, LogPosition position)
    {
        if (body is null)
        {
            _unreadMetas.Add(fields.Lsn);
        }
        else if (!_metas.TryGetValue(fields.Lsn, out var known) || known.Position < position)
        {
            _metas[fields.Lsn] = (fields, body, position);
        }
    }

    /// <summary>An update's extents, where nothing newer is known. Pages that were dropped, or are bad, are lost unless covered.</summary>
    public void NoteExtents(ReadOnlySpan<byte> header, in EntryHeader fields, LogPosition position, IReadOnlySet<int> bad)
    {
        var byPage = fields.IsCompacted || bad.Count > 0;
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(header, i);
            var content = extent.Kind == ExtentKind.Zero ? MappedContent.Zero : MappedContent.Data;
            if (content == MappedContent.Zero || !byPage)
            {
                State.Map.ApplyNewest(new MappedExtent(extent.Lba, extent.Sectors, content, (ushort)i, fields.Lsn, position));
            }
        }

        if (!byPage)
        {
            return;
        }

        foreach (var page in EntryPages.Of(header, fields))
        {
            State.Map.ApplyNewest(page.IsPresent && !bad.Contains(page.Index)
                ? new MappedExtent(page.Lba, page.Record.Sectors, MappedContent.Data, (ushort)page.Extent, fields.Lsn, position)
                : new MappedExtent(page.Lba, page.Record.Sectors, MappedContent.Lost, (ushort)page.Extent, fields.Lsn, LogPosition.None));
        }
    }

    /// <summary>An update of which only the extents are known: what it set is lost unless covered, or found elsewhere.</summary>
    public void NoteLost(ReadOnlySpan<byte> prefix, in EntryHeader fields)
    {
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            var extent = EntryHeaderCodec.ReadExtent(prefix, i);
            State.Map.ApplyNewest(new MappedExtent(
                extent.Lba, extent.Sectors, MappedContent.Lost, (ushort)i, fields.Lsn, LogPosition.None));
        }
    }

    /// <summary>What a copy said of the disk: where its history begins, or what its sender had lost.</summary>
    public void NoteCopy(in DeviceRecord record)
    {
        if (record.Type == DeviceRecordType.CopyEnd)
        {
            State.Lsns.ForgetBefore(record.Lsn);
        }
        else
        {
            State.Map.ApplyNewest(new MappedExtent(
                record.Lba, record.Sectors, MappedContent.Lost, ushort.MaxValue, record.Lsn, LogPosition.None));
        }
    }

    /// <summary>Notes what of these extents is lost.</summary>
    public void TellLost(IEnumerable<MappedExtent> extents)
    {
        foreach (var lost in extents.Where(extent => extent.Content == MappedContent.Lost))
        {
            State.Damage.Add(lost.Lba, lost.Sectors, DamageBook.LostEntry);
        }
    }

    /// <summary>All was found: puts head, views and attributes together.</summary>
    public void Finish(Dictionary<(Id160 Disk, Id160 View), Id160> secrets, RecoveryReport report, bool losesBeforeHistory)
    {
        if (losesBeforeHistory)
        {
            LoseBefore(State.Lsns.OldestLsn);
        }

        var head = new ChainHead { Disk = Id };
        foreach (var (lsn, (fields, body, _)) in _metas)
        {
            head = head.Next(fields, body);
            if (body.View is { } view)
            {
                State.Views.Add(new ViewMark(view.Ballot, lsn, fields.Id, fields.Previous));
            }
        }

        State.RestorePins(_metas.Select(meta => new PinnedEntry(meta.Key, meta.Value.Position)));
        State.Head = _newest.Lsn > head.Lsn ? head.Next(_newest, null) : head;
        State.Secret = head.View is { } inForce ? secrets.GetValueOrDefault((Id, inForce.Hash)) : default;
        if (head.Deleted)
        {
            State.Map.Clear();
        }

        foreach (var lsn in _unreadMetas.Where(lsn => !_metas.ContainsKey(lsn)))
        {
            // A view of ours restates all attributes, so that only the newest must be there.
            report.AddDamage("lost-view", $"disk {Id}: LSN {lsn}, a view or attributes, is damaged");
            State.Suspect = lsn > (head.View?.Lsn ?? 0)
                ? "the entry that holds its view or attributes is damaged: it is read-only"
                : State.Suspect;
        }
    }

    /// <summary>What is mapped by entries before an LSN may be older than something that can't be read.</summary>
    private void LoseBefore(ulong lsn)
    {
        if (lsn > 1)
        {
            State.Map.ApplyNewest(new MappedExtent(
                0, EntryLayout.MaxSector, MappedContent.Lost, ushort.MaxValue, lsn - 1, LogPosition.None));
        }
    }
}
