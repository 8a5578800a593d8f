using CloudFs.Core.Compaction;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Engine;

/// <summary>What a look at the device's space led to.</summary>
internal enum CompactionOutcome
{
    /// <summary>Nothing to do, or nothing that can be done now.</summary>
    Idle,

    /// <summary>Segments were freed: there may be more.</summary>
    Freed,

    /// <summary>It is needed, and could not be done: try again soon.</summary>
    Blocked,
}

/// <summary>
/// Brings space back: chooses victims, copies what is live out of them at a bounded rate, has a checkpoint take the copies
/// in, and frees the victims. Used by the housekeeper's loop alone; nothing else frees segments of the log.
/// </summary>
internal sealed class Compactor
{
    /// <summary>Waits shorter than this are saved up: timers don't measure less.</summary>
    private const double ShortestWaitSeconds = 0.004;

    /// <summary>How many cycles in a row may win next to nothing before writes are refused.</summary>
    private const int FruitlessMax = 3;

    /// <summary>
    /// What a cycle must win, in bytes: freeing as many segments as the copies fill is no gain, though each of them had garbage.
    /// Where entries are large there is always some, at the segments' ends.
    /// </summary>
    private const long FruitfulBytes = DeviceGeometry.SegmentBytes / 4;

    /// <summary>So long nothing is copied on a full device to which nothing is appended.</summary>
    private static readonly TimeSpan FruitlessRest = TimeSpan.FromSeconds(30);

    private readonly IBlockDevice _device;
    private readonly DiskServices _services;
    private readonly Checkpointer _checkpointer;

    /// <summary>For those who ask what is left to be done: they are not the loop.</summary>
    private readonly Lock _policyLock = new();
    private readonly VictimPolicy _policy;
    private readonly Relocator _relocator;
    private readonly List<SegmentFacts> _victims = [];
    private readonly HashSet<ulong> _unreadable = [];
    private readonly RateMeter _clients;
    private readonly RelocationSpace _space;
    private ulong _horizon;
    private double _owedSeconds;
    private int _fruitless;
    private LogPosition _fruitlessAt;
    private long _fruitlessSince;
    private CancellationToken _cancellation;
    private long _cycleLeft;
    private double _cycleShare;

    public Compactor(
        IBlockDevice device, DiskServices services, Checkpointer checkpointer, int physicalBlock, TimeSpan historyMin)
    {
        _device = device;
        _services = services;
        _checkpointer = checkpointer;
        _policy = new VictimPolicy(
            services.Segments.Count, SegmentTable.ReserveSegments, (long)historyMin.TotalMicroseconds);
        _space = new RelocationSpace(services);
        _relocator = new Relocator(
            device, services.Segments, _space, services.DeviceId, physicalBlock, LookAsync, IsNeeded)
        {
            Elsewhere = async (disk, lsn, lba, page) => services.Healer is { } healer
                ? await healer.FetchAsync(disk, lsn, lba, page, CancellationToken.None) : null,
        };
        _clients = new RateMeter(services.Runtime.Time);
    }

    /// <summary>Done between pieces of a cycle, which may take long: the log must not wait for it.</summary>
    public Func<Task> Meanwhile { get; set; } = () => Task.CompletedTask;

    /// <summary>Bytes that were written to relocate.</summary>
    public long RelocatedBytes { get; private set; }

    /// <summary>Segments of the log that were freed.</summary>
    public long Freed { get; private set; }

    /// <summary>True while a cycle is under way.</summary>
    public bool IsRunning { get; private set; }

    /// <summary>What is left to be done until enough is free, and the seconds that it will take. Any thread may ask.</summary>
    public (CompactionDebt Debt, double Seconds) Debt
    {
        get
        {
            var now = Now();
            CompactionDebt debt;
            lock (_policyLock)
            {
                debt = _policy.Debt(Facts(), now);
            }

            var pace = CompactionPace.BytesPerSecond(PaceInput(now));
            return (debt, CompactionPace.SecondsLeft(debt, double.IsInfinity(pace) ? 256 << 20 : pace, _clients.BytesPerSecond));
        }
    }

