using CloudFs.Core.Format;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>
/// What is left of a disk's history after a point, in LSN order with gaps; then the items that restate view and attributes
/// (<see cref="StateItem"/>); then the stream from the oldest LSN of the history on. One reader at a time. Holds nothing back:
/// what is superseded, relocated or reclaimed meanwhile is looked up again. So an entry may be missing that was superseded
/// while this went on, and the contents are whole only from the version on that the last state item names: it is fixed, and
/// made durable, when all that is left was given out.
/// </summary>
public sealed class StateStream : IEntrySource
{
    /// <summary>Survivors that are looked up at once: 1 MiB, and a pass over the index for each.</summary>
    private const int BatchSurvivors = 65_536;

    private readonly Disk _disk;
    private readonly DiskServices _services;
    private readonly ISurvivors _survivors;
    private readonly SurvivorReader _reader;
    private readonly Queue<byte[]> _items = [];
    private (ulong Lsn, LogPosition Position)[] _batch = [];
    private int _count;
    private int _next;
    private ulong _after;
    private ulong _below;
    private EntryStream? _stream;

    private StateStream(Disk disk, DiskServices services, ISurvivors survivors, ulong point)
    {
        _disk = disk;
        _services = services;
        _survivors = survivors;
        _reader = new SurvivorReader(disk, services, survivors);
        _after = point;
        _below = Math.Max(disk.Locate(point + 1).Oldest, point + 1);
    }

    /// <summary>An entry, or a state item.</summary>
    public ReadOnlyMemory<byte> Current { get; private set; }

    /// <summary>Opens it; see <see cref="Disk.OpenStateAsync"/>.</summary>
    internal static async ValueTask<StateStream> OpenAsync(
        Disk disk, DiskServices services, ISurvivors survivors, DiskVersion? after, CancellationToken cancellation)
    {
        if (after is { } point)
        {
            await DiskHistory.RequireNotForeignAsync(disk, services, survivors, point, cancellation);
        }

        return new StateStream(disk, services, survivors, after?.Lsn ?? 0);
    }

    /// <inheritdoc/>
    public async ValueTask<bool> MoveNextAsync(bool wait, CancellationToken cancellation)
    {
        if (_stream is null && await MoveToSurvivorAsync(cancellation))
        {
            return true;
        }

        if (_stream is null)
        {
            await EndStateAsync(cancellation);
        }

        if (_items.TryDequeue(out var item))
        {
            Current = item;
            return true;
        }

        var moved = await _stream!.MoveNextAsync(wait, cancellation);
        Current = moved ? _stream.Current : default;
        return moved;
    }

    private async ValueTask<bool> MoveToSurvivorAsync(CancellationToken cancellation)
    {
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            if (_next < _count)
            {
                var (lsn, position) = _batch[_next++];
                if (await _reader.TryReadAsync(lsn, position))
                {
                    Current = _reader.Entry;
                    return true;
                }

                continue;
            }

            if (_below > _after + 1)
            {
                _batch = _batch.Length == 0 ? new (ulong, LogPosition)[BatchSurvivors] : _batch;
                _count = await _survivors.NextAsync(_after, _below, _batch);
                _next = 0;
                _after = _count == 0 ? _below - 1 : _batch[_count - 1].Lsn;
                continue;
            }

            // The history may have become shorter meanwhile: what it lost is looked for like all that came before.
            var oldest = _disk.Locate(_below).Oldest;
            if (oldest <= _below)
            {
                return false;
            }

            _below = oldest;
        }
    }

    /// <summary>Fixes the version from which on all is whole, and what is to be said of it.</summary>
    private async ValueTask EndStateAsync(CancellationToken cancellation)
    {
        _batch = [];
        var lost = await FindLostAsync();
        var (head, views) = _disk.Locked(state => (state.Head, state.Views.ToArray()));
        if (head.Lsn > _disk.Durable.Lsn && await _disk.FlushAsync(cancellation) != IoStatus.Ok)
        {
            throw new RefusalException(Refusal.Unavailable, "the device takes nothing more: see /healthz");
        }

        // Views in the stream need no restating.
        var restated = views.Where(view => view.Lsn < _below).ToArray();
        foreach (var item in StateItem.Of(head, _below, restated, lost))
        {
            _items.Enqueue(item);
        }

        _stream = _disk.StreamAfter(_below - 1);
    }

    /// <summary>
    /// What can't be had here, whenever it was set: a reader that goes on from the middle of a state was told of nothing yet.
    /// What an entry of the stream set is the stream's to tell.
    /// </summary>
    private async ValueTask<List<LostRun>> FindLostAsync()
    {
        var lost = new List<LostRun>();
        var batch = new LostRun[StateItem.ListMax];
        for (ulong lba = 0; await _survivors.LostAsync(lba, batch) is var count and > 0; lba = Last(batch[count - 1]))
        {
            lost.AddRange(batch.Take(count).Where(run => run.Lsn < _below));
        }

        return lost;

        static ulong Last(in LostRun run) => run.Lba + run.Sectors;
    }
}

