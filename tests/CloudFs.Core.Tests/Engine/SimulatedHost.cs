using System.Collections.Concurrent;
using CloudFs.Core.Engine;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>How an engine ends.</summary>
internal enum End
{
    /// <summary>The process dies; device and write buffer stay.</summary>
    Kill,

    /// <summary>The power goes; the write buffer is gone, and some of what was not flushed.</summary>
    PowerCut,
}

/// <summary>A machine with one device: starts the engine, and ends it in each of the ways in which it may end.</summary>
internal sealed class SimulatedHost(Simulation simulation, Random random, MemoryDevice device) : IDisposable
{
    private const int Slots = 2;

    private static readonly ConcurrentBag<byte[]> Regions = [];

    private readonly Random _ids = new(random.Next());
    private byte[] _region = Rent();
    private byte _boot = 1;

    public MemoryDevice Device { get; private set; } = device;

    /// <summary>The device of the process that ended last, and how it did.</summary>
    public MemoryDevice Ended { get; private set; } = device;

    public End EndedBy { get; private set; }

    public StorageEngine Engine { get; private set; } = null!;

    public List<EngineEvent> Events { get; } = [];

    /// <summary>A bug in the engines that are opened from now on.</summary>
    public PlantedBug Planted { get; set; }

    public byte[] Region => _region;

    public ulong ScrubRate { get; init; } = Scrubber.DefaultRate;

    public TimeSpan ScrubInterval { get; init; }

    /// <summary>Opens the device; false when it stopped dead meanwhile.</summary>
    public async Task<bool> TryOpenAsync()
    {
        Device.Pause = simulation.PauseAsync;
        var opening = OpenAsync(Device, _region, _boot);
        await Task.WhenAny(opening, Device.Stopped);
        if (!opening.IsCompleted)
        {
            return false;
        }

        Engine = await opening;
        return true;
    }

    public async Task OpenAsync() => Assert.True(await TryOpenAsync());

    /// <summary>Ends the engine. True when it stopped as it should, before the process died or the power went.</summary>
    public async Task<bool> EndAsync(End end, bool stopFirst)
    {
        var stopped = false;
        if (stopFirst && !Device.Stopped.IsCompleted)
        {
            var stopping = Engine.DisposeAsync().AsTask();
            await Task.WhenAny(stopping, Device.Stopped);
            stopped = stopping.IsCompleted;
            if (stopped)
            {
                await stopping;
            }
        }

        // What the engine that died may still do, it does to memory that nobody looks at.
        var found = end == End.PowerCut ? Device.PowerCut(random) : Device.Kill();
        (Ended, EndedBy) = (Device, end);
        var region = Rent();
        if (end == End.PowerCut)
        {
            _boot++;
        }
        else
        {
            _region.CopyTo(region, 0);
        }

        _region = region;
        Device = found;
        return stopped;
    }

    /// <summary>Opens a copy of the device, with or without its checkpoints, and without a write buffer.</summary>
    public Task<StorageEngine> OpenCopyAsync(bool withCheckpoints)
    {
        var copy = Device.Copy();
        copy.Faults = null;
        copy.Pause = simulation.PauseAsync;
        if (!withCheckpoints)
        {
            copy.Erase(DeviceGeometry.CheckpointSlotOffset(0), 4096);
            copy.Erase(DeviceGeometry.CheckpointSlotOffset(1), 4096);
        }

        return OpenAsync(copy, Rent(), 77);
    }

    public void Dispose()
    {
        if (Regions.Count < 16)
        {
            Regions.Add(_region);
        }
    }

    private static byte[] Rent()
    {
        if (!Regions.TryTake(out var region))
        {
            return new byte[WriteBuffer.RegionBytes(Slots)];
        }

        region.AsSpan(0, WriteBuffer.HeaderBytes).Clear();
        return region;
    }

    private Task<StorageEngine> OpenAsync(MemoryDevice device, byte[] region, byte boot) => StorageEngine.OpenAsync(
        new EngineSettings
        {
            Device = device,
            OpenBuffer = _ => new EngineBuffer(region, () => region.AsSpan(0, WriteBuffer.HeaderBytes).Clear()),
            Boot = new Id160([.. Enumerable.Repeat(boot, Id160.Size)]),
            ScrubRate = ScrubRate,
            ScrubInterval = ScrubInterval,
        },
        new EngineRuntime
        {
            Time = simulation.Time,
            FillRandom = bytes => _ids.NextBytes(bytes),
            Spawn = simulation.Spawn,
            Report = Events.Add,
            Planted = Planted,
        });
}
