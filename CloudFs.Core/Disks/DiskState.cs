using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What is kept of every view for ever (FORMAT.md, last section).</summary>
public readonly record struct ViewMark(Ballot Ballot, ulong Lsn, Id160 Id, Id160 Previous);

/// <summary>
/// Everything that the log says of one disk: what recovery rebuilds, checkpoints keep, and a running disk goes on from.
/// The same methods apply an entry in all three, so that the live state is the one that recovery would find. Guarded by
/// the disk's lock once the disk runs.
/// </summary>
public sealed class DiskState(SegmentTable segments)
{
    private readonly List<LogPosition> _pins = [];

    /// <summary>The newest entry, the view in force, the attributes.</summary>
    public ChainHead Head { get; set; }

    /// <summary>The secret of the view in force; zero where this host does not have it.</summary>
    public Id160 Secret { get; set; }

    /// <summary>Sectors to entries.</summary>
    public IExtentMap Map { get; } = new ExtentMap(segments);

    /// <summary>LSNs to segments.</summary>
    public LsnIndex Lsns { get; } = new();

    /// <summary>Every view, oldest first.</summary>
    public List<ViewMark> Views { get; } = [];

    /// <summary>Why the disk can't be extended though this host should be able to; null when it can.</summary>
    public string? Suspect { get; set; }

    /// <summary>Where entries lie that must stay: the view in force and attributes since.</summary>
    public IReadOnlyList<LogPosition> Pins => _pins;

    /// <summary>True when the view in force names that host, with that device, as a replica with data.</summary>
    public bool IsReplica(Id160 host, Id160 device) => Head.View is { } view
        && view.Body.Replicas.Any(replica => replica.Host == host && replica.Device == device);

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

        // A view that says all that the disk's attributes are makes the views and attributes before it dispensable.
        if (next.Deleted || (body.View is not null && RestatesAll(body.Attributes, next.Attributes)))
        {
            ReleasePins(position);
        }

        segments.Pin(position);
        _pins.Add(position);
        if (next.Deleted)
        {
            Map.Clear(position);
        }
    }

    /// <summary>Applies an update's extents, in the order in which they stand.</summary>
    public void ApplyExtents(ReadOnlySpan<ExtentRecord> extents, ulong lsn, LogPosition position)
    {
        for (var i = 0; i < extents.Length; i++)
        {
            var content = extents[i].Kind == ExtentKind.Zero ? MappedContent.Zero : MappedContent.Data;
            Map.Apply(new MappedExtent(extents[i].Lba, extents[i].Sectors, content, (ushort)i, lsn, position));
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
        }
    }

    /// <summary>Takes back the pins that a checkpoint kept.</summary>
    public void RestorePins(IEnumerable<LogPosition> pins)
    {
        foreach (var pin in pins)
        {
            segments.Pin(pin);
            _pins.Add(pin);
        }
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

    private void ReleasePins(LogPosition by)
    {
        foreach (var pin in _pins)
        {
            segments.Unpin(pin, by);
        }

        _pins.Clear();
    }

    private static bool RestatesAll(AttributesBody stated, DiskAttributes? merged) =>
        merged is not null && DiskAttributes.Empty.Merge(stated).ToJson() == merged.ToJson();
}
