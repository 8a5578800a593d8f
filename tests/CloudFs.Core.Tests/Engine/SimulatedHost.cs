using System.Buffers.Binary;
using System.Collections.Concurrent;
using CloudFs.Core.Engine;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
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

    /// <summary>Of a region's table of slots (docs/format/write-buffer.md).</summary>
    private const int SlotTable = 512;
    private const int SlotEntry = 64;
    private const int SlotFilled = 16;

    /// <summary>As many pages as an index of these devices can have, and tables that are made quickly.</summary>
    private const long IndexCacheBytes = 4 << 20;
    private const int SpareRegionsMax = 48;

    private static readonly ConcurrentBag<byte[]> Regions = [];

    private readonly Random _ids = new(random.Next());
    private readonly List<byte[]> _rented = [];
    private byte[] _region = [];
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

    /// <summary>Pages of entries in memory; none unless told otherwise, so that reads judge the device.</summary>
    public long ReadCacheBytes { get; init; }

    public ulong ScrubRate { get; init; } = Scrubber.DefaultRate;

    public TimeSpan ScrubInterval { get; init; }

    /// <summary>The host's id; made by chance where it is not given.</summary>
    public Id160? HostId { get; init; }

    /// <summary>Reaches other hosts; null for a host that is alone.</summary>
    public IPeerDialer? Dialer { get; init; }

    /// <summary>The host's clock; the simulation's where it is not given.</summary>
    public TimeProvider? Time { get; init; }

    /// <summary>Starts the loops of the engines that are opened from now on; the simulation where it is not given.</summary>
    public Func<Func<Task>, Task>? Spawn { get; set; }

    /// <summary>Opens the device; false when it stopped dead meanwhile.</summary>
    public async Task<bool> TryOpenAsync()
    {
        Device.Pause = simulation.PauseAsync;
        if (_region.Length == 0)
        {
            _region = Rent();
        }

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
            CopyRegion(_region, region);
        }

        _region = region;
        Device = found;
        return stopped;
    }

    /// <summary>Opens a copy of the device, with or without its checkpoints and index, and without a write buffer.</summary>
    public Task<StorageEngine> OpenCopyAsync(bool withCheckpoints, bool withIndex = true)
    {
        var copy = Device.Copy();
        copy.Faults = null;
        copy.Pause = simulation.PauseAsync;
        if (!withCheckpoints)
        {
            copy.Erase(DeviceGeometry.CheckpointSlotOffset(0), 4096);
            copy.Erase(DeviceGeometry.CheckpointSlotOffset(1), 4096);
        }

        if (!withIndex)
        {
            var index = DeviceGeometry.CheckpointSlotOffset(DeviceGeometry.CheckpointSlots);
            copy.Erase(index, (int)(DeviceGeometry.SegmentsOffset - index));
        }

        return OpenAsync(copy, Rent(), 77);
    }

    public void Dispose()
    {
        foreach (var region in _rented)
        {
            if (Regions.Count < SpareRegionsMax)
            {
                Regions.Add(region);
            }
        }

        _rented.Clear();
    }

    /// <summary>What a process leaves in its region: whose it is, and what of each slot is whole.</summary>
    private static void CopyRegion(ReadOnlySpan<byte> from, Span<byte> to)
    {
        if (from.IsEmpty)
        {
            return;
        }

        from[..WriteBuffer.HeaderBytes].CopyTo(to);
        for (var slot = 0; slot < Slots; slot++)
        {
            var entry = from.Slice(SlotTable + (slot * SlotEntry), SlotEntry);
            if (BinaryPrimitives.ReadUInt64LittleEndian(entry) != 0)
            {
                var filled = (int)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(entry[SlotFilled..]), WriteBuffer.SlotBytes);
                var start = WriteBuffer.HeaderBytes + (slot * WriteBuffer.SlotBytes);
                from.Slice(start, filled).CopyTo(to[start..]);
            }
        }
    }

    /// <summary>A region that is nobody's until this host is disposed of: the one before may still be written to by an engine that died.</summary>
    private byte[] Rent()
    {
        if (Regions.TryTake(out var region))
        {
            region.AsSpan(0, WriteBuffer.HeaderBytes).Clear();
        }
        else
        {
            region = new byte[WriteBuffer.RegionBytes(Slots)];
        }

        _rented.Add(region);
        return region;
    }

    private Task<StorageEngine> OpenAsync(MemoryDevice device, byte[] region, byte boot) => StorageEngine.OpenAsync(
        new EngineSettings
        {
            Device = device,
            OpenBuffer = _ => new EngineBuffer(region, () => region.AsSpan(0, WriteBuffer.HeaderBytes).Clear()),
            Boot = new Id160([.. Enumerable.Repeat(boot, Id160.Size)]),
            IndexCacheBytes = IndexCacheBytes,
            ReadCacheBytes = ReadCacheBytes,
            ScrubRate = ScrubRate,
            ScrubInterval = ScrubInterval,
            HostId = HostId,
            Dialer = Dialer,
        },
        new EngineRuntime
        {
            Time = Time ?? simulation.Time,
            FillRandom = bytes => _ids.NextBytes(bytes),
            Spawn = Spawn ?? simulation.Spawn,
            Report = Events.Add,
            Planted = Planted,
        });
}
