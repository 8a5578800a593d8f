using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Disks;

/// <summary>What a host answers to who asks for its promise (PROTOCOL.md, 1).</summary>
/// <param name="Granted">True when it has promised.</param>
/// <param name="Promised">The ballot that it has promised: the one asked for, or the one that stands in its way.</param>
/// <param name="View">The ballot of the newest view here.</param>
/// <param name="Lsn">The newest LSN here, durable; on a witness, of the newest view.</param>
/// <param name="Id">Its version.</param>
public readonly record struct PromiseAnswer(bool Granted, Ballot Promised, Ballot View, ulong Lsn, Id160 Id);

/// <summary>What is remembered of one disk, held here or not.</summary>
/// <param name="Disk">Which.</param>
/// <param name="Promised">The highest ballot that this host has promised; default for none.</param>
/// <param name="View">The newest view, where this host holds no entries of the disk; default for none.</param>
/// <param name="DroppedUse">Relocation uses below it hold copies that count no more; 0 where no copy was dropped.</param>
public readonly record struct RememberedDisk(Id160 Disk, Ballot Promised, ViewMark View, ulong DroppedUse)
{
    /// <summary>How many copies of the disk were begun by /state.</summary>
    public ulong CopyNumber { get; init; }

    /// <summary>True while the last one is not whole.</summary>
    public bool IsCopying { get; init; }

    /// <summary>The LSN up to which the disk was whole when the last one began.</summary>
    public ulong CopiedAfter { get; init; }

    /// <summary>
    /// Entries of the disk that lie before it in the log are those of a copy that was dropped. Known while an index is rebuilt, and not
    /// kept.
    /// </summary>
    public ulong DroppedAt { get; init; }

    /// <summary>Copies up to this number went when the disk was dropped.</summary>
    public ulong CopiesDropped { get; init; }
}

/// <summary>
/// Promises, and the newest views of disks of which this host holds no entries: as their witness, or because its copy was dropped. They are
/// kept for ever (PROTOCOL.md, 1 and 9), as records in the log and in checkpoints. Any thread; its lock is a leaf.
/// </summary>
public sealed class RememberedDisks
{
    private readonly Lock _lock = new();
    private readonly Dictionary<Id160, RememberedDisk> _disks = [];

    /// <summary>Everything, for a checkpoint.</summary>
    public IReadOnlyList<RememberedDisk> Snapshot()
    {
        lock (_lock)
        {
            return [.. _disks.Values.OrderBy(disk => disk.Disk)];
        }
    }

    /// <summary>What is known of one disk; default where nothing is.</summary>
    public RememberedDisk Of(Id160 disk)
    {
        lock (_lock)
        {
            return _disks.GetValueOrDefault(disk, new RememberedDisk(disk, default, default, 0));
        }
    }

    /// <summary>Disks of which this host keeps views alone.</summary>
    public IReadOnlyList<RememberedDisk> WithViews() => [.. Snapshot().Where(disk => disk.View.Lsn > 0)];

    /// <summary>Takes back what a checkpoint kept.</summary>
    public void Restore(in RememberedDisk disk)
    {
        lock (_lock)
        {
            _disks[disk.Disk] = disk;
        }
    }

    /// <summary>Takes in a record of the log, in any order: of each kind the highest holds.</summary>
    public void Apply(in DeviceRecord record)
    {
        lock (_lock)
        {
            var known = Of(record.Disk);
            _disks[record.Disk] = record.Type switch
            {
                DeviceRecordType.Promise when BallotOf(record) > known.Promised => known with { Promised = BallotOf(record) },
                DeviceRecordType.RememberedView when record.Lsn >= known.View.Lsn => known with { View = MarkOf(record) },
                DeviceRecordType.Dropped => known with
                {
                    DroppedUse = Math.Max(known.DroppedUse, record.Lsn),
                    DroppedAt = Math.Max(known.DroppedAt, record.Lba),
                    CopiesDropped = Math.Max(known.CopiesDropped, record.Epoch),
                    CopyNumber = Math.Max(known.CopyNumber, record.Epoch),
                    IsCopying = known.IsCopying && known.CopyNumber > record.Epoch,
                },
                DeviceRecordType.CopyBegin when record.Epoch > known.CopyNumber => known with
                {
                    CopyNumber = record.Epoch,
                    IsCopying = true,
                    CopiedAfter = record.Lsn,
                },
                DeviceRecordType.CopyEnd when record.Epoch >= known.CopyNumber =>
                    known with { CopyNumber = record.Epoch, IsCopying = false },
                _ => known,
            };
        }
    }

