using CloudFs.Core.Format;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <content>What writes: data, zeroes, bytes at any place.</content>
public sealed partial class Disk
{
    /// <summary>
    /// Writes sectors. Ok means: visible to every read that begins from now on, and it survives the death of the
    /// process; with <paramref name="fua"/> (or durability "write") it is durable. <paramref name="data"/> may be
    /// reused once this completes. Completes synchronously when there is room and no durability is asked.
    /// A write of up to 1 MiB is atomic if it ends where a page does; others become several entries, in order.
    /// </summary>
    public async ValueTask<IoStatus> WriteAsync(
        ulong offset, ReadOnlyMemory<byte> data, bool fua, CancellationToken cancellation)
    {
        var status = await BeginAsync(offset, (ulong)data.Length, cancellation);
        var version = default(DiskVersion);
        if (status == IoStatus.Ok && !data.IsEmpty)
        {
            (status, version) = await AppendDataAsync(offset / EntryLayout.SectorSize, data, default, cancellation);
        }

        return status == IoStatus.Ok ? await SettleAsync(fua, version) : status;
    }

    /// <summary>
    /// Writes all of a batch as one entry: with the same promises as for a single write, for all of them together.
    /// </summary>
    public async ValueTask<IoStatus> WriteAsync(WriteBatch batch, bool fua, CancellationToken cancellation)
    {
        if (batch.IsEmpty)
        {
            return IoStatus.Ok;
        }

        // Where the whole of it lies within the disk, each part does.
        var status = await BeginAsync(0, batch.End, cancellation);
        var version = default(DiskVersion);
        if (status == IoStatus.Ok)
        {
            batch.Draft.Stages = _services.Stages;
            _services.Io.AddWritten(batch.Bytes);
            (status, version) = await AppendAsync(batch.Draft, batch.Data, default, batch.End / EntryLayout.SectorSize, cancellation);
        }

        return status == IoStatus.Ok ? await SettleAsync(fua, version) : status;
    }

