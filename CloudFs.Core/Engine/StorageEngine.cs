using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using CloudFs.Core.Replication;
using CloudFs.Core.Scrub;

namespace CloudFs.Core.Engine;

/// <summary>The engine over one device: it owns the log, the disks and the loops that serve them. Any thread.</summary>
public sealed class StorageEngine : IAsyncDisposable
{
    private readonly IBlockDevice _device;
    private readonly DeviceLabel _label;
    private readonly DiskServices _services;
    private readonly EngineUpkeep _upkeep;
    private readonly Ingest _ingest;
    private readonly EngineBuffer? _region;
    private readonly SemaphoreSlim _naming = new(1);
    private Task _logLoop = Task.CompletedTask;
    private Task _houseLoop = Task.CompletedTask;
    private Task _scrubLoop = Task.CompletedTask;
    private int _disposed;

    internal StorageEngine(
        IBlockDevice device, DeviceLabel label, DiskServices services, EngineUpkeep upkeep, Scrubber scrubber, EngineBuffer? region,
        RecoveryReport recovery, ReplicationHub replication)
    {
        Replication = replication;
        _device = device;
        _label = label;
        _services = services;
        _upkeep = upkeep;
        _region = region;
        _ingest = new Ingest(services);
        Recovery = recovery;
        Scrub = scrubber;
    }

    /// <summary>The device's own id, made when it was formatted.</summary>
    public Id160 DeviceId => _label.DeviceId;

    /// <summary>The id of the host that the device belongs to.</summary>
    public Id160 HostId => _label.HostId;

    /// <summary>What was found and decided when the device was opened.</summary>
    public RecoveryReport Recovery { get; }

    /// <summary>Reads everything again and again, and tells what it finds.</summary>
    public Scrubber Scrub { get; }

    /// <summary>Everything that has to do with other hosts.</summary>
    public ReplicationHub Replication { get; }

    /// <summary>Opens a device, formatting a blank one, and recovers what it holds. The engine owns the device from the call on.</summary>
    /// <exception cref="DeviceRefusedException">The device can't be used; it was left as it is.</exception>
    /// <exception cref="DeviceException">The device failed.</exception>
    public static Task<StorageEngine> OpenAsync(EngineSettings settings, EngineRuntime runtime) =>
        EngineOpening.OpenAsync(settings, runtime);

    /// <summary>The disks that are here and not deleted, in the order of their ids.</summary>
    public IReadOnlyList<Disk> ListDisks() => [.. _services.Disks.Live().Where(disk => disk.Durable.Lsn > 0 && !disk.IsCopying)];

    /// <summary>
    /// Finds a disk by its id, a prefix of its id that is unique (4 digits at least), or its name.
    /// Throws <see cref="RefusalException"/> NotFound, or Conflict for an ambiguous prefix.
    /// </summary>
    public Disk FindDisk(string idPrefixOrName) => _services.Disks.Find(idPrefixOrName);

    /// <summary>Finds a disk by exact id (40 digits) or exact name, as NBD and HTTP queries do.</summary>
    public bool TryGetDisk(string idOrName, out Disk disk)
    {
        disk = _services.Disks.ByIdOrName(idOrName)!;
        return disk is not null;
    }

    /// <summary>
    /// Makes a disk, durable when it returns. Throws <see cref="RefusalException"/> Invalid, Conflict (name taken),
    /// NoSpace or Unavailable.
    /// </summary>
    public async ValueTask<Disk> CreateDiskAsync(DiskSpec spec, CancellationToken cancellation)
    {
        DiskRanges.RequireSize(spec.SizeBytes);
        await _naming.WaitAsync(cancellation);
        try
        {
            _services.Disks.RequireNameFree(spec.Name);
            var attributes = AttributesBody.Empty.WithSize(spec.SizeBytes).WithDurability(spec.Durability);
            var secret = _services.NewSecret();
            var view = new ViewBody
            {
                View = EntryHashes.ViewOf(secret),
                Epoch = 1,
                Primary = HostId,
                Replicas = [new Replica(HostId, DeviceId)],
                Attributes = spec.Name is null ? attributes : attributes.WithName(spec.Name),
            };
            var disk = new Disk(_services, new DiskState(_services.Segments));
            var outcome = await disk.AppendWhenRoomAsync(() => disk.Appender.TryCreate(view, secret), cancellation);
            var status = outcome.Status == IoStatus.Ok ? await _services.Log.FlushAsync() : outcome.Status;
            DiskRanges.RequireOk(status, disk);
            Replication.Changed();
            return disk;
        }
        finally
        {
            _naming.Release();
        }
    }

