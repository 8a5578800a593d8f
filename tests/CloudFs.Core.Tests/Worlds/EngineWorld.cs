using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>What a world's device may do, and so what the oracle may ask for (docs/testing/fault-model.md).</summary>
internal enum WorldClass
{
    /// <summary>The process dies, the power goes; the device does what it says.</summary>
    Crash,

    /// <summary>Bits rot.</summary>
    Rot,

    /// <summary>Writes and reads go to other places.</summary>
    Misdirection,

    /// <summary>Reads, writes and flushes fail.</summary>
    Errors,

    /// <summary>The device is filled, emptied, and filled again.</summary>
    Full,

    /// <summary>A small device is overwritten again and again, so that segments are used anew.</summary>
    Long,
}

/// <summary>What came of a world.</summary>
/// <param name="Class">Its class.</param>
/// <param name="Digest">Stands for everything that was seen, and written to the device.</param>
/// <param name="Restarts">How often the engine was opened.</param>
internal sealed record WorldResult(WorldClass Class, ulong Digest, int Restarts);

/// <summary>A world that did not end as it must.</summary>
internal sealed class WorldException(string message, Exception inner) : Exception(message, inner);

/// <summary>
/// The whole life of one engine, from a seed: what its clients ask, in which order things happen, what the device does, how
/// each process ends. The same seed gives the same world.
/// </summary>
internal sealed partial class EngineWorld : IDisposable
{
    private const int SectorBytes = EntryLayout.SectorSize;

    /// <summary>A few dozen pages: less than a disk has, so that pages come and go.</summary>
    private const long ReadCacheBytes = 150_000;

    private static readonly CancellationToken None = CancellationToken.None;

    private readonly Simulation _simulation;
    private readonly Random _random;

    /// <summary>What is written together with a short write; null in worlds where each is by itself.</summary>
    private readonly Random? _companions;
    private readonly WorldClass _class;
    private readonly ChunkArena _arena = new();
    private readonly Digest _digest = new();
    private readonly SimulatedHost _host;
    private readonly Faults _faults;

    /// <summary>In one world of four who flushes does it himself, as a connection's thread does.</summary>
    private readonly bool _flushesHere;
    private readonly List<WorldDisk> _models = [];
    private readonly List<Task> _behind = [];
    private bool _nothingLost = true;
    private bool _mayLose;
    private int _restarts;

    private EngineWorld(Simulation simulation, int seed, WorldClass? only, PlantedBug planted, bool withReadCache)
    {
        _flushesHere = seed % 4 == 3;
        _simulation = simulation;
        _random = new Random(seed);
        _companions = seed % 3 == 0 ? null : new Random(~seed);
        var drawn = ClassOf(_random.Next(100));
        _class = only ?? drawn;
        _faults = new Faults(new Random(_random.Next()), simulation.Time);
        var device = new MemoryDevice(DeviceBytes(), _random.Next(3) == 0 ? 512 : 4096, _arena)
        {
            Faults = _faults,
            Digest = _digest,
            TellsUnwritten = seed % 5 == 2,
        };
        _host = new SimulatedHost(simulation, _random, device) { Planted = planted, ReadCacheBytes = withReadCache ? ReadCacheBytes : 0 };
    }

    /// <summary>Runs one world to its end.</summary>
    /// <param name="seed">Which.</param>
    /// <param name="only">Its class, when the seed is not to choose it.</param>
    /// <param name="planted">A bug to run it with.</param>
    /// <param name="withReadCache">
    /// Whether pages that were read or written lately are kept in memory: in the worlds of odd seeds, when it is not said.
    /// </param>
    public static WorldResult Run(
        int seed, WorldClass? only = null, PlantedBug planted = PlantedBug.None, bool? withReadCache = null)
    {
        WorldResult? result = null;
        Simulation.Run(seed, async simulation =>
        {
            using var world = new EngineWorld(simulation, seed, only, planted, withReadCache ?? (seed % 2 != 0));
            try
            {
                await world.RunAsync();
            }
            catch (DeviceRefusedException) when (world._mayLose || world._faults.HasUnreadable)
            {
                // Neither copy of the label can be had, which is told; nothing on the device can be told apart any more.
            }
            catch (Exception e)
            {
                throw new WorldException($"{world._class}: {e.Message} ({world.Describe()})", e);
            }

            Assert.Equal(0, simulation.FromElsewhere);
            result = new WorldResult(world._class, world._digest.Value, world._restarts);
        });
        return result!;
    }

