using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Primitives;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>
/// One random history of a host: disks are made, written, trimmed, resized, renamed, flushed; checkpoints are written; the
/// process is stopped, dies, or the power goes, at any write or flush, those of starting and stopping included. After
/// every start each disk must hold what it may hold, prove its chain, and be as well as a disk can be.
/// </summary>
internal sealed class EngineHistory(Simulation simulation, Random random) : IDisposable
{
    private const int SectorBytes = EntryLayout.SectorSize;

    private static readonly CancellationToken None = CancellationToken.None;

    private readonly SimulatedHost _host = new(
        simulation, random, new MemoryDevice(240UL << 20, random.Next(3) == 0 ? 512 : 4096));

    private readonly List<DiskModel> _models = [];
    private readonly List<Task> _behind = [];
    private bool _nothingLost = true;

    /// <summary>Runs one history to its end.</summary>
    public static void Run(int seed) => Simulation.Run(seed, async simulation =>
    {
        using var history = new EngineHistory(simulation, new Random(seed));
        await history.RunAsync();
    });

    public void Dispose() => _host.Dispose();

    private async Task RunAsync()
    {
        await _host.OpenAsync();
        for (var disks = random.Next(1, 3); disks > 0; disks--)
        {
            await CreateAsync();
        }

        if (random.Next(4) == 0)
        {
            await FillSegmentAsync();
        }

        for (var lives = random.Next(2, 5); lives > 0; lives--)
        {
            await LiveAsync();
            await RestartAsync();
        }

        await AssertSameAgainAsync();
    }

    private Disk Disk(DiskModel model) =>
        _host.Engine.TryGetDisk(model.Id.ToString(), out var disk) ? disk : throw new InvalidOperationException("the disk is gone");

    private async Task CreateAsync()
    {
        var size = random.Next(1, 16) << 18;
        var disk = await _host.Engine.CreateDiskAsync(new DiskSpec((ulong)size), None);
        _models.Add(new DiskModel(disk.Id, disk.Newest, size));
    }

    /// <summary>Comes near the end of a segment, so that what follows crosses it.</summary>
    private async Task FillSegmentAsync()
    {
        var model = _models[0];
        var left = (15 << 20) + random.Next(1 << 20) - (_models.Count * 8192);
        while (left > 0)
        {
            var length = Math.Min(Math.Min(left, model.Bytes), 1 << 20) & -SectorBytes;
            if (length == 0)
            {
                break;
            }

            await WriteAsync(model, 0, length, fua: false);
            left -= length;
        }
    }

    private async Task LiveAsync()
    {
        if (random.Next(3) != 0)
        {
            _host.Device.StopAt(random.Next(1, random.Next(2) == 0 ? 12 : 60), random);
        }

        for (var steps = random.Next(2, 25); steps > 0 && !_host.Device.Stopped.IsCompleted; steps--)
        {
            await StepAsync(_models[random.Next(_models.Count)]);
        }
    }

    private async Task StepAsync(DiskModel model)
    {
        switch (random.Next(24))
        {
            case < 10:
                var (offset, length) = Range(model, random.Next(4) == 0 ? 1_258_291 : 40_000);
                await WriteAsync(model, offset, length, random.Next(8) == 0);
                break;
            case < 13:
                await ZeroAsync(model);
                break;
            case < 15:
                await PutAsync(model);
                break;
            case < 17:
                await EndsAsync(FlushAsync());
                break;
            case < 19:
                _behind.Add(FlushAsync());
                break;
            case 19:
                await ChangeAsync(model);
                break;
            case 20:
                await EndsAsync(_host.Engine.CheckpointAsync());
                break;
            case 21:
                _behind.Add(_host.Engine.CheckpointAsync());
                break;
            case 22:
                await EndsAsync(Task.Delay(TimeSpan.FromMilliseconds(random.Next(1, 250)), simulation.Time));
                break;
            default:
                var (at, bytes) = Range(model, 100_000);
                await model.AssertRangeAsync(Disk(model), at, new byte[bytes]);
                break;
        }
    }

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

    private (int Offset, int Length) Range(DiskModel model, int most)
    {
        var offset = random.Next(model.Bytes / SectorBytes) * SectorBytes;
        var length = Math.Min(((random.Next(most) / SectorBytes) + 1) * SectorBytes, model.Bytes - offset);
        return (offset, length);
    }

    private byte[] Data(int length)
    {
        var data = new byte[length];
        random.NextBytes(data);
        for (var holes = random.Next(3); holes > 0; holes--)
        {
            // Whole pages of zeroes among the others.
            var from = random.Next(length);
            data.AsSpan(from, Math.Min(random.Next(20_000), length - from)).Clear();
        }

        return data;
    }

    private async Task WriteAsync(DiskModel model, int offset, int length, bool fua)
    {
        var data = Data(length);
        model.Write(offset, length, data);
        var write = Disk(model).WriteAsync((ulong)offset, data, fua, None).AsTask();
        if (await EndsAsync(write))
        {
            Assert.Equal(IoStatus.Ok, await write);
            model.Acknowledge(Disk(model), fua);
        }
    }

    private async Task ZeroAsync(DiskModel model)
    {
        var (offset, length) = Range(model, model.Bytes);
        var fua = random.Next(8) == 0;
        model.Write(offset, length, null);
        var zero = Disk(model).ZeroAsync((ulong)offset, (ulong)length, fua, None).AsTask();
        if (await EndsAsync(zero))
        {
            Assert.Equal(IoStatus.Ok, await zero);
            model.Acknowledge(Disk(model), fua);
        }
    }