    /// <summary>Gives a disk another name (null takes it away). Throws as <see cref="CreateDiskAsync"/> does.</summary>
    public async ValueTask RenameDiskAsync(Disk disk, string? name, CancellationToken cancellation)
    {
        await _naming.WaitAsync(cancellation);
        try
        {
            _services.Disks.RequireNameFree(name, disk);
            await disk.RenameAsync(name, cancellation);
        }
        finally
        {
            _naming.Release();
        }
    }

    /// <summary>
    /// Takes one entry from outside (<c>PUT /log</c>): header and body, whole. Checked, and appended if it extends what is
    /// here; a first entry makes a mirror. Appended does not mean durable: call <see cref="FlushAsync"/> at the end.
    /// </summary>
    public ValueTask<IngestResult> IngestAsync(ReadOnlyMemory<byte> entry, CancellationToken cancellation) =>
        _ingest.TakeAsync(entry, cancellation);

    /// <summary>
    /// Begins a copy of a disk from another host's /state, or goes on with one where it was. Throws <see cref="RefusalException"/>
    /// Conflict for a deleted disk, NoSpace, Unavailable.
    /// </summary>
    /// <param name="disk">Which, held here up to some version or not at all.</param>
    /// <param name="source">The ballot of the primary that the copy is of; nothing is taken below what this host has promised.</param>
    /// <param name="cancellation">Before anything is written.</param>
    public ValueTask<StateReceiver> ReceiveStateAsync(Id160 disk, Ballot source, CancellationToken cancellation) =>
        StateReceiver.OpenAsync(_services, disk, source, cancellation);

    /// <summary>Everything acknowledged or appended before this call is durable when it completes with Ok.</summary>
    public ValueTask<IoStatus> FlushAsync(CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return _services.Log.FlushAsync();
    }

    /// <summary>For those who hold what is counted against what is there.</summary>
    internal DiskServices Services => _services;

    internal EngineUpkeep Upkeep => _upkeep;

    /// <summary>Writes a checkpoint now.</summary>
    internal Task<bool> CheckpointAsync() => _upkeep.Checkpointer.WriteAsync();

    /// <summary>Compacts every sealed segment now.</summary>
    internal Task<bool> CompactAsync() => _upkeep.Housekeeper.CompactAsync();

    /// <summary>How long things take.</summary>
    public StageLatencies Stages => _services.Stages;

    /// <summary>What waits for the device.</summary>
    public LogDepth GetLogDepth() => _services.Log.GetDepth();

    /// <summary>What the room on the device is used for.</summary>
    public SpaceReport GetSpace()
    {
        var tally = _services.Segments.Tally();
        return SpaceAccounting.Space(new SpaceTally
        {
            SegmentBytes = DeviceGeometry.SegmentBytes,
            Segments = (ulong)tally.Segments,
            FreeSegments = (ulong)tally.Free,
            IndexSegments = (ulong)tally.Index,
            CheckpointSegments = (ulong)tally.Checkpoint,
            BadSegments = (ulong)tally.Bad,
            ReserveSegments = (ulong)_services.Segments.Reserve,
            OpenBytes = _services.Log.UnwrittenBytes(),
            LiveBytes = Bytes(tally.LiveSectors),
            LiveHeaderBytes = (ulong)Math.Max(0, tally.HeaderBytes),
            HistoryBytes = (ulong)_services.Disks.All().Sum(disk => disk.Locked(state => state.Lsns.HistoryBytes)),
            LiveHistoryBytes = Bytes(tally.HistorySectors),
            LiveHistoryEntries = (ulong)Math.Max(0, tally.HistoryEntries),
        });

        // A look between the two halves of a change may find less than nothing.
        static ulong Bytes(long sectors) => (ulong)Math.Max(0, sectors) * EntryLayout.SectorSize;
    }