/// <summary>Reads what is left of a history, entry by entry, each proved by its own contents and id.</summary>
internal sealed class SurvivorReader(Disk disk, DiskServices services, ISurvivors survivors)
{
    /// <summary>A place is left only when the index has the new one, so one more look suffices; more is a defect.</summary>
    private const int LookupsMax = 16;

    private readonly byte[] _entry = new byte[EntryLayout.MaxHeaderLength + EntryLayout.MaxBodyLength];
    private readonly (ulong Lsn, LogPosition Position)[] _again = new (ulong, LogPosition)[1];
    private int _length;

    /// <summary>The entry that was read last; valid until the next is read.</summary>
    public ReadOnlyMemory<byte> Entry => _entry.AsMemory(0, _length);

    /// <summary>False when the entry is no survivor any more: it was superseded meanwhile.</summary>
    /// <exception cref="UnprovableEntryException">It is damaged beyond single pages.</exception>
    public async ValueTask<bool> TryReadAsync(ulong lsn, LogPosition position)
    {
        for (var lookup = 0; lookup < LookupsMax; lookup++)
        {
            var status = await ReadAsync(lsn, position);
            if (status == LogRead.Ok)
            {
                return true;
            }

            if (status != LogRead.Reclaimed)
            {
                break;
            }

            if (await survivors.NextAsync(lsn - 1, lsn + 1, _again) == 0)
            {
                return false;
            }

            position = _again[0].Position;
        }

        throw new UnprovableEntryException(
            disk.Id, lsn, $"disk {disk.Id}: LSN {lsn}, which the present version reads, can't be proved here");
    }

    private async ValueTask<LogRead> ReadAsync(ulong lsn, LogPosition position)
    {
        var (status, length) = await services.Reader.ReadHeaderAsync(position, disk.Id, lsn, _entry);
        if (status != LogRead.Ok || !EntryHeaderCodec.TryRead(_entry.AsSpan(0, length), out var fields, out _))
        {
            return status == LogRead.Reclaimed ? status : LogRead.Damaged;
        }

        _length = fields.TotalLength;
        var body = _entry.AsMemory(length, fields.BodyLength);
        status = await services.Reader.ReadRawAsync(position.Plus(length), body);
        if (status == LogRead.Ok && EntryBody.VerifyPages(_entry.AsSpan(0, length), fields, body.Span, out _, out _))
        {
            return LogRead.Ok;
        }

        return status == LogRead.Reclaimed || fields.Kind != EntryKind.Update
            ? status == LogRead.Reclaimed ? status : LogRead.Damaged
            : await DropDamagedAsync(fields, position.Plus(length));
    }

    /// <summary>
    /// Gives out an update whose body is damaged without the pages that are: as though compaction had dropped them, so that
    /// a reader knows what it lacks, and gets all the rest.
    /// </summary>
    private async ValueTask<LogRead> DropDamagedAsync(EntryHeader fields, LogPosition bodyAt)
    {
        var bad = new List<int>();
        foreach (var (index, record, offset) in PresentPages(fields))
        {
            var page = _entry.AsMemory(fields.HeaderLength + offset, record.Length);
            var status = await services.Reader.ReadRawAsync(bodyAt.Plus(offset), page);
            if (status == LogRead.Reclaimed)
            {
                return status;
            }

            if (status != LogRead.Ok || EntryBody.VerifyPage(record, page.Span, fields.Kind) != FormatError.None)
            {
                services.Io.AddDamaged();
                bad.Add(index);
            }
        }

        var header = _entry.AsSpan(0, fields.HeaderLength);
        var body = _entry.AsSpan(fields.HeaderLength, fields.BodyLength);
        _length = fields.HeaderLength + EntryCompaction.Drop(header, fields, body, [.. bad], header, body);
        return LogRead.Ok;
    }

    private List<(int Index, PageRecord Record, int Offset)> PresentPages(in EntryHeader fields)
    {
        var pages = new List<(int Index, PageRecord Record, int Offset)>();
        foreach (var page in EntryPages.Of(_entry.AsSpan(0, fields.HeaderLength), fields))
        {
            if (page.IsPresent)
            {
                pages.Add((page.Index, page.Record, page.BodyOffset));
            }
        }

        return pages;
    }
}