    private async Task PutAsync(DiskModel model)
    {
        var offset = random.Next(model.Bytes - 1);
        var data = Data(random.Next(1, Math.Min(10_000, model.Bytes - offset + 1)));
        var first = offset / SectorBytes * SectorBytes;
        var end = (offset + data.Length + SectorBytes - 1) / SectorBytes * SectorBytes;
        var whole = model.Contents[first..end].ToArray();
        data.CopyTo(whole, offset - first);
        var newest = Disk(model).Newest.Id;
        model.Write(first, whole.Length, whole);
        var put = Disk(model).PutAsync((ulong)offset, data, random.Next(2) == 0 ? newest : null, None).AsTask();
        if (await EndsAsync(put))
        {
            Assert.Equal(IoStatus.Ok, (await put).Status);
            Assert.Equal(Disk(model).Newest, (await put).Version);
            model.Acknowledge(Disk(model), durable: true);
        }
    }

    private async Task ChangeAsync(DiskModel model)
    {
        var size = model.Bytes;
        var name = model.Name;
        Task change;
        if (random.Next(2) == 0)
        {
            size += random.Next(1, 64) * SectorBytes;
            model.ChangeAttributes(size, name);
            change = Disk(model).ResizeAsync((ulong)size, None).AsTask();
        }
        else
        {
            name = $"disk{random.Next()}";
            model.ChangeAttributes(size, name);
            change = _host.Engine.RenameDiskAsync(Disk(model), name, None).AsTask();
        }

        if (await EndsAsync(change))
        {
            model.Acknowledge(Disk(model), durable: true);
        }
    }

    private async Task FlushAsync()
    {
        var promised = _models.Select(model => (model, model.Acknowledged)).ToList();
        var status = await _host.Engine.FlushAsync(None);
        Assert.Equal(IoStatus.Ok, status);
        promised.ForEach(promise => promise.model.NoteDurable(promise.Acknowledged));
    }

    private async Task RestartAsync()
    {
        await EndAsync();
        if (random.Next(4) == 0)
        {
            _host.Device.StopAt(random.Next(1, 8), random);
        }

        while (!await _host.TryOpenAsync())
        {
            await EndAsync();
        }

        _host.Device.GoOn();
        Assert.Empty(_host.Engine.GetHealth().Issues);
        foreach (var model in _models)
        {
            model.Recovered(Disk(model), _nothingLost);
            await model.AssertContentsAsync(Disk(model), random);
            await DiskModel.AssertChainAsync(Disk(model));
        }

        _nothingLost = true;
    }

    private async Task EndAsync()
    {
        var end = random.Next(2) == 0 ? End.PowerCut : End.Kill;
        foreach (var model in _models)
        {
            // What was shown as durable must stay.
            model.NoteDurable(Disk(model).Durable.Lsn);
        }

        var stopped = await _host.EndAsync(end, stopFirst: random.Next(3) == 0);
        _nothingLost &= stopped || end == End.Kill;
        foreach (var task in _behind)
        {
            // What failed so was refused before the end, and would have been wrong.
            Assert.True(task.IsCompletedSuccessfully || !task.IsCompleted || !stopped, task.Exception?.ToString());
        }

        _behind.Clear();
    }

    /// <summary>One more start, and a start without checkpoints, must find the same.</summary>
    private async Task AssertSameAgainAsync()
    {
        await _host.EndAsync(End.Kill, stopFirst: random.Next(2) == 0);
        await _host.OpenAsync();
        var rebuilt = await _host.OpenCopyAsync(withCheckpoints: false);
        foreach (var model in _models)
        {
            var head = Disk(model).Newest;
            model.Recovered(Disk(model), nothingLost: true);
            await model.AssertContentsAsync(Disk(model), random);
            Assert.True(rebuilt.TryGetDisk(model.Id.ToString(), out var disk));
            Assert.Equal(head, disk.Newest);
            await model.AssertContentsAsync(disk, random);
            Assert.Equal(await MapAsync(Disk(model)), await MapAsync(disk));
        }
    }

    /// <summary>What each run of sectors is set by: the places may differ, since copies may stand for what they were made of.</summary>
    private static async Task<List<(ulong Lba, ulong Sectors, MappedContent Content, ulong Lsn)>> MapAsync(Disk disk)
    {
        var runs = new List<(ulong Lba, ulong Sectors, MappedContent Content, ulong Lsn)>();
        var some = new MappedExtent[64];
        for (ulong lba = 0, end = disk.SizeBytes / 512; lba < end;)
        {
            var (status, count) = await disk.LookUpAsync(lba, end, some);
            Assert.Equal(TreeRead.Ok, status);
            foreach (var extent in some.AsSpan(0, count))
            {
                if (runs.Count > 0 && runs[^1].Lba + runs[^1].Sectors == extent.Lba && runs[^1].Content == extent.Content
                    && runs[^1].Lsn == extent.Lsn)
                {
                    runs[^1] = runs[^1] with { Sectors = runs[^1].Sectors + extent.Sectors };
                    continue;
                }

                runs.Add((extent.Lba, extent.Sectors, extent.Content, extent.Lsn));
            }

            lba = count == some.Length ? some[count - 1].End : end;
        }

        return runs;
    }
}
