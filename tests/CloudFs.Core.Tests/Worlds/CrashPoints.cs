using CloudFs.Core.Chain;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>What a short history is made of.</summary>
internal enum Operation
{
    Write,
    FuaWrite,
    Zero,
    Flush,
    Checkpoint,
    Rename,
    Delete,

    /// <summary>Everything that is sealed is compacted: what was written before the last start.</summary>
    Compact,

    /// <summary>A FUA write for which the open segment has no room: a footer, and the first commit of the next.</summary>
    Cross,
}

/// <summary>
/// Every crash point of a short history: the last of its operations is cut off before each write and flush of the device
/// and at the end, by a death of the process and by a power cut that keeps of the writes not flushed none, all, each one
/// alone, all but each one, and halves. (Crash points of the operations before are those of shorter histories.) After
/// each the engine is opened, and must hold what the oracle says.
/// </summary>
internal sealed class CrashPoints : IDeviceRecorder
{
    private const int DiskBytes = 64 << 10;
    private const int Slots = 2;

    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly Id160 Boot = new([.. Enumerable.Repeat((byte)1, Id160.Size)]);
    private static readonly Id160 NextBoot = new([.. Enumerable.Repeat((byte)2, Id160.Size)]);

    private readonly ChunkArena _arena = new();
    private readonly ChunkArena _stateArena = new();
    private readonly List<WorldDisk> _models = [];
    private readonly List<Moment> _moments = [];
    private readonly HashSet<ulong> _tried = [];
    private readonly byte[] _region = new byte[WriteBuffer.RegionBytes(Slots)];
    private readonly byte[] _scratch = new byte[WriteBuffer.RegionBytes(Slots)];
    private StorageEngine _engine = null!;
    private BadSpot? _spot;

    /// <summary>All histories of up to so many operations.</summary>
    public static IEnumerable<Operation[]> Histories(int longest) => longest == 0
        ? []
        : Histories(longest - 1).Concat(OfLength(longest));

    /// <summary>
    /// Tries every crash point; gives how many states a device was found in, and how many of them were tried: what one power cut
    /// leaves is often what one leaves a write later, too.
    /// </summary>
    /// <param name="history">The operations.</param>
    /// <param name="planted">A bug to run it with.</param>
    public (int States, int Tried) Try(IReadOnlyList<Operation> history, PlantedBug planted = PlantedBug.None)
    {
        _tried.Clear();
        _region.AsSpan(0, WriteBuffer.HeaderBytes).Clear();
        try
        {
            Simulation.Run(1, simulation => LiveAsync(simulation, history, planted), shuffle: false);
            var (states, tried) = (0, 0);
            var rebuilds = history.Contains(Operation.Compact) || history.Count == 1;
            foreach (var moment in _moments)
            {
                states++;
                tried++;
                Recover(moment, moment.Device.Copy(_stateArena), moment.Region, "the process died", planted, rebuilds);
                var unflushed = moment.Device.Unflushed();
                foreach (var (keeps, what) in Choices(unflushed))
                {
                    states++;
                    if (_tried.Add(StateOf(moment, unflushed, keeps)))
                    {
                        tried++;
                        var found = moment.Device.PowerCut(keeps, _stateArena);
                        Recover(moment, found, null, $"the power went and left {what}", planted, rebuilds);
                    }
                }
            }

            return (states, tried);
        }
        finally
        {
            foreach (var model in _moments.SelectMany(moment => moment.Models).Concat(_models))
            {
                model.Dispose();
            }

            _models.Clear();
            _moments.Clear();
            _arena.Dispose();
        }
    }

    /// <summary>
    /// One write of the last operation, or of what it causes, finds a place that is bad from then on: each of them in turn.
    /// From that write on every crash point is tried.
    /// </summary>
    /// <param name="history">The operations.</param>
    /// <param name="second">A later write, counted from the first, that finds another; 0 for none.</param>
    /// <returns>How many writes were tried, and in how many states a device was found.</returns>
    public (int Writes, int States) TryBadPlaces(IReadOnlyList<Operation> history, int second = 0)
    {
        var states = 0;
        for (var write = 1; ; write++)
        {
            _spot = new BadSpot(write, second);
            try
            {
                var tried = Try(history);
                if (!_spot.IsHit)
                {
                    return (write - 1, states);
                }

                states += tried.States;
            }
            catch (Exception e)
            {
                throw new WorldException($"write {write} at {_spot} is refused: {e.Message}", e);
            }
            finally
            {
                _spot = null;
            }
        }
    }

