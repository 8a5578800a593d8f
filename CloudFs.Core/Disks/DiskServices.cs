using CloudFs.Core.Index;
using CloudFs.Core.Log;
using CloudFs.Core.Metrics;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Disks;

/// <summary>What every disk of an engine shares.</summary>
public sealed class DiskServices
{
    private int _indexIsDamaged;

    public required Id160 HostId { get; init; }

    public required Id160 DeviceId { get; init; }

    public required EngineRuntime Runtime { get; init; }

    public required SegmentTable Segments { get; init; }

    /// <summary>Where writes failed.</summary>
    public required BadPlaces Bad { get; init; }

    public required LogWriter Log { get; init; }

    public required LogReader Reader { get; init; }

    public required PageReader Pages { get; init; }

    public required SegmentWalker Walker { get; init; }

    /// <summary>Writes damaged pages again, once their bytes were had from elsewhere.</summary>
    public required PageRewriter Rewriter { get; init; }

    public required ChainClock Clock { get; init; }

    /// <summary>The trees under the disks' maps.</summary>
    public required PagedTree Tree { get; init; }

    /// <summary>All disks; one joins with its first entry.</summary>
    public DiskCatalog Disks { get; } = new();

    /// <summary>Promises, and what is known of disks that are not here.</summary>
    public RememberedDisks Remembered { get; init; } = new();

    /// <summary>Told when a disk came, went, or changed its attributes.</summary>
    internal Action? NoteChange { get; set; }

    /// <summary>Has damaged pages from other hosts; null where there are none to ask.</summary>
    internal IPageHealer? Healer { get; set; }

    /// <summary>Writes a checkpoint now; null before there can be any.</summary>
    internal Func<Task<bool>>? Checkpoint { get; set; }

    public IoCounters Io { get; } = new();

    /// <summary>How long things take.</summary>
    public StageLatencies Stages => Log.Stages;

    /// <summary>Which pages are written more often than others.</summary>
    public required HeatMap Heat { get; init; }

    /// <summary>A disk's number in <see cref="Heat"/>.</summary>
    public static ulong HeatOf(Id160 disk)
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        disk.WriteTo(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    /// <summary>True once a page of the index was found damaged: what it maps answers EIO until the index is rebuilt.</summary>
    public bool IndexIsDamaged => Volatile.Read(ref _indexIsDamaged) != 0;

    /// <summary>
    /// This host's copy of a disk goes away, and is gone when this returns; its promise and its newest view are remembered
    /// (PROTOCOL.md, 9).
    /// </summary>
    /// <exception cref="RefusalException">Unavailable: the device takes nothing more, or no checkpoint can be written now.</exception>
    internal async ValueTask DropAsync(Disk disk, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var (id, view) = disk.Locked(state => (state.Head.Disk, state.Views.Count > 0 ? state.Views[^1] : default));
        disk.Drop();
        if (view.Lsn > 0)
        {
            await Remembered.NoteViewAsync(this, id, view);
        }

        var record = new Layout.DeviceRecord(Layout.DeviceRecordType.Dropped, id, default, default)
        {
            Lsn = Segments.NextRelocationUse,
            Lba = LogEnd(),
            Epoch = Remembered.Of(id).CopyNumber,
        };
        var status = await Remembered.WriteAsync(this, record);
        DiskRanges.RequireOk(status, disk);

        // Until a checkpoint is without it, its segments are not free, and it can't come again.
        if (Checkpoint is { } write && !await write())
        {
            throw new RefusalException(
                Refusal.Unavailable,
                "the copy is given up, and its room comes back with the next checkpoint, which could not be written now");
        }
    }

    private ulong LogEnd()
    {
        lock (Log.Gate)
        {
            return Log.End.Value;
        }
    }

    /// <summary>A page of the index is damaged. Told once.</summary>
    public void TellDamagedIndex()
    {
        if (Interlocked.Exchange(ref _indexIsDamaged, 1) == 0)
        {
            Log.Upkeep?.Invoke();
            Runtime.Report(new EngineEvent(
                EventLevel.Error,
                "damaged-index",
                "a page of the index is damaged: what it maps answers EIO; nothing is lost: the next start rebuilds the index from "
                + "the log, or stop the daemon and run cloudfs verify --rebuild-index"));
        }
    }

    /// <summary>A random 160-bit value, fit for a secret.</summary>
    public Id160 NewSecret()
    {
        Span<byte> bytes = stackalloc byte[Id160.Size];
        Runtime.FillRandom(bytes);
        return new Id160(bytes);
    }
}

/// <summary>
/// Gives entries their time: the wall clock's, but never less than the entry before. While a clock that jumped back is not
/// caught up, time advances by a microsecond an entry; the jump is told once.
/// </summary>
public sealed class ChainClock(EngineRuntime runtime)
{
    /// <summary>Smaller steps back are what clocks do when they are adjusted.</summary>
    private const ulong ToldMicros = 1_000_000;

    private int _told;

    /// <summary>Microseconds since 1970 by the wall clock.</summary>
    public ulong NowMicros => (ulong)Math.Max(
        0, (runtime.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond);

    /// <summary>The time of an entry that follows one of <paramref name="last"/>.</summary>
    public ulong After(ulong last)
    {
        var now = NowMicros;
        if (now >= last)
        {
            Volatile.Write(ref _told, 0);
            return now;
        }

        if (last - now > ToldMicros && Interlocked.Exchange(ref _told, 1) == 0)
        {
            runtime.Report(new EngineEvent(
                EventLevel.Warning,
                "clock-jumped",
                $"the clock is {(last - now) / 1_000_000.0:F1} s behind the newest entry: time in the chain advances by a "
                + "microsecond an entry until it has caught up; check the clock"));
        }

        return last + 1;
    }
}

/// <summary>Counts what clients moved. Any thread.</summary>
public sealed class IoCounters
{
    private long _entries;
    private long _entryBytes;
    private long _read;
    private long _written;
    private long _damaged;

    public ulong Entries => (ulong)Volatile.Read(ref _entries);

    public ulong EntryBytes => (ulong)Volatile.Read(ref _entryBytes);

    public ulong ReadBytes => (ulong)Volatile.Read(ref _read);

    public ulong WrittenBytes => (ulong)Volatile.Read(ref _written);

    public ulong DamagedPages => (ulong)Volatile.Read(ref _damaged);

    public void AddEntry(int bytes)
    {
        Interlocked.Increment(ref _entries);
        Interlocked.Add(ref _entryBytes, bytes);
    }

    public void AddRead(long bytes) => Interlocked.Add(ref _read, bytes);

    public void AddWritten(long bytes) => Interlocked.Add(ref _written, bytes);

    public void AddDamaged() => Interlocked.Increment(ref _damaged);
}