    public void Dispose()
    {
        _host.Dispose();
        _models.ForEach(model => model.Dispose());
        _arena.Dispose();
    }

    private string Describe() =>
        $"after {_restarts} restarts, the last by {_host.EndedBy}; {_faults}; "
        + string.Join("; ", _host.Engine?.Recovery.Decisions.Select(decision => decision.Message) ?? [])
        + string.Join("; ", _host.Events.Where(told => told.Code == "poisoned").Select(told => told.Message));

    private static WorldClass ClassOf(int percent) => percent switch
    {
        < 50 => WorldClass.Crash,
        < 64 => WorldClass.Rot,
        < 78 => WorldClass.Misdirection,
        < 92 => WorldClass.Errors,
        < 95 => WorldClass.Full,
        _ => WorldClass.Long,
    };

    private ulong DeviceBytes() => _class switch
    {
        WorldClass.Full => (ulong)(8 + (16 * _random.Next(8, 10))) << 20,
        WorldClass.Long => (ulong)(8 + (16 * _random.Next(7, 10))) << 20,
        WorldClass.Errors => (ulong)(8 + (16 * _random.Next(30, 40))) << 20,
        _ => (ulong)(8 + (16 * _random.Next(10, 20))) << 20,
    };

    private async Task RunAsync()
    {
        await _host.OpenAsync();
        if (_random.Next(4) == 0)
        {
            _faults[Fault.Slow] = _random.NextDouble() * 0.2;
            _faults.IsOn = true;
        }

        for (var disks = _random.Next(1, 4); disks > 0; disks--)
        {
            await CreateAsync(_random.Next(1, 16) << 16);
        }

        switch (_class)
        {
            case WorldClass.Crash:
                await LivesAsync(_random.Next(2, 5), LiveAndCrashAsync);
                await CheckSameAgainAsync();
                break;
            case WorldClass.Rot:
                await LivesAsync(_random.Next(1, 4), LiveAndRotAsync);
                break;
            case WorldClass.Misdirection:
                await LivesAsync(_random.Next(1, 4), LiveMisdirectedAsync);
                break;
            case WorldClass.Errors:
                await LivesAsync(_random.Next(2, 4), LiveWithErrorsAsync);
                break;
            case WorldClass.Full:
                await FillAndEmptyAsync();
                break;
            default:
                await OverwriteForLongAsync();
                break;
        }
    }

    private static async Task LivesAsync(int lives, Func<Task> live)
    {
        for (; lives > 0; lives--)
        {
            await live();
        }
    }

    private async Task LiveAndCrashAsync()
    {
        if (_random.Next(6) == 0)
        {
            await FillSegmentAsync();
        }

        if (_random.Next(3) != 0)
        {
            _host.Device.StopAt(_random.Next(1, _random.Next(2) == 0 ? 12 : 60), _random);
        }

        await StepsAsync(_random.Next(2, 25));
        await EndAsync(_random.Next(2) == 0 ? End.PowerCut : End.Kill, stopFirst: _random.Next(3) == 0);
        await RestartAsync(mayDieAgain: _random.Next(4) == 0);
    }

    private async Task LiveAndRotAsync()
    {
        await StepsAsync(_random.Next(2, 25));
        if (_random.Next(3) == 0)
        {
            // While the engine runs, which then finds it when it reads.
            Rot(_random.Next(1, 20), sparesLastWrite: false);
            await StepsAsync(_random.Next(1, 10));
        }

        var end = _random.Next(2) == 0 ? End.PowerCut : End.Kill;
        var stops = _random.Next(3) == 0;
        if (end == End.PowerCut && !stops)
        {
            end = await QuiesceAsync() ? end : End.Kill;
        }

        await EndAsync(end, stops);
        Rot(_random.Next(3) == 0 ? _random.Next(1, 200) : _random.Next(1, 6), sparesLastWrite: end == End.PowerCut);
        await RestartAsync(mayDieAgain: false);
    }