    public void BeforeOperation(MemoryDevice device)
    {
        if (_spot is null or { IsHit: true })
        {
            Note(device);
        }
    }

    private static IEnumerable<Operation[]> OfLength(int length) => length == 0
        ? [[]]
        : OfLength(length - 1).SelectMany(
                _ => Enum.GetValues<Operation>().Where(one => one != Operation.Cross), (before, last) => (Operation[])[.. before, last]);

    /// <summary>Stands for what a power cut leaves and what must then be found: where it is the same, so is what comes of it.</summary>
    private static ulong StateOf(Moment moment, IReadOnlyList<(long Operation, int Length)> unflushed, Func<int, int, bool> keeps)
    {
        var state = new Digest();
        state.Add((ulong)moment.Device.LastFlush);
        foreach (var model in moment.Models)
        {
            model.AddDemand(state);
        }

        for (var i = 0; i < unflushed.Count; i++)
        {
            for (var at = 0; at < unflushed[i].Length; at += EntryLayout.SectorSize)
            {
                if (keeps(i, at))
                {
                    state.Add((ulong)unflushed[i].Operation);
                    state.Add((ulong)at);
                }
            }
        }

        return state.Value;
    }

    /// <summary>Which sectors of which unflushed writes were kept, in words and as a function of write and offset.</summary>
    private static IEnumerable<(Func<int, int, bool> Keeps, string What)> Choices(IReadOnlyList<(long Operation, int Length)> writes)
    {
        yield return ((_, _) => false, "nothing of what was not flushed");
        if (writes.Count > 0)
        {
            yield return ((_, _) => true, "all that was written");
        }

        for (var i = 0; i < writes.Count; i++)
        {
            var (one, half) = (i, writes[i].Length / 1024 * 512);
            if (writes.Count > 1)
            {
                yield return ((write, _) => write == one, $"write {one} alone");
            }

            if (writes.Count > 2)
            {
                yield return ((write, _) => write != one, $"all but write {one}");
            }

            if (half > 0)
            {
                yield return ((write, at) => write < one || (write == one && at < half), $"all up to the middle of write {one}");
                yield return ((write, at) => write != one || at >= half, $"all but the first half of write {one}");
            }
        }
    }

    private async Task LiveAsync(Simulation simulation, IReadOnlyList<Operation> history, PlantedBug planted)
    {
        // Bad segments must not make it short of room, and so compact.
        var device = new MemoryDevice((_spot is null ? 120UL : 360UL) << 20, 4096, _arena);
        var ids = new Random(1);
        var random = new Random(history.Count);
        _engine = await OpenAsync(simulation, device, _region, Boot, ids, planted);
        for (var i = 0; i < 2; i++)
        {
            var disk = await _engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
            _models.Add(new WorldDisk(disk.Id, disk.Durable, DiskBytes, null));
        }

        if (history.Contains(Operation.Compact))
        {
            // An orderly end seals the segment, so that there is one to compact.
            await DoAsync(Operation.Write, random);
            await DoAsync(Operation.FuaWrite, random);
            await _engine.DisposeAsync();
            device = device.Kill();
            _engine = await OpenAsync(simulation, device, _region, Boot, ids, planted);
            _models.ForEach(model => model.Recovered(
                _engine.TryGetDisk(model.Id.ToString(), out var disk) ? disk : null, nothingLost: true, mayLose: false));
        }

        while (history.Contains(Operation.Cross) && _engine.Services.Log.End.Offset < DeviceGeometry.SegmentBytes - (360 << 10))
        {
            await WriteAsync(0, DiskBytes, random, isFua: false);
        }

        // Something durable to lose, and the log at rest.
        await DoAsync(Operation.FuaWrite, random);
        await Task.Delay(TimeSpan.FromSeconds(1), simulation.Time);
        for (var i = 0; i < history.Count; i++)
        {
            device.Recorder = i == history.Count - 1 ? this : null;
            device.RefusesWrite = i == history.Count - 1 && _spot is not null ? _spot.Refuses : null;
            await DoAsync(history[i], random);
        }

        await Task.Delay(TimeSpan.FromSeconds(1), simulation.Time);
        device.Recorder = null;
        if (_spot is { } spot)
        {
            spot.IsOver = true;
        }

        Note(device);
    }