    /// <summary>How compaction stands.</summary>
    public CompactionReport GetCompaction()
    {
        var (debt, seconds) = _upkeep.Compactor.Debt;
        var isRunning = _upkeep.Compactor.IsRunning;
        return SpaceAccounting.Compaction(new CompactionTally
        {
            Running = isRunning,
            IsShort = isRunning || (debt is { GainBytes: > 0, IsReachable: true } && !_services.Segments.IsExhausted),
            IsFull = _services.Segments.IsFull,
            DebtBytes = (ulong)debt.LiveBytes,
            SecondsLeft = seconds,
            NewBytes = _services.Log.Counters.NewBytes,
            RelocatedBytes = (ulong)_upkeep.Compactor.RelocatedBytes,
            VictimsFreed = (ulong)_upkeep.Compactor.Freed,
        });
    }

    public HealthReport GetHealth() => EngineHealth.Of(_services, Recovery, _upkeep.Housekeeper, Scrub);

    public EngineCounters GetCounters()
    {
        var log = _services.Log.Counters;
        var checkpoints = (ulong)_upkeep.Checkpoints.BytesWritten;
        var relocated = (ulong)_upkeep.Compactor.RelocatedBytes;
        var index = (ulong)_upkeep.Index.BytesWritten;
        return new EngineCounters
        {
            Entries = _services.Io.Entries,
            EntryBytes = _services.Io.EntryBytes,
            Commits = log.Commits,
            DeviceBytesWritten = log.Bytes + checkpoints + relocated + index,
            NewBytes = log.NewBytes,
            RelocatedBytes = relocated,
            IndexBytes = index,
            FooterBytes = log.FooterBytes,
            AheadBytes = log.AheadBytes,
            DeviceFlushes = log.Flushes,
            IndexCacheHits = (ulong)_upkeep.Pages.Hits,
            IndexCacheMisses = (ulong)_upkeep.Pages.Misses,
            ReadCacheHits = (ulong)(_services.Pages.Cache?.Hits ?? 0),
            ReadCacheMisses = (ulong)(_services.Pages.Cache?.Misses ?? 0),
            ReadCacheBytes = (ulong)(_services.Pages.Cache?.Bytes ?? 0),
            IndexPages = (ulong)_upkeep.Index.PagesInUse,
            Checkpoints = _upkeep.Checkpointer.Written,
            CheckpointBytes = checkpoints,
            DamagedPages = _services.Io.DamagedPages,
            HeadersFromCopy = (ulong)_services.Reader.HeadersFromCopy,
            ReadBytes = _services.Io.ReadBytes,
            WrittenBytes = _services.Io.WrittenBytes,
            SegmentsReclaimed = (ulong)_upkeep.Compactor.Freed,
        };
    }

    /// <summary>Stops cleanly: refuses new work, makes all durable, seals the open segment, writes a checkpoint.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        await Replication.DisposeAsync();

        // The scrub may be waiting for a checkpoint: the housekeeper goes on until it has ended.
        Scrub.Stop();
        await _scrubLoop;
        _upkeep.Housekeeper.Stop();
        await _houseLoop;
        foreach (var disk in _services.Disks.All())
        {
            disk.Stop();
        }

        _services.Log.Stop();
        await _logLoop;
        if (_services.Log.Failure is null)
        {
            await CloseAsync();
        }

        _device.Dispose();
        _ingest.Dispose();
        _upkeep.Dispose();
        Scrub.Dispose();
        _services.Bad.Dispose();
        _services.Rewriter.Dispose();
        _naming.Dispose();
    }

    internal void Start(Task logLoop, Task houseLoop)
    {
        _logLoop = logLoop;
        _houseLoop = houseLoop;
    }

    internal void StartScrub(Task scrubLoop) => _scrubLoop = scrubLoop;

    private async Task CloseAsync()
    {
        try
        {
            // Without room for it, the next start reads more of the log: nothing is lost.
            await _upkeep.Compactor.SealAsync();
            await _upkeep.Checkpointer.WriteAsync();
            _region?.Remove();
        }
        catch (DeviceException e)
        {
            _services.Runtime.Report(new EngineEvent(
                EventLevel.Error, "checkpoint-failed", $"the last checkpoint could not be written: {e.Message}"));
        }
    }
}
