using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What is kept of every view for ever (FORMAT.md, last section).</summary>
public readonly record struct ViewMark(Ballot Ballot, ulong Lsn, Id160 Id, Id160 Previous);

/// <summary>A view or attributes, and where the entry lies.</summary>
public readonly record struct PinnedEntry(ulong Lsn, LogPosition Position);

/// <summary>
/// Everything that the log says of one disk: what recovery rebuilds, checkpoints keep, and a running disk goes on from.
/// The same methods apply an entry in all three, so that the live state is the one that recovery would find. Guarded by
/// the disk's lock once the disk runs.
/// </summary>
public sealed class DiskState(SegmentTable segments)
{
    private readonly List<PinnedEntry> _pins = [];

    /// <summary>The newest entry, the view in force, the attributes.</summary>
    public ChainHead Head { get; set; }

    /// <summary>The secret of the view in force; zero where this host does not have it.</summary>
    public Id160 Secret { get; set; }

    /// <summary>Sectors to entries.</summary>
    public DiskMap Map { get; } = new(segments);

    /// <summary>LSNs to segments.</summary>
    public LsnIndex Lsns { get; } = new();

    /// <summary>Every view, oldest first.</summary>
    public List<ViewMark> Views { get; } = [];

    /// <summary>Why the disk can't be extended though this host should be able to; null when it can.</summary>
    public string? Suspect { get; set; }

    /// <summary>The highest ballot that this host has promised for the disk (PROTOCOL.md, 1): nothing of a lower one is appended.</summary>
    public Ballot Promised { get; set; }

    /// <summary>True while it is being copied from another host: it answers nothing, and takes nothing by any other way.</summary>
    public bool IsCopying { get; set; }

    /// <summary>True once this host's copy was given up: it goes with the next checkpoint.</summary>
    public bool IsDropped { get; private set; }

    /// <summary>Sectors that answer EIO: lost with their entries, or found bad when they were read.</summary>
    public DamageBook Damage { get; } = new();

    /// <summary>Where views and attributes lie, oldest first: they stay for ever.</summary>
    public IReadOnlyList<PinnedEntry> Pins => _pins;

    /// <summary>True when the view in force names that host, with that device, as a replica with data.</summary>
    public bool IsReplica(Id160 host, Id160 device)
    {
        // Asked for each write: an enumerator or a closure would be garbage then.
        var replicas = Head.View?.Body.Replicas;
        for (var i = 0; i < replicas?.Count; i++)
        {
            if (replicas[i].Host == host && replicas[i].Device == device)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>True when the view in force names other hosts too.</summary>
    public bool IsShared => Head.View?.Body.Replicas.Count > 1;

    /// <summary>True when that host is the view's primary, with that device.</summary>
    public bool IsPrimary(Id160 host, Id160 device) =>
        Head.View is { } view && view.Body.Primary == host && IsReplica(host, device);

    /// <summary>Applies an entry that was just sealed or read: head, places, contents.</summary>
    /// <param name="next">The head after it.</param>
    /// <param name="body">Its parsed body; null for an update.</param>
    /// <param name="previous">The id of the version before it.</param>
    /// <param name="position">Where its header lies.</param>
    /// <param name="bytes">Its length, header and body.</param>
    public void Advance(in ChainHead next, EntryBodyParsed? body, Id160 previous, LogPosition position, int bytes)
    {
        Head = next;
        Lsns.Note(position.Use, next.Lsn, bytes);
        if (body is null)
        {
            return;
        }

        if (body.View is { } view)
        {
            Views.Add(new ViewMark(view.Ballot, next.Lsn, next.Id, previous));
        }

        segments.Pin(position);
        _pins.Add(new PinnedEntry(next.Lsn, position));
        if (next.Deleted)
        {
            Map.Clear();
        }
    }

    /// <summary>Applies an update's extents, in the order in which they stand.</summary>
    public void ApplyExtents(ReadOnlySpan<ExtentRecord> extents, ulong lsn, LogPosition position)
    {
        for (var i = 0; i < extents.Length; i++)
        {
            var content = extents[i].Kind == ExtentKind.Zero ? MappedContent.Zero : MappedContent.Data;
            Map.Apply(new MappedExtent(extents[i].Lba, extents[i].Sectors, content, (ushort)i, lsn, position));
            Damage.Clear(extents[i].Lba, extents[i].End);
        }
    }

    /// <summary>Applies the extents that a header states; dropped pages are lost until something covers them.</summary>
    public void ApplyHeader(ReadOnlySpan<byte> header, in EntryHeader fields, LogPosition position)
    {
        for (var i = 0; i < fields.ExtentCount; i++)
        {
            ReadOnlySpan<ExtentRecord> one = [EntryHeaderCodec.ReadExtent(header, i)];
            var content = one[0].Kind == ExtentKind.Zero ? MappedContent.Zero : MappedContent.Data;
            Map.Apply(new MappedExtent(one[0].Lba, one[0].Sectors, content, (ushort)i, fields.Lsn, position));
            Damage.Clear(one[0].Lba, one[0].End);
            if (fields.IsCompacted)
            {
                ApplyDropped(header, fields, i);
            }
        }
    }

    /// <summary>What lies in a range can't be known any more.</summary>
    public void ApplyLost(ulong lba, ulong sectors, ulong lsn)
    {
        if (sectors > 0)
        {
            Map.Apply(new MappedExtent(lba, sectors, MappedContent.Lost, 0, lsn, LogPosition.None));
            Damage.Add(lba, sectors, DamageBook.LostEntry);
        }
    }

    /// <summary>Takes back the pins that a checkpoint kept.</summary>
    public void RestorePins(IEnumerable<PinnedEntry> pins)
    {
        foreach (var pin in pins)
        {
            segments.Pin(pin.Position);
            _pins.Add(pin);
        }
    }

    /// <summary>This host's copy is given up.</summary>
    public void Drop()
    {
        IsDropped = true;
        Map.Clear();
    }

    /// <summary>Nothing leads to what is left of it any more.</summary>
    public void ReleasePins()
    {
        foreach (var pin in _pins)
        {
            segments.Unpin(pin.Position);
        }

        _pins.Clear();
    }

    /// <summary>A view or attributes were relocated.</summary>
    public void MovePin(ulong lsn, LogPosition from, LogPosition to)
    {
        var index = _pins.FindIndex(pin => pin.Lsn == lsn && pin.Position == from);
        if (index < 0)
        {
            // An entry that recovery would not take: its copy is as dispensable as it was.
            return;
        }

        segments.Unpin(from);
        segments.Pin(to);
        _pins[index] = new PinnedEntry(lsn, to);
    }

    private void ApplyDropped(ReadOnlySpan<byte> header, in EntryHeader fields, int extent)
    {
        foreach (var page in EntryPages.Of(header, fields))
        {
            if (page.Extent == extent && !page.IsPresent)
            {
                ApplyLost(page.Lba, page.Record.Sectors, fields.Lsn);
            }
        }
    }
}