    private async Task LiveMisdirectedAsync()
    {
        var rate = Math.Pow(10, -0.5 - (1.5 * _random.NextDouble()));
        _faults[Fault.MisdirectedWrite] = _random.Next(3) == 0 ? 0 : rate;
        _faults[Fault.MisdirectedRead] = _random.Next(2) == 0 ? 0 : rate;
        _faults.Left = _random.Next(1, 5);
        _faults.IsOn = _mayLose = true;
        await StepsAsync(_random.Next(3, 30));
        var end = _random.Next(2) == 0 ? End.PowerCut : End.Kill;
        var stops = _random.Next(3) == 0;

        // A lost write at the very end can't be told from one that was never made; only what follows it tells: another
        // write that says what was durable, or the footer of an orderly end.
        stops |= !stops && !await QuiesceAsync();
        await EndAsync(end, stops);
        _faults[Fault.MisdirectedWrite] = 0;
        _faults.Left = 1;
        await RestartAsync(mayDieAgain: false);
        _faults.IsOn = false;
    }

    private async Task LiveWithErrorsAsync()
    {
        var rate = Math.Pow(10, -0.7 - (1.3 * _random.NextDouble()));
        var reads = _random.Next(2) == 0;
        foreach (var fault in (Fault[])[Fault.ReadError, Fault.LastingReadError, Fault.WriteError, Fault.FlushError])
        {
            var chosen = _random.Next(2) == 0 && fault is Fault.ReadError or Fault.LastingReadError == reads;
            _faults[fault] = chosen ? rate : 0;
        }

        _faults.Left = _random.Next(1, 6);
        _faults.IsOn = true;
        await StepsAsync(_random.Next(3, 30));
        _faults.Left = _random.Next(3);
        var end = _random.Next(2) == 0 ? End.PowerCut : End.Kill;
        var stops = _random.Next(3) == 0;
        await EndAsync(end, stops);
        await RestartAsync(mayDieAgain: _random.Next(4) == 0);
        _faults.IsOn = false;
    }

    /// <summary>
    /// Makes all durable and lets the log say so on the device, so that nothing hangs on what was written last. False when
    /// that can't be had.
    /// </summary>
    private async Task<bool> QuiesceAsync()
    {
        _faults.IsOn = false;
        var written = false;
        foreach (var model in _models.Where(model => !model.IsDeleted && !model.IsGone))
        {
            written |= await WriteAsync(model, 0, SectorBytes, fua: true);
        }

        await Task.Delay(TimeSpan.FromMilliseconds(500), _simulation.Time);
        _host.Device.Drain();
        return written && HasDurableTail();
    }

    private bool HasDurableTail() => !HasFailed && _host.Engine.GetHealth().Status != "failed";

    private void Rot(int bits, bool sparesLastWrite)
    {
        _mayLose = true;
        var chunks = _host.Device.WrittenChunks();
        var (from, length) = sparesLastWrite ? _lastWrite : default;
        for (; bits > 0; bits--)
        {
            var at = chunks[_random.Next(chunks.Count)] + (ulong)_random.Next(SparseBytes.ChunkBytes);
            if (at < from || at >= from + (ulong)length)
            {
                _host.Device.FlipBit(at, _random.Next(8));
                _faults.Note(Fault.Rot);
            }
        }
    }

    /// <summary>Comes near the end of a segment, so that what follows crosses it.</summary>
    private async Task FillSegmentAsync()
    {
        for (var left = (14 << 20) + _random.Next(2 << 20); left > 0 && !_host.Device.Stopped.IsCompleted;)
        {
            var model = _models[_random.Next(_models.Count)];
            if (model.IsDeleted || model.IsGone)
            {
                return;
            }

            var length = Math.Min(left, model.Bytes) & -SectorBytes;
            if (length == 0 || !await WriteAsync(model, 0, length, fua: false))
            {
                return;
            }

            left -= length;
        }
    }
}