    private async Task DoAsync(Operation operation, Random random)
    {
        var model = _models.First(one => !one.IsDeleted);
        Assert.True(_engine.TryGetDisk(model.Id.ToString(), out var disk));
        var offset = random.Next(8) * 4096;
        switch (operation)
        {
            case Operation.Write or Operation.FuaWrite:
                await WriteAsync(offset, 6144, random, operation == Operation.FuaWrite);
                break;
            case Operation.Cross:
                var use = _engine.Services.Log.End.Use;
                for (var i = 0; i < 8 && _engine.Services.Log.End.Use == use; i++)
                {
                    await WriteAsync(0, DiskBytes, random, isFua: true);
                }

                Assert.NotEqual(use, _engine.Services.Log.End.Use);

                break;
            case Operation.Zero:
                model.Write(offset, 8192, null);
                model.Settle(disk, await disk.ZeroAsync((ulong)offset, 8192, false, None), durable: false);
                break;
            case Operation.Flush:
                Assert.Equal(IoStatus.Ok, await _engine.FlushAsync(None));
                _models.ForEach(one => one.NoteDurable(one.Acknowledged));
                break;
            case Operation.Checkpoint:
                Assert.True(await _engine.CheckpointAsync() || _spot is { IsInSlot: true });
                break;
            case Operation.Compact:
                // A second one in a history may find nothing.
                await _engine.CompactAsync();
                break;
            case Operation.Rename:
                var name = $"disk{random.Next()}";
                model.ChangeAttributes(DiskBytes, name);
                await _engine.RenameDiskAsync(disk, name, None);
                model.Settle(disk, IoStatus.Ok, durable: true);
                break;
            default:
                if (_models.Count(one => !one.IsDeleted) > 1)
                {
                    model.Delete();
                    await disk.DeleteAsync(None);
                    model.Settle(disk, IoStatus.Ok, durable: true);
                }

                break;
        }
    }

    private async Task WriteAsync(int offset, int length, Random random, bool isFua)
    {
        var model = _models.First(one => !one.IsDeleted);
        Assert.True(_engine.TryGetDisk(model.Id.ToString(), out var disk));
        var data = WorldData.Take(random, length);
        model.Write(offset, data.Length, data);
        var status = await disk.WriteAsync((ulong)offset, data, isFua, None);
        Assert.Equal(IoStatus.Ok, status);
        model.Settle(disk, status, isFua);
    }

    private void Note(MemoryDevice device)
    {
        foreach (var model in _models.Where(model => !model.IsGone))
        {
            if (_engine.TryGetDisk(model.Id.ToString(), out var disk))
            {
                model.NoteDurable(disk.Durable.Lsn);
            }
        }

        var region = WriteBuffer.Attach(_region, _engine.DeviceId, Boot, out var matches);
        Assert.True(matches);
        var used = Enumerable.Range(0, Slots).Where(slot => region.SequenceOf(slot) != 0)
            .Select(slot => (slot * WriteBuffer.SlotBytes) + region.FilledOf(slot)).DefaultIfEmpty(0).Max();
        _moments.Add(new Moment(
            _moments.Count, device.Copy(), [.. _models.Select(model => model.Fork())],
            _region[..(WriteBuffer.HeaderBytes + used)]));
    }