    /// <summary>Makes a range read as zeroes (trim and write-zeroes): one small entry, whatever the length.</summary>
    public async ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua, CancellationToken cancellation)
    {
        var status = await BeginAsync(offset, length, cancellation);
        var version = default(DiskVersion);
        var lba = offset / EntryLayout.SectorSize;
        var left = length / EntryLayout.SectorSize;
        var draft = WriteDraft.Rent(_services.Stages);
        try
        {
            while (status == IoStatus.Ok && left > 0)
            {
                // An extent's length is 32 bits: 2 TiB less a sector.
                var sectors = (uint)Math.Min(left, uint.MaxValue);
                draft.SetZero(lba, sectors);
                (status, version) = await AppendAsync(draft, default, default, lba + sectors, cancellation);
                lba += sectors;
                left -= sectors;
            }
        }
        finally
        {
            WriteDraft.Return(draft);
        }

        return status == IoStatus.Ok ? await SettleAsync(fua, version) : status;
    }

    /// <summary>
    /// Writes bytes at any alignment, durable when it completes with Ok; the sectors at the edges keep their other
    /// bytes even against concurrent writers. With <paramref name="ifNewest"/> only when that is the newest version,
    /// else <see cref="IoStatus.VersionMismatch"/>. The version is the one made (or, on a mismatch, the newest).
    /// </summary>
    public async ValueTask<(IoStatus Status, DiskVersion Version)> PutAsync(
        ulong offset, ReadOnlyMemory<byte> data, Id160? ifNewest, CancellationToken cancellation)
    {
        var lba = offset / EntryLayout.SectorSize;
        var end = offset + (ulong)data.Length;
        var sectors = checked((int)(((end + EntryLayout.SectorSize - 1) / EntryLayout.SectorSize) - lba));
        var aligned = offset % EntryLayout.SectorSize == 0 && end % EntryLayout.SectorSize == 0;
        var status = await BeginAsync(lba * EntryLayout.SectorSize, (ulong)sectors * EntryLayout.SectorSize, cancellation);
        if (status != IoStatus.Ok || data.IsEmpty)
        {
            return (status == IoStatus.Ok ? IoStatus.Misaligned : status, Newest);
        }

        var merged = aligned ? [] : new byte[sectors * EntryLayout.SectorSize];
        while (true)
        {
            var condition = new WriteCondition { Newest = ifNewest };
            if (!aligned)
            {
                (status, condition) = await MergeEdgesAsync(offset, data, merged, ifNewest);
                if (status != IoStatus.Ok)
                {
                    return (status, Newest);
                }
            }

            (status, var version) = await AppendDataAsync(lba, aligned ? data : merged, condition, cancellation);
            if (status == IoStatus.VersionMismatch && (ifNewest is null || ifNewest == version.Id))
            {
                // Somebody wrote to a sector at the edge meanwhile: its old bytes are merged anew.
                continue;
            }

            return status == IoStatus.Ok ? (await FlushAsync(cancellation), version) : (status, version);
        }
    }

    /// <summary>Whether a range can be written at all; of a disk on several hosts, once clients may be answered.</summary>
    private ValueTask<IoStatus> BeginAsync(ulong offset, ulong length, CancellationToken cancellation)
    {
        var status = CheckRange(offset, length);
        return status == IoStatus.Ok && _group is { MayServe: false } group
            ? group.ReadyAsync(cancellation)
            : ValueTask.FromResult(status);
    }

    private ValueTask<IoStatus> SettleAsync(bool fua, DiskVersion version)
    {
        var isDurable = fua || Locked(state => state.Head.Attributes!.Durability) == Durability.Write;
        return _group is { } group
            ? isDurable ? FlushGroupAsync(group, isHere: false) : group.ReceivedAsync(version.Lsn)
            : isDurable ? _services.Log.FlushAsync() : ValueTask.FromResult(IoStatus.Ok);
    }

    private async ValueTask<IoStatus> FlushGroupAsync(IDiskGroup group, bool isHere)
    {
        // The others are at it while this host's device is.
        var lsn = Newest.Lsn;
        group.WantDurable(lsn);
        var status = isHere ? await _services.Log.FlushHereAsync() : await _services.Log.FlushAsync();
        return status == IoStatus.Ok ? await group.DurableAsync(lsn) : status;
    }

    /// <summary>
    /// True where a read can't just be answered: no lease, or durability "write", under which it must not show what may be lost.
    /// </summary>
    private bool NeedsLeave(IDiskGroup group) =>
        !group.MayServe || Locked(state => state.Head.Attributes!.Durability) == Durability.Write;

    private async ValueTask<IoStatus> ReadWithLeaveAsync(
        IDiskGroup group, ulong offset, Memory<byte> destination, CancellationToken cancellation)
    {
        var status = await group.ReadyAsync(cancellation);
        if (status != IoStatus.Ok)
        {
            return status;
        }

        status = await _reader.ReadAsync(offset / EntryLayout.SectorSize, destination);
        if (status == IoStatus.Ok && Locked(state => state.Head.Attributes!.Durability) == Durability.Write)
        {
            // What was read may be of any version up to the newest.
            return await group.CommittedAsync(Newest.Lsn);
        }

        return status;
    }

    private async ValueTask<(IoStatus Status, DiskVersion Version)> AppendDataAsync(
        ulong lba, ReadOnlyMemory<byte> data, WriteCondition condition, CancellationToken cancellation)
    {
        var draft = WriteDraft.Rent(_services.Stages);
        try
        {
            _services.Io.AddWritten(data.Length);
            while (true)
            {
                var taken = draft.Cut(lba, data.Span);
                var end = lba + ((ulong)taken / EntryLayout.SectorSize);
                var (status, version) = await AppendAsync(draft, data, condition, end, cancellation);
                data = data[taken..];
                if (status != IoStatus.Ok || data.IsEmpty)
                {
                    return (status, version);
                }

                // The condition held when the first entry took its place: the rest follows it.
                condition = default;
                lba = end;
            }
        }
        finally
        {
            WriteDraft.Return(draft);
        }
    }

    private async ValueTask<(IoStatus Status, DiskVersion Version)> AppendAsync(
        WriteDraft draft, ReadOnlyMemory<byte> data, WriteCondition condition, ulong endLba, CancellationToken cancellation)
    {
        while (true)
        {
            var changed = _services.Log.RoomChanged;
            var outcome = _appender.TryAppend(draft, data.Span, condition, endLba);
            if (outcome.Status == IoStatus.Unreachable && _group is { } group)
            {
                var ready = await group.ReadyAsync(cancellation);
                if (ready == IoStatus.Ok)
                {
                    continue;
                }

                outcome = AppendOutcome.Refused(ready);
            }

            if (!outcome.Wait)
            {
                _appender.Note(draft, data.Span, outcome);
                return (outcome.Status, outcome.Version);
            }

            await changed.WaitAsync(cancellation);
        }
    }

    private async ValueTask<(IoStatus Status, WriteCondition Condition)> MergeEdgesAsync(
        ulong offset, ReadOnlyMemory<byte> data, byte[] whole, Id160? ifNewest)
    {
        var first = offset / EntryLayout.SectorSize;
        var last = first + (ulong)(whole.Length / EntryLayout.SectorSize) - 1;
        WriteCondition condition;
        lock (_gate)
        {
            condition = new WriteCondition(ifNewest, _state.Head.Lsn, first, last);
        }

        var status = await _reader.ReadAsync(first, whole.AsMemory(0, EntryLayout.SectorSize));
        if (status == IoStatus.Ok && last != first)
        {
            status = await _reader.ReadAsync(last, whole.AsMemory(whole.Length - EntryLayout.SectorSize));
        }

        data.CopyTo(whole.AsMemory((int)(offset % EntryLayout.SectorSize)));
        return (status, condition);
    }
}
