using CloudFs.Core.Checkpoints;
using CloudFs.Core.Compaction;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Trees;

namespace CloudFs.Core.Engine;

/// <summary>
/// Takes checkpoints: cuts the log, freezes the disks' layers, makes the log durable, merges the layers (and what was
/// relocated) into new trees, makes those durable, writes both slots, and only then lets the new trees take the place of
/// the old ones, and what only the old ones needed be used again. Clients go on meanwhile. One at a time.
/// </summary>
internal sealed class Checkpointer(
    IBlockDevice device, DiskServices services, IndexSpace space, CheckpointStore store) : IDisposable
{
    /// <summary>How many in a row may be refused: with the waits between them, four minutes.</summary>
    private const int RefusalsMax = 10;

    private readonly SemaphoreSlim _one = new(1);
    private ulong _rollFrom = store.NewestRollFrom.Value;
    private long _written;
    private bool _gaveUp;
    private int _refusals;
    private DateTimeOffset _notBefore;

    /// <summary>Recovery would read the log from here on.</summary>
    public LogPosition RollFrom => new(Volatile.Read(ref _rollFrom));

    /// <summary>True when both slots say the same: else what only the older one refers to must not be freed.</summary>
    public bool IsPaired => store.IsPaired;

    /// <summary>Checkpoints written since the device was opened.</summary>
    public ulong Written => (ulong)Volatile.Read(ref _written);

    /// <summary>Why the last one could not be written; null when it was.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Writes a checkpoint of everything as it is now.</summary>
    /// <param name="moved">What was relocated, durable already; null for nothing.</param>
    /// <returns>False when there was no room for it, the index is damaged, or the log is not durable: the older ones stand.</returns>
    public async Task<bool> WriteAsync(RelocationPlan? moved = null)
    {
        await _one.WaitAsync();
        try
        {
            return services.Log.Failure is null && !services.IndexIsDamaged && await TryWriteAsync(moved);
        }
        catch (DeviceException e)
        {
            // What of it is on the device can't be known: nothing is written any more, by nobody.
            services.Log.Fail(e);
            throw;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>
    /// Until then it is not worth trying again: the device refused the last one's place. Explicit calls don't wait.
    /// </summary>
    public DateTimeOffset NotBefore => _notBefore;

    /// <summary>True when the device refused the last one's place: it may be tried again, so many times in a row.</summary>
    public bool WasRefused => _refusals > 0;

    /// <summary>The index pages in use.</summary>
    internal IndexSpace Space => space;

    /// <summary>Looks at the trees while no checkpoint replaces them.</summary>
    internal async Task BetweenAsync(Func<Task> look)
    {
        await _one.WaitAsync();
        try
        {
            await look();
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>The index is damaged: no checkpoint leads to it any more, so that the next start rebuilds it from the log.</summary>
    public async Task GiveUpIndexAsync()
    {
        await _one.WaitAsync();
        try
        {
            if (!_gaveUp)
            {
                _gaveUp = true;
                Trouble = "the index is damaged: nothing is compacted, and no checkpoint written, until a restart rebuilds it from the log";
                await store.VoidAsync(services.Segments.Count);
            }
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();

    /// <summary>
    /// A place that the device refuses is a reason to try again: at once where pages go elsewhere by then, later where it is a
    /// slot, which has no other place. Not for ever: without checkpoints nothing comes back.
    /// </summary>
    private async Task<bool> TryWriteAsync(RelocationPlan? moved)
    {
        while (true)
        {
            try
            {
                await store.SettleAsync();
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                await NoteRefusalAsync(e, -1);
                return false;
            }

            try
            {
                if (await WriteOneAsync(moved))
                {
                    _refusals = 0;
                    return true;
                }

                if (store.Refused is not { } refused)
                {
                    _refusals = 0;
                    return false;
                }

                await NoteRefusalAsync(refused, store.RefusedSpill);
                if (store.RefusedSpill < 0)
                {
                    return false;
                }

                // What one slot has, memory has taken in: it moves once.
                moved = store.IsHalfWritten ? null : moved;
            }
            catch (DeviceException e) when (e.IsBadPlace)
            {
                // An index page: the next merge puts it elsewhere.
                space.Abandon();
                await NoteRefusalAsync(e, -1);
            }
        }
    }

    private async Task NoteRefusalAsync(DeviceException refused, int spill)
    {
        Trouble = $"a checkpoint can't be written ({refused.Message}): the one before holds, and it is tried again";
        if (spill >= 0)
        {
            await services.Bad.CondemnAsync(spill, refused);
        }

        if (++_refusals == RefusalsMax)
        {
            throw new DeviceException(
                $"{RefusalsMax} checkpoints in a row could not be written, the last since {refused.Message}", refused);
        }

        _notBefore = services.Runtime.Time.GetUtcNow() + TimeSpan.FromSeconds(Math.Min(60, 1 << _refusals));
    }

    private async Task<bool> WriteOneAsync(RelocationPlan? moved)
    {
        await BackAsync(0);
        var cut = CutLog();

        // Before the disks: a copy that is whole by this has no entry with a gap that its disk, frozen later, lacks.
        var remembered = services.Remembered.Snapshot();
        TellLost(moved);
        var disks = services.Disks.All().Select(Freeze).ToList();
        if (await services.Log.FlushAsync() != IoStatus.Ok)
        {
            return false;
        }

        var delta = new LivenessDelta();
        try
        {
            foreach (var disk in disks)
            {
                await MergeAsync(disk, moved, delta);
            }

            await device.FlushAsync();
        }
        catch (IndexSpaceException)
        {
            space.Abandon();
            return Fail("no room for the index: space that is dead can't be had back until something is trimmed or deleted");
        }
        catch (TreeDamagedException e)
        {
            space.Abandon();
            services.TellDamagedIndex();
            return Fail($"the index is damaged ({e.Message}): no checkpoint can be written until it is rebuilt; restart the daemon");
        }

        var number = services.Segments.BeginCheckpoint();
        var contents = new CheckpointContents(
            cut, services.Segments.NextRelocationUse, SegmentsAt(cut, delta), space.Snapshot(),
            [.. disks.Where(disk => !disk.Kept.IsDropped).Select(disk => disk.Snapshot(moved))], remembered);
        var slots = await store.WriteAsync(services.Segments, contents, services.Log.Durable, services.Clock.NowMicros);
        if (slots == 0)
        {
            space.Abandon();
            return Fail("no room for a checkpoint: dead segments can't be had back until something is trimmed or deleted");
        }

        Settle(disks, moved, delta);
        if (slots < DeviceGeometry.CheckpointSlots)
        {
            // The older checkpoint stands in the other slot: what it refers to must not be used again.
            space.Keep();
            return Fail("no room for the second copy of a checkpoint");
        }

        space.Settle();
        services.Segments.SettleCheckpoint(number);
        Trouble = null;
        Volatile.Write(ref _rollFrom, cut.RollFrom.Value);
        Interlocked.Increment(ref _written);
        services.Segments.Reserve = SegmentTable.ReserveSegments + (2 * store.SpillsOfNewest) + IndexReserve();

        // Segments of pages may be free, and the reserve smaller.
        services.Log.RoomMayHaveChanged();
        return true;
    }

    private bool Fail(string trouble)
    {
        Trouble = trouble;
        return false;
    }

    /// <summary>
    /// Segments that the next merge may take beyond the pages that are free: at worst every leaf of the index is written anew,
    /// or one for each extent that an interval of the log can bring.
    /// </summary>
    private int IndexReserve()
    {
        var device = (long)services.Segments.Count * DeviceGeometry.SegmentBytes;
        var extents = Math.Min(Housekeeper.CheckpointIntervalBytes, device) / 4096;
        var pages = 64 + (Math.Min(space.PagesInUse, extents) * 5 / 4) + (extents / 200);
        return (int)Math.Max(0, (pages - space.FreePages + IndexPagesInSegment - 1) / IndexPagesInSegment);
    }

    private const long IndexPagesInSegment = DeviceGeometry.SegmentBytes / 4096;

    /// <summary>
    /// What pages and copies will need must lie on blocks of its own: a file system that is full must not fail a write.
    /// </summary>
    /// <param name="more">Segments that will be needed besides those of a checkpoint.</param>
    public async Task BackAsync(int more)
    {
        var wanted = 2 + more + (2 * store.SpillsOfNewest) + IndexReserve();
        while (services.Segments.BackedSpare < wanted && services.Segments.FindUnbacked() is var segment and >= 0)
        {
            if (!await device.TryReserveAsync(DeviceGeometry.SegmentOffset(segment), DeviceGeometry.SegmentBytes))
            {
                return;
            }

            services.Segments.SetBacked(segment);
        }
    }

    private LogCut CutLog()
    {
        lock (services.Log.Gate)
        {
            var rollFrom = services.Log.Cut();
            return new LogCut(rollFrom, services.Log.Tail().NextSequence, services.Segments.Next);
        }
    }

    private List<SegmentUse> SegmentsAt(LogCut cut, LivenessDelta delta)
    {
        // Below the cut all is flushed and sealed by now.
        var segments = services.Segments.Snapshot(delta);
        for (var i = 0; i < segments.Count; i++)
        {
            if (segments[i].State == SegmentState.Open && segments[i].Use < cut.RollFrom.Use)
            {
                segments[i] = segments[i] with { State = SegmentState.Sealed };
            }
        }

        return segments;
    }

    /// <summary>
    /// What relocation could not have is noted before the disks' states are copied: it has to be in the checkpoint that makes it
    /// lost, for no read finds it again in the log.
    /// </summary>
    private void TellLost(RelocationPlan? moved)
    {
        foreach (var disk in services.Disks.All())
        {
            disk.NoteLost(moved?.Moves.GetValueOrDefault(disk.Id)?.Where(move => move.To.IsNone) ?? []);
        }
    }

    private static FrozenDisk Freeze(Disk disk) =>
        disk.Freeze((state, layers) => new FrozenDisk(disk, DiskSnapshot.Of(state), layers));

    private async Task MergeAsync(FrozenDisk disk, RelocationPlan? moved, LivenessDelta delta)
    {
        if (disk.Kept.Head.Deleted || disk.Kept.IsDropped)
        {
            disk.Tree = await services.Tree.DropAsync(disk.Kept.Tree, disk.Kept.Head.Lsn, delta);
            return;
        }

        var moves = moved?.Moves.GetValueOrDefault(disk.Kept.Head.Disk) ?? [];
        foreach (var layer in disk.Layers)
        {
            disk.Tree = await services.Tree.MergeAsync(disk.Tree, layer.Runs(), moves, delta);
            moves = [];
        }

        if (moves.Count > 0)
        {
            disk.Tree = await services.Tree.MergeAsync(disk.Tree, new ExtentRuns([]), moves, delta);
        }
    }

    private void Settle(List<FrozenDisk> disks, RelocationPlan? moved, LivenessDelta delta)
    {
        // First what the trees refer to now, then what the layers no longer do: so nothing seems dead in between.
        services.Segments.Apply(delta);
        foreach (var disk in disks)
        {
            disk.Disk.Settle(disk.Tree, disk.Layers, disk.Kept.Head.Lsn, disk.MovedPins(moved));
            foreach (var extent in disk.Layers.SelectMany(layer => layer.Runs().Leaves).SelectMany(leaf => leaf))
            {
                services.Segments.Removed(extent);
            }

            if (disk.Kept.IsDropped)
            {
                disk.Disk.ReleasePins();
                services.Disks.Remove(disk.Kept.Head.Disk);
            }
        }
    }

    /// <summary>A disk on its way into a checkpoint.</summary>
    private sealed record FrozenDisk(Disk Disk, DiskSnapshot Kept, IReadOnlyList<ExtentMap> Layers)
    {
        public TreeRoot Tree { get; set; } = Kept.Tree;

        public IEnumerable<(ulong Lsn, LogPosition From, LogPosition To)> MovedPins(RelocationPlan? moved) =>
            moved?.Metas.Where(meta => meta.Disk == Kept.Head.Disk).Select(meta => (meta.Lsn, meta.From, meta.To)) ?? [];

        public DiskSnapshot Snapshot(RelocationPlan? moved)
        {
            var pins = MovedPins(moved).ToDictionary(pin => pin.From, pin => pin.To);
            return Kept with
            {
                Tree = Tree,
                Pins = [.. Kept.Pins.Select(pin => pins.TryGetValue(pin.Position, out var to) ? pin with { Position = to } : pin)],
            };
        }
    }
}