    /// <summary>Compacts as long as room is short and something can be won.</summary>
    public async Task<CompactionOutcome> RunAsync(CancellationToken cancellation)
    {
        _clients.Note(_services.Log.Tail().End.Value);
        _services.Segments.Reconsider();
        if (_fruitless >= FruitlessMax)
        {
            if (End() != _fruitlessAt)
            {
                _fruitless = 0;
            }
            else if (_services.Segments.Free >= _services.Segments.Reserve
                && _services.Runtime.Time.GetElapsedTime(_fruitlessSince) < FruitlessRest)
            {
                // Nothing was appended since, and trims have room: only time can make a difference, by ending history.
                return CompactionOutcome.Blocked;
            }
        }

        for (var attempt = 0; ; attempt++)
        {
            CompactionPlan plan;
            lock (_policyLock)
            {
                plan = _policy.Choose(Facts(), Now() with { OutputRest = OutputRest() }, _victims);
            }

            switch (plan.Verdict)
            {
                case CompactionVerdict.Chosen:
                    var room = Room();
                    await RunCycleAsync(plan, cancellation);
                    var isFruitful = Room() - room >= FruitfulBytes;
                    _fruitless = isFruitful ? 0 : _fruitless + 1;
                    (_fruitlessAt, _fruitlessSince) = (End(), _services.Runtime.Time.GetTimestamp());
                    SetExhausted(_fruitless >= FruitlessMax || _services.IndexIsDamaged);
                    return isFruitful ? CompactionOutcome.Freed : CompactionOutcome.Blocked;
                case CompactionVerdict.NotNeeded:
                    SetExhausted(false);
                    return CompactionOutcome.Idle;
                case CompactionVerdict.HistoryHolds:
                    return CompactionOutcome.Blocked;
                default:
                    // What was overwritten since the last checkpoint is not known to be dead before the next.
                    if (attempt == 0 && HasNews() && await _checkpointer.WriteAsync())
                    {
                        continue;
                    }

                    SetExhausted(true);
                    return CompactionOutcome.Idle;
            }
        }
    }

    /// <summary>Says whether there is anything to wait for: those who wait are told when there is not.</summary>
    private void SetExhausted(bool exhausted)
    {
        if (_services.Segments.IsExhausted != exhausted)
        {
            _services.Segments.SetExhausted(exhausted);
            _services.Log.RoomMayHaveChanged();
        }
    }

    /// <summary>Completes the segments that it was filling: the engine stops.</summary>
    /// <exception cref="DeviceException">The device failed.</exception>
    public async Task SealAsync()
    {
        await _relocator.FinishAsync(seal: true, _ => ValueTask.CompletedTask);
        await _device.FlushAsync();
    }

    /// <summary>One cycle over all that can be compacted, whatever is free.</summary>
    public async Task<bool> ForceAsync(CancellationToken cancellation)
    {
        var facts = Facts();
        var rollFrom = _checkpointer.RollFrom.Use;
        _victims.Clear();
        foreach (var fact in facts)
        {
            if (fact.IsRelocation || fact.Use < rollFrom)
            {
                _victims.Add(fact);
            }
        }

        return _victims.Count > 0
            && await RunCycleAsync(new CompactionPlan(CompactionVerdict.Chosen, 0, 0, 0, true), cancellation);
    }

    /// <summary>True when something was appended since the last checkpoint, be it to a commit that is still open.</summary>
    private bool HasNews() => End() > _checkpointer.RollFrom;

    private LogPosition End()
    {
        lock (_services.Log.Gate)
        {
            return _services.Log.End;
        }
    }

    /// <summary>Bytes of room, with those added that the log has taken so far: what changes in it is what compaction won.</summary>
    private long Room() =>
        ((_services.Segments.Free + (long)End().Use) << LogPosition.OffsetBits) + OutputRest();

    private async Task<bool> RunCycleAsync(CompactionPlan plan, CancellationToken cancellation)
    {
        IsRunning = true;
        _cancellation = cancellation;
        _space.Begin(plan);
        _services.Heat.Live((ulong)_services.Segments.Tally().LiveSectors);
        _cycleLeft = plan.LiveBytes;
        _cycleShare = plan.LiveBytes / (double)Math.Max(1, plan.LiveBytes + plan.GainBytes);
        try
        {
            var freed = FreeDead();
            await _checkpointer.BackAsync(plan.OutputSegments);
            var taken = await RelocateAsync(cancellation);
            if (!taken)
            {
                _relocator.Abandon();
                return freed > 0;
            }

            var moved = await _relocator.FinishAsync(seal: false, PaceAsync);
            RelocatedBytes += moved.BytesWritten;
            await _device.FlushAsync();
            if (!await _checkpointer.WriteAsync(moved))
            {
                return freed > 0;
            }

            return FreeDead() + freed > 0;
        }
        catch (OperationCanceledException)
        {
            _relocator.Abandon();
            throw;
        }
        finally
        {
            IsRunning = false;
            _space.End();
        }
    }

