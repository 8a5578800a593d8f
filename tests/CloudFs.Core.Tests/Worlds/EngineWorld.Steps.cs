using System.Buffers;
using CloudFs.Core.Devices;
using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Worlds;

/// <summary>What clients ask of the engine, one to three of them at a time.</summary>
internal sealed partial class EngineWorld
{
    private int _failuresBefore;
    private int _readFaultsBefore;

    /// <summary>True when the device failed a flush of this process.</summary>
    private bool HasFailed => Failures > _failuresBefore;

    private int Failures => _faults.CountOf(Fault.FlushError);

    /// <summary>True when the device refused a write's place, in any process: the engine went on, and says so.</summary>
    private bool HasBadPlaces => _faults.CountOf(Fault.WriteError) > 0;

    /// <summary>
    /// True when the device may take nothing more: after a failed flush, or where a segment has to move and can't be read.
    /// A refused write alone is no reason.
    /// </summary>
    private bool MayBePoisoned => HasFailed || (HasBadPlaces && ReadsMayFail);

    private int ReadFaults => _faults.CountOf(Fault.ReadError) + _faults.CountOf(Fault.LastingReadError);

    /// <summary>True when a read may answer that it can't.</summary>
    private bool ReadsMayFail => _mayLose || ReadFaults > _readFaultsBefore || _faults.HasUnreadable;

    private async Task StepsAsync(int steps)
    {
        for (; steps > 0 && !_host.Device.Stopped.IsCompleted; steps--)
        {
            var clients = new List<Task>();
            var start = _random.Next(_models.Count + 1);
            for (var i = 0; i < _random.Next(1, 4) && i < _models.Count; i++)
            {
                var model = _models[(start + i) % _models.Count];
                if (!model.IsDeleted && !model.IsGone)
                {
                    clients.Add(StepAsync(model));
                }
            }

            await Task.WhenAll(clients);
        }
    }

    private async Task StepAsync(WorldDisk model)
    {
        switch (_random.Next(52))
        {
            case < 20:
                var (offset, length) = Range(model, _random.Next(8) == 0 ? 1_258_291 : 40_000);
                await WriteAsync(model, offset, length, _random.Next(8) == 0);
                break;
            case < 25:
                await ZeroAsync(model, whole: _random.Next(6) == 0);
                break;
            case < 29:
                await PutAsync(model);
                break;
            case < 33:
                await EndsAsync(FlushAsync());
                break;
            case < 36:
                _behind.Add(FlushAsync());
                break;
            case < 38:
                await ChangeAsync(model);
                break;
            case < 40:
                await EndsAsync(CheckpointAsync());
                break;
            case 40:
                _behind.Add(CheckpointAsync());
                break;
            case 41 when _models.Count > 1 && _random.Next(3) == 0:
                await DeleteAsync(model);
                break;
            case 42 when _models.Count < 6:
                await CreateAsync(_random.Next(1, 16) << 16);
                break;
            case 48 or 49:
                await EndsAsync(CompactAsync());
                break;
            case 50:
                _behind.Add(CompactAsync());
                break;
            case 51:
                await AuditAsync();
                break;
            case < 45:
                await EndsAsync(Task.Delay(TimeSpan.FromMilliseconds(_random.Next(1, 250)), _simulation.Time));
                break;
            default:
                var (at, bytes) = Range(model, 100_000);
                await CheckRangeAsync(model, at, bytes);
                break;
        }
    }

    private Disk Find(WorldDisk model) => TryFind(model) ?? throw new InvalidOperationException($"disk {model.Id} is gone");

    private Disk? TryFind(WorldDisk model) => _host.Engine.TryGetDisk(model.Id.ToString(), out var disk) ? disk : null;

    /// <summary>False when the device stopped dead before it ended.</summary>
    private async Task<bool> EndsAsync(Task task)
    {
        await Task.WhenAny(task, _host.Device.Stopped);
        if (task.IsCompleted)
        {
            await task;
        }

        return task.IsCompleted;
    }

    private (int Offset, int Length) Range(WorldDisk model, int most)
    {
        var offset = _random.Next(model.Bytes / SectorBytes) * SectorBytes;
        if (_random.Next(2) == 0)
        {
            offset &= -4096;
        }

        var length = Math.Min(((_random.Next(most) / SectorBytes) + 1) * SectorBytes, model.Bytes - offset);
        return (offset, length);
    }

