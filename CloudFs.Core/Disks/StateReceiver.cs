using System.Buffers.Binary;
using System.Text.Json.Nodes;
using CloudFs.Core.Chain;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// Takes what <see cref="StateStream"/> gives on another host: what is left of a history, with gaps; the items that restate it; then
/// entries without gaps, until the disk is whole. What it took stays: after a break or a restart a new receiver goes on from
/// <see cref="Point"/>. Entries are proved one by one; links across gaps are the sender's word (FORMAT.md). One caller at a time.
/// </summary>
public sealed class StateReceiver
{
    private readonly DiskServices _services;
    private readonly Id160 _id;
    private readonly Ballot _source;
    private Disk? _disk;
    private ulong _historyFrom;
    private DiskVersion _wholeAt;

    private StateReceiver(DiskServices services, Id160 id, Ballot source, Disk? disk)
    {
        _services = services;
        _id = id;
        _source = source;
        _disk = disk;
    }

    /// <summary>After which version the sender must begin; null for from the beginning.</summary>
    public DiskVersion? Point => _disk?.Newest is { Lsn: > 0 } newest ? newest : null;

    /// <summary>True once the disk is whole here, durably: it is a disk like any other from then on.</summary>
    public bool IsWhole { get; private set; }

    /// <summary>The LSN from which on it will be whole; 0 until the sender says so.</summary>
    public ulong WholeAt => _wholeAt.Lsn;

    internal static async ValueTask<StateReceiver> OpenAsync(
        DiskServices services, Id160 id, Ballot source, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var disk = services.Disks.ById(id);
        if (disk is { IsDeleted: true })
        {
            throw new RefusalException(Refusal.Conflict, $"disk {id} is deleted here, or its last copy is still on its way out: try later");
        }

        if (source < services.Remembered.Of(id).Promised)
        {
            throw new RefusalException(Refusal.Conflict, $"disk {id}: this host has promised a higher ballot than the sender's");
        }

        // From here on nothing comes by another way, so that the head is the point that the record names.
        var head = disk?.SetCopying(true) ?? default;
        var known = services.Remembered.Of(id);
        if (!known.IsCopying)
        {
            var begin = new DeviceRecord(DeviceRecordType.CopyBegin, id, default, default)
            {
                Epoch = known.CopyNumber + 1,
                Lsn = head.Lsn,
            };
            var status = await services.Remembered.WriteAsync(services, begin);
            if (status != IoStatus.Ok)
            {
                disk?.SetCopying(services.Remembered.Of(id).IsCopying);
                throw Refused(id, status);
            }
        }

        return new StateReceiver(services, id, source, disk);
    }

    /// <summary>
    /// Takes the next entry or state item, header and body, whole. Taken does not mean durable, except that all is once
    /// <see cref="IsWhole"/>. True when the disk is whole: what follows is the stream as ever, and not for this receiver.
    /// </summary>
    /// <exception cref="RefusalException">Invalid: it proves itself not. Conflict: it fits not. NoSpace, Unavailable.</exception>
    public async ValueTask<bool> TakeAsync(ReadOnlyMemory<byte> item, CancellationToken cancellation)
    {
        if (IsWhole)
        {
            throw new RefusalException(Refusal.Conflict, $"disk {_id} is whole already: what follows is no part of its copy");
        }

        if (StateItem.Is(item.Span))
        {
            await TakeStateAsync(item);
        }
        else
        {
            await TakeEntryAsync(item, cancellation);
        }

        var newest = _disk?.Newest ?? default;
        if (_wholeAt.Lsn == 0 || newest.Lsn < _wholeAt.Lsn)
        {
            return false;
        }

        if (newest != _wholeAt)
        {
            throw Conflict($"LSN {newest.Lsn} is version {newest.Id} here, and {_wholeAt.Id} at LSN {_wholeAt.Lsn} by the sender's word");
        }

        await EndAsync();
        return true;
    }

    private async ValueTask TakeEntryAsync(ReadOnlyMemory<byte> entry, CancellationToken cancellation)
    {
        if (!Ingest.TryProve(entry.Span, out var fields, out var body, out var reason))
        {
            throw new RefusalException(Refusal.Invalid, $"disk {_id}, in a copy of it: {reason}");
        }

        var head = _disk?.Head ?? default;
        if (fields.Disk != _id || fields.Lsn <= head.Lsn || (head.IsNone && fields.Lsn != 1) || head.Deleted)
        {
            throw Conflict($"LSN {fields.Lsn} of disk {fields.Disk} is not what follows LSN {head.Lsn}");
        }

        // Behind a gap nothing is known of the entry before, but everything of the views: they are all there. The last gap that there
        // may be is before the stream.
        var isNext = fields.Lsn == head.Lsn + 1 && (head.IsNone || !head.Lock.IsZero);
        if (isNext && ChainRules.Check(head, fields, body) is var error and not ChainError.None)
        {
            throw Conflict($"LSN {fields.Lsn}: {error.Text()}");
        }

        if (!isNext && ((_wholeAt.Lsn > 0 && fields.Lsn != _historyFrom) || fields.TimeMicros < head.TimeMicros
            || fields.Kind == EntryKind.Branch
            || (body?.View is { } view && view.Ballot <= head.Ballot)))
        {
            throw Conflict($"LSN {fields.Lsn} can't come behind LSN {head.Lsn}: an older time or view, or a gap within the stream");
        }

        var target = _disk ??= new Disk(_services, new DiskState(_services.Segments)
        {
            IsCopying = true,
            Promised = _services.Remembered.Of(_id).Promised,
        });
        var outcome = await target.AppendWhenRoomAsync(
            () => target.Appender.TryAppendCopied(entry.Span, fields, body, _source), cancellation);
        if (outcome.Status != IoStatus.Ok)
        {
            throw Refused(_id, outcome.Status);
        }
    }