    private void Recover(Moment moment, MemoryDevice device, byte[]? region, string what, PlantedBug planted, bool rebuilds)
    {
        try
        {
            _scratch.AsSpan(0, WriteBuffer.HeaderBytes).Clear();
            region?.CopyTo(_scratch, 0);
            Simulation.Run(1, async simulation =>
            {
                StorageEngine engine;
                try
                {
                    engine = await OpenAsync(
                        simulation, device, _scratch, region is null ? NextBoot : Boot, new Random(2), planted);
                }
                catch (DeviceException) when (_spot is { IsInSlot: true } && region is not null)
                {
                    // What the buffer holds can't be made durable where no checkpoint can be written: it stays in the buffer.
                    return;
                }

                await CheckAsync(engine, moment, region is not null);
                await Audit.RunAsync(engine);
                if (!rebuilds)
                {
                    await CheckAfterAsync(engine, device);
                    return;
                }

                // All that was found is durable by now, and can be had without checkpoints, too.
                var copy = device.Copy();
                copy.Erase(DeviceGeometry.CheckpointSlotOffset(0), 4096);
                copy.Erase(DeviceGeometry.CheckpointSlotOffset(1), 4096);
                _scratch.AsSpan(0, WriteBuffer.HeaderBytes).Clear();
                var heads = engine.ListDisks().Select(disk => disk.Newest).ToList();
                var rebuilt = await OpenAsync(simulation, copy, _scratch, NextBoot, new Random(3), planted);
                await CheckAsync(rebuilt, moment, region is not null);
                Assert.Equal(heads, rebuilt.ListDisks().Select(disk => disk.Newest));
                await CheckAfterAsync(engine, device);
            }, shuffle: false);
        }
        catch (Exception e)
        {
            throw new WorldException($"before operation {moment.Number} of the device {what}: {e.Message}", e);
        }
        finally
        {
            // What this state wrote of its own; the device that it began with stays.
            _stateArena.Dispose();
        }
    }

    private Task CheckAfterAsync(StorageEngine engine, MemoryDevice device) =>
        _spot is { IsHit: true } spot ? spot.CheckAfterAsync(engine, device) : Task.CompletedTask;

    private async Task CheckAsync(StorageEngine engine, Moment moment, bool nothingLost)
    {
        Assert.DoesNotContain(engine.GetHealth().Issues, issue => _spot?.IsExpected(issue) != true);
        foreach (var noted in moment.Models.Where(model => !model.IsGone))
        {
            using var model = noted.Fork();
            var disk = engine.TryGetDisk(model.Id.ToString(), out var found) ? found : null;
            model.Recovered(disk, nothingLost, mayLose: false);
            if (disk is not null)
            {
                var contents = new byte[DiskBytes];
                Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, contents, None));
                Assert.True(model.Contents.SequenceEqual(contents), "the disk holds something else");
                try
                {
                    await CheckStreamAsync(disk);
                }
                catch (RefusalException e) when (_spot is not null && e.Reason == Refusal.Gone)
                {
                    // The engine compacts meanwhile: what was within the history when it was asked for need not be now.
                    Assert.True(disk.GetStatus().OldestLsn > 1, "the history is gone, and is said to be there");
                }
            }
        }
    }

    /// <summary>What is within the history can be streamed, and proves itself.</summary>
    private static async Task CheckStreamAsync(Disk disk)
    {
        var last = disk.GetStatus().OldestLsn - 1;
        var verifier = new ChainVerifier();
        var stream = await disk.OpenStreamAsync(StreamPoint.After(last), None);
        while (await stream.MoveNextAsync(wait: false, None))
        {
            Assert.True(EntryHeaderCodec.TryReadLengths(stream.Current.Span, out var header, out _, out _));
            Assert.True(EntryHeaderCodec.TryRead(stream.Current.Span[..header], out var fields, out _));
            Assert.Equal(++last, fields.Lsn);
            if (disk.GetStatus().OldestLsn == 1)
            {
                var verdict = verifier.Add(stream.Current.Span[..header], stream.Current.Span[header..]);
                Assert.True(verdict.Accepted, $"LSN {verdict.Lsn}: {verdict.Fault} {verdict.ChainError}");
            }
        }

        Assert.Equal(disk.Newest.Lsn, last);
    }

    private static Task<StorageEngine> OpenAsync(
        Simulation simulation, MemoryDevice device, byte[] region, Id160 boot, Random ids, PlantedBug planted) =>
        StorageEngine.OpenAsync(
            new EngineSettings
            {
                Device = device,
                OpenBuffer = _ => new EngineBuffer(region, () => region.AsSpan(0, WriteBuffer.HeaderBytes).Clear()),
                Boot = boot,
                ReadCacheBytes = 0,
            },
            new EngineRuntime
            {
                Time = simulation.Time,
                FillRandom = bytes => ids.NextBytes(bytes),
                Spawn = simulation.Spawn,
                Report = _ => { },
                Planted = planted,
            });

    /// <summary>A moment at which it could have ended: the device, what the oracle knew, what the process leaves.</summary>
    private sealed record Moment(int Number, MemoryDevice Device, IReadOnlyList<WorldDisk> Models, byte[] Region);
}