    private async Task<bool> WriteAsync(WorldDisk model, int offset, int length, bool fua)
    {
        var data = WorldData.Take(_random, length);
        if (length <= 16 << 10 && _companions?.Next(3) > 0)
        {
            return await WriteTogetherAsync(model, offset, data, fua);
        }

        model.Write(offset, length, data);
        return await AskAsync(model, fua, disk => disk.WriteAsync((ulong)offset, data, fua, None));
    }

    /// <summary>A write and others that came with it, as one entry; those that can't be in it are not asked for.</summary>
    private async Task<bool> WriteTogetherAsync(WorldDisk model, int offset, ReadOnlyMemory<byte> first, bool fua)
    {
        var random = _companions!;
        var batch = new WriteBatch();
        var all = new byte[64 << 10];
        first.CopyTo(all);
        Assert.True(batch.TryAdd(all, (ulong)offset, 0, first.Length), "a short write did not go into an empty batch");
        for (var (left, start) = (random.Next(12), first.Length); left > 0; left--)
        {
            var (at, length) = (random.Next(model.Bytes / SectorBytes) * SectorBytes, random.Next(1, 9) * SectorBytes);
            (at, length) = random.Next(2) == 0 ? (at & -4096, 4096) : (at, length);
            if (at + length <= model.Bytes)
            {
                WorldData.Take(random, length).CopyTo(all.AsMemory(start));
                start += batch.TryAdd(all, (ulong)at, start, length) ? length : 0;
            }
        }

        model.WriteTogether(batch.Writes.Select(write => ((int)write.Offset, batch.Data.Slice(write.Start, write.Length))));
        return await AskAsync(model, fua, disk => disk.WriteAsync(batch, fua, None));
    }

    private async Task<bool> ZeroAsync(WorldDisk model, bool whole)
    {
        var (offset, length) = whole ? (0, model.Bytes) : Range(model, model.Bytes);
        var fua = _random.Next(8) == 0;
        model.Write(offset, length, null);
        return await AskAsync(model, fua, disk => disk.ZeroAsync((ulong)offset, (ulong)length, fua, None));
    }

    private async Task PutAsync(WorldDisk model)
    {
        var offset = _random.Next(model.Bytes - 1);
        var data = WorldData.Take(_random, _random.Next(1, Math.Min(10_000, model.Bytes - offset + 1)));
        var first = offset / SectorBytes * SectorBytes;
        var end = (offset + data.Length + SectorBytes - 1) / SectorBytes * SectorBytes;
        var whole = model.Contents[first..end].ToArray();
        data.Span.CopyTo(whole.AsSpan(offset - first));
        var newest = _random.Next(2) == 0 ? Find(model).Newest.Id : (Id160?)null;
        model.Write(first, whole.Length, whole);
        await AskAsync(model, true, async disk =>
        {
            var (status, version) = await disk.PutAsync((ulong)offset, data, newest, None);
            Assert.True(status != IoStatus.Ok || version == disk.Newest, "a put gave another version than the one it made");
            return status;
        });
    }

    private async Task ChangeAsync(WorldDisk model)
    {
        if (_random.Next(2) == 0)
        {
            var size = model.Bytes + (_random.Next(1, 64) * SectorBytes);
            model.ChangeAttributes(size, model.Name);
            await AskAsync(model, true, async disk =>
            {
                await disk.ResizeAsync((ulong)size, None);
                return IoStatus.Ok;
            });
            return;
        }

        var name = $"disk{_random.Next()}";
        model.ChangeAttributes(model.Bytes, name);
        await AskAsync(model, true, async disk =>
        {
            await _host.Engine.RenameDiskAsync(disk, name, None);
            return IoStatus.Ok;
        });
    }

    private async Task<bool> DeleteAsync(WorldDisk model)
    {
        model.Delete();
        return await AskAsync(model, true, async disk =>
        {
            await disk.DeleteAsync(None);
            return IoStatus.Ok;
        });
    }