    /// <summary>True for a record that nothing newer has made superfluous.</summary>
    public bool IsInForce(in DeviceRecord record)
    {
        var known = Of(record.Disk);
        return record.Type switch
        {
            DeviceRecordType.Promise => known.Promised == BallotOf(record),
            DeviceRecordType.RememberedView => known.View == MarkOf(record),
            DeviceRecordType.Dropped => known.DroppedUse == record.Lsn,
            DeviceRecordType.CopyBegin => known.IsCopying && known.CopyNumber == record.Epoch,
            DeviceRecordType.CopyEnd => !known.IsCopying && known.CopyNumber == record.Epoch && known.CopiesDropped < record.Epoch,
            DeviceRecordType.CopyLost => known.CopiesDropped < record.Epoch,
            _ => false,
        };
    }

    /// <summary>Promises for a disk of which this host holds views alone; durable when it is granted.</summary>
    internal async ValueTask<PromiseAnswer> PromiseAsync(DiskServices services, Id160 disk, Ballot ballot)
    {
        RememberedDisk known;
        lock (_lock)
        {
            known = Of(disk);
            if (ballot <= known.View.Ballot || ballot < known.Promised)
            {
                var stands = known.Promised > known.View.Ballot ? known.Promised : known.View.Ballot;
                return new PromiseAnswer(false, stands, known.View.Ballot, known.View.Lsn, known.View.Id);
            }

            // From here on no view of a lower ballot is kept.
            _disks[disk] = known with { Promised = ballot };
        }

        var status = await WriteAsync(services, Promise(disk, ballot));
        var promised = Of(disk).Promised;
        return new PromiseAnswer(status == IoStatus.Ok && promised == ballot, promised, known.View.Ballot, known.View.Lsn, known.View.Id);
    }

    /// <summary>
    /// Keeps the newest view of a disk of which this host holds no entries; durable when it is Ok. Fenced below the promise.
    /// </summary>
    internal ValueTask<IoStatus> NoteViewAsync(DiskServices services, Id160 disk, ViewMark view)
    {
        var known = Of(disk);
        return known.View == view ? ValueTask.FromResult(IoStatus.Ok)
            : view.Ballot < known.Promised || view.Ballot <= known.View.Ballot ? ValueTask.FromResult(IoStatus.Fenced)
            : WriteAsync(services, new DeviceRecord(DeviceRecordType.RememberedView, disk, view.Ballot.Primary, view.Id)
            {
                Epoch = view.Ballot.Epoch,
                Lsn = view.Lsn,
                Previous = view.Previous,
            });
    }

    internal static DeviceRecord Promise(Id160 disk, Ballot ballot) =>
        new(DeviceRecordType.Promise, disk, ballot.Primary, default) { Epoch = ballot.Epoch };

    /// <summary>Writes a record durably; it is taken in once it is. Works on a full device, by its reserve.</summary>
    internal async ValueTask<IoStatus> WriteAsync(DiskServices services, DeviceRecord record)
    {
        while (true)
        {
            var changed = services.Log.RoomChanged;
            var room = TryAppend(services.Log, record);
            if (room == AppendRoom.Wait)
            {
                await changed;
                continue;
            }

            if (room != AppendRoom.Ok)
            {
                return room == AppendRoom.NoSpace ? IoStatus.NoSpace
                    : services.Log.Failure is null ? IoStatus.Stopped : IoStatus.Poisoned;
            }

            return await services.Log.FlushAsync();
        }
    }

    private AppendRoom TryAppend(LogWriter log, in DeviceRecord record)
    {
        lock (log.Gate)
        {
            var room = log.TryReserve(AppendSize.OfRecord, urgent: true, out var destination, out _);
            if (room == AppendRoom.Ok)
            {
                record.Write(destination);
                log.Publish(AppendSize.OfRecord, NoDisk.Instance, 0, default);

                // Under the gate: a checkpoint whose cut is behind the record must not miss it.
                Apply(record);
            }

            return room;
        }
    }

    private static Ballot BallotOf(in DeviceRecord record) => new(record.Epoch, record.View);

    private static ViewMark MarkOf(in DeviceRecord record) => new(BallotOf(record), record.Lsn, record.Secret, record.Previous);

    /// <summary>Who is told that a record is durable, which nobody asks.</summary>
    private sealed class NoDisk : IDurableSink
    {
        public static NoDisk Instance { get; } = new();

        public void OnDurable(ulong lsn, Id160 id)
        {
            // Whoever wrote it waits for the flush.
        }
    }
}