    private async ValueTask TakeStateAsync(ReadOnlyMemory<byte> item)
    {
        if (!EntryHeaderCodec.TryReadLengths(item.Span, out var headerLength, out var bodyLength, out _)
            || item.Length != headerLength + bodyLength
            || EntryHeaderCodec.ComputeCheck(item.Span[..headerLength])
                != BinaryPrimitives.ReadUInt64LittleEndian(item.Span[EntryLayout.CheckOffset..])
            || !EntryBody.VerifyPages(item.Span[..headerLength], EntryHeaderCodec.ReadFields(item.Span, default),
                item.Span[headerLength..], out _, out _)
            || !BodyJson.TryRead(item.Span[headerLength..], out var json, out _))
        {
            throw new RefusalException(Refusal.Invalid, $"disk {_id}: a state item in its copy is damaged");
        }

        if (_disk is null)
        {
            throw Conflict("its state is restated before its first entry came");
        }

        if (json["more"] is not null)
        {
            RequireViews(json["views"] as JsonArray ?? []);
            await NoteLostAsync(json["lost"] as JsonArray ?? []);
            return;
        }

        if (!BodyJson.TryGetNumber(json["lsn"], out var lsn) || !BodyJson.TryGetId(json["version"], out var version)
            || !BodyJson.TryGetNumber(json["from"], out var from) || lsn == 0)
        {
            throw new RefusalException(Refusal.Invalid, $"disk {_id}: the last state item lacks lsn, version or from");
        }

        (_wholeAt, _historyFrom) = (new DiskVersion(lsn, version), from);
    }

    /// <summary>Every view of the sender's is here: where one is not, this host's copy is of another chain.</summary>
    private void RequireViews(JsonArray views)
    {
        var known = _disk!.Locked(state => state.Views.ToDictionary(view => view.Lsn, view => view.Id));
        foreach (var view in views)
        {
            if (!BodyJson.TryGetNumber(view?["lsn"], out var lsn) || !BodyJson.TryGetId(view?["id"], out var id)
                || !known.TryGetValue(lsn, out var here) || here != id)
            {
                throw Conflict("the sender has a view that is not here: the two are different chains");
            }
        }
    }

    /// <summary>What was lost there, of what came with this copy: what this host had before is its own.</summary>
    private async ValueTask NoteLostAsync(JsonArray lost)
    {
        var known = _services.Remembered.Of(_id);
        foreach (var run in lost)
        {
            if (!BodyJson.TryGetNumber(run?["lba"], out var lba) || !BodyJson.TryGetNumber(run?["sectors"], out var sectors)
                || !BodyJson.TryGetNumber(run?["lsn"], out var lsn)
                || sectors == 0 || lba >= EntryLayout.MaxSector || sectors > EntryLayout.MaxSector - lba)
            {
                throw new RefusalException(Refusal.Invalid, $"disk {_id}: a state item names sectors that no disk has");
            }

            if (lsn <= known.CopiedAfter)
            {
                continue;
            }

            _disk!.NoteCopyLost(new LostRun(lba, sectors, lsn));
            var record = new DeviceRecord(DeviceRecordType.CopyLost, _id, default, default)
            {
                Epoch = known.CopyNumber,
                Lsn = lsn,
                Lba = lba,
                Sectors = sectors,
            };
            if (await _services.Remembered.WriteAsync(_services, record) is var status and not IoStatus.Ok)
            {
                throw Refused(_id, status);
            }
        }
    }

    private async ValueTask EndAsync()
    {
        var record = new DeviceRecord(DeviceRecordType.CopyEnd, _id, default, default)
        {
            Epoch = _services.Remembered.Of(_id).CopyNumber,
            Lsn = _historyFrom,
        };

        // Durable with all before it.
        if (await _services.Remembered.WriteAsync(_services, record) is var status and not IoStatus.Ok)
        {
            throw Refused(_id, status);
        }

        _disk!.SetCopying(false, _historyFrom);
        IsWhole = true;
    }

    private RefusalException Conflict(string reason) => new(Refusal.Conflict, $"disk {_id}: {reason}");

    private static RefusalException Refused(Id160 id, IoStatus status) => status switch
    {
        IoStatus.NoSpace => new RefusalException(Refusal.NoSpace, $"disk {id} can't be copied here: the device is full"),
        IoStatus.Fenced => new RefusalException(Refusal.Conflict, $"disk {id}: this host has promised a higher ballot than the sender's"),
        IoStatus.VersionMismatch => new RefusalException(Refusal.Conflict, $"disk {id}: its copy was ended or gone on with elsewhere"),
        _ => new RefusalException(Refusal.Unavailable, $"disk {id} can't be copied now: the device takes nothing more ({status})"),
    };
}