    private async Task<WorldDisk?> CreateAsync(int bytes)
    {
        var name = _random.Next(3) == 0 ? $"disk{_random.Next()}" : null;
        Disk? disk = null;
        var status = IoStatus.Ok;
        var creation = AskAsync(async () =>
        {
            disk = await _host.Engine.CreateDiskAsync(new DiskSpec((ulong)bytes, name), None);
            return IoStatus.Ok;
        });
        if (!await EndsAsync(creation))
        {
            return null;
        }

        status = await creation;
        AssertAllowed(status, "creation");
        if (status != IoStatus.Ok)
        {
            return null;
        }

        _digest.Add(disk!.Id);
        _models.Add(new WorldDisk(disk.Id, disk.Durable, bytes, name));
        return _models[^1];
    }

    /// <summary>Asks something of a disk whose model knows of it already. True when it was done.</summary>
    private async Task<bool> AskAsync(WorldDisk model, bool durable, Func<Disk, ValueTask<IoStatus>> ask)
    {
        var disk = Find(model);
        var asked = AskAsync(() => ask(disk));
        if (!await EndsAsync(asked))
        {
            return false;
        }

        var status = await asked;
        AssertAllowed(status, $"a request to disk {model.Id}");
        model.Settle(disk, status, durable);
        _digest.Add(disk.Newest.Id);
        return status == IoStatus.Ok;
    }

    private async Task<IoStatus> AskAsync(Func<ValueTask<IoStatus>> ask)
    {
        try
        {
            var status = await ask();
            _digest.Add((ulong)status);
            return status;
        }
        catch (RefusalException e)
        {
            _digest.Add((ulong)e.Reason + 100);
            return e.Reason switch
            {
                Refusal.NoSpace => IoStatus.NoSpace,
                Refusal.Unavailable => IoStatus.Poisoned,
                _ => IoStatus.ReadOnly,
            };
        }
    }

    private void AssertAllowed(IoStatus status, string what)
    {
        var allowed = status switch
        {
            IoStatus.Ok => true,
            IoStatus.NoSpace => _class is WorldClass.Full or WorldClass.Long || _faults.NoRoomBelow,
            IoStatus.Poisoned => MayBePoisoned,
            IoStatus.ReadOnly => _mayLose,
            IoStatus.OutOfRange => _mayLose,
            IoStatus.Damaged => ReadsMayFail,
            _ => false,
        };
        Assert.True(allowed, $"{what} answered {status}");
    }

    private async Task FlushAsync()
    {
        var promised = _models.Select(model => (model, model.Acknowledged)).ToList();
        var log = _host.Engine.Services.Log;
        if (_flushesHere && _companions?.Next(2) == 0)
        {
            // As a connection does whose client is known to flush next.
            await EndsAsync(log.WriteHereAsync().AsTask());
        }

        var status = await AskAsync(() => _flushesHere ? log.FlushHereAsync() : log.FlushAsync());
        AssertAllowed(status, "a flush");
        if (status == IoStatus.Ok)
        {
            promised.ForEach(promise => promise.model.NoteDurable(promise.Acknowledged));
        }
    }

    private async Task CheckpointAsync()
    {
        try
        {
            _digest.Add(await _host.Engine.CheckpointAsync() ? 1UL : 0UL);
        }
        catch (DeviceException) when (MayBePoisoned)
        {
            _digest.Add(2);
        }
    }

    private async Task CompactAsync() => _digest.Add(await _host.Engine.CompactAsync() ? 1UL : 0UL);

    /// <summary>What the engine counts is what is there, where the device did nothing that may have cost something.</summary>
    private async Task AuditAsync()
    {
        if (_class is not (WorldClass.Rot or WorldClass.Misdirection) && !ReadsMayFail && !HasFailed && !_faults.HasReadFaults)
        {
            var audit = Audit.RunAsync(_host.Engine);
            try
            {
                if (await EndsAsync(audit))
                {
                    await audit;
                }
            }
            catch (Xunit.Sdk.XunitException) when (HasFailed)
            {
                // A flush failed before it came to look: a checkpoint was left as it was, half-way.
            }
        }
    }

    private async Task CheckRangeAsync(WorldDisk model, int offset, int length)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(length);
        await model.CheckRangeAsync(Find(model), offset, buffer.AsMemory(0, length), () => ReadsMayFail, _digest);
        ArrayPool<byte>.Shared.Return(buffer);
    }
}