    /// <summary>Copies out of the victims what is live. False when nothing was, so that there is no plan to finish.</summary>
    private async Task<bool> RelocateAsync(CancellationToken cancellation)
    {
        var taken = false;
        foreach (var victim in _victims)
        {
            if (!_services.Segments.TryLocate(victim.Use, out _))
            {
                continue;
            }

            var outcome = await _relocator.RelocateAsync(
                victim.Use, (entry, lba) => StreamOf(victim, entry, lba), PaceAsync, cancellation);
            switch (outcome)
            {
                case RelocationOutcome.Done:
                    taken = true;
                    break;
                case RelocationOutcome.Unreadable:
                    lock (_policyLock)
                    {
                        _unreadable.Add(victim.Use);
                    }

                    _services.Runtime.Report(new EngineEvent(
                        EventLevel.Warning,
                        "unreadable-segment",
                        $"use {victim.Use} can't be compacted, since not all of it can be read: it stays as it is"));
                    break;
                case RelocationOutcome.IndexDamaged:
                    _services.TellDamagedIndex();
                    return false;
                case RelocationOutcome.NoRoom or RelocationOutcome.TooMuch:
                    return taken;
            }
        }

        return taken;
    }

    /// <summary>Frees the victims that nothing refers to, and ends the history that they held.</summary>
    private int FreeDead()
    {
        var count = 0;
        foreach (var victim in _victims)
        {
            if (!_checkpointer.IsPaired || !_services.Segments.TryFree(victim.Use))
            {
                continue;
            }

            count++;
            Freed++;
            if (!victim.IsRelocation)
            {
                _horizon = Math.Max(_horizon, victim.Use + 1);
                foreach (var disk in _services.Disks.All())
                {
                    disk.OnReclaimed(victim.Use);
                }
            }
        }

        if (count > 0)
        {
            _services.Log.RoomMayHaveChanged();
        }

        return count;
    }

    private int StreamOf(in SegmentFacts victim, in EntryHeader entry, ulong lba)
    {
        var heat = _services.Heat;
        return _space.Redirect(VictimPolicy.StreamOf(
            victim.IsRelocation, heat.IsWarm, heat.IsHot(DiskServices.HeatOf(entry.Disk), lba)));
    }

    private SegmentFacts[] Facts() =>
    [
        .. _services.Segments.Snapshot()
            .Where(use => use.State == SegmentState.Sealed
                && (use.References + use.Pins == 0 || !_unreadable.Contains(use.Use)))
            .Select(use => new SegmentFacts(
                use.Segment, use.Use, use.References + use.Pins, use.LiveSectors, use.SealedAt, (long)use.SealedMicros,
                use.Headers)),
    ];

    /// <summary>
    /// Space as the policy counts it, with its own reserve: what is kept back besides, for pages, is not free to it. Else it
    /// would see enough where writes already wait.
    /// </summary>
    private SpaceNow Now() => new(
        Math.Max(0, _services.Segments.Free - (_services.Segments.Reserve - SegmentTable.ReserveSegments)), 0,
        _services.Log.Tail().End.Use, _checkpointer.RollFrom.Use, _horizon, (long)_services.Clock.NowMicros);

    private long OutputRest() =>
        _relocator.RoomLeft(VictimPolicy.HotStream) + _relocator.RoomLeft(VictimPolicy.ColdStream);

    private PaceInput PaceInput(in SpaceNow now) => new(
        (long)now.Free << LogPosition.OffsetBits, (long)SegmentTable.ReserveSegments << LogPosition.OffsetBits,
        (long)_policy.HighWater << LogPosition.OffsetBits, _clients.BytesPerSecond, _cycleLeft, _cycleShare);

    private async ValueTask PaceAsync(int bytes)
    {
        _clients.Note(_services.Log.Tail().End.Value);
        _cycleLeft = Math.Max(0, _cycleLeft - bytes);
        await Meanwhile();
        var pace = CompactionPace.BytesPerSecond(PaceInput(Now()));
        if (pace is 0 or double.PositiveInfinity)
        {
            _owedSeconds = 0;
            return;
        }

        _owedSeconds += bytes / pace;
        if (_owedSeconds >= ShortestWaitSeconds)
        {
            var wait = TimeSpan.FromSeconds(Math.Min(1, _owedSeconds));
            _owedSeconds = 0;
            await Task.Delay(wait, _services.Runtime.Time, _cancellation);
        }
    }

    private ValueTask<(TreeRead Status, int Count)> LookAsync(
        Id160 disk, ulong lba, ulong end, Memory<MappedExtent> into) =>
        _services.Disks.ById(disk) is { } found
            ? found.LookUpAsync(lba, end, into)
            : ValueTask.FromResult((TreeRead.Ok, 0));

    private bool IsNeeded(DeviceRecord record) => record.Type == DeviceRecordType.ViewSecret
        ? _services.Disks.ById(record.Disk)?.Locked(state => state.Head.View?.Hash == record.View) ?? false
        : _services.Remembered.IsInForce(record);
}
