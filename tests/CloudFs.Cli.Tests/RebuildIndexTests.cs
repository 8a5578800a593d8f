using System.Security.Cryptography;
using CloudFs.Core.Checkpoints;
using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>An index that is gone is made anew from the log: by a daemon's start, and by verify where it is told to.</summary>
public sealed class RebuildIndexTests : IAsyncLifetime
{
    private const int DiskBytes = 160 << 20;
    private const int SectorBytes = 512;
    private const string Rebuilt = "it is rebuilt from the log";

    private static readonly CancellationToken None = CancellationToken.None;

    private readonly byte[] _contents = new byte[DiskBytes];
    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task An_index_that_is_gone_is_rebuilt_by_a_start_and_by_verify_where_it_is_told_to()
    {
        await _daemon.NewDiskAsync(DiskBytes, "demo");
        _daemon.SizeBytes = 1UL << 30;
        await _daemon.RestartAsync();
        await _daemon.StopAsync();
        await FillAsync();
        var sound = await VerifyAsync(0);
        Assert.Matches("(?m)^index: [0-9]{3,} pages$", sound.Error);
        await WipeIndexAsync();
        Assert.Contains("index page ", (await VerifyAsync(1)).Error, StringComparison.Ordinal);

        await _daemon.RestartAsync();
        Assert.True(await _daemon.Log.ComesToHoldAsync(Rebuilt));
        await AssertContentsAsync();
        Assert.Contains("in use", (await VerifyAsync(1, "--rebuild-index")).Error, StringComparison.Ordinal);
        await _daemon.StopAsync();
        Assert.Equal(sound.Out, (await VerifyAsync(0)).Out);

        await WipeIndexAsync();
        _daemon.Log.Clear();
        var told = await VerifyAsync(0, "--rebuild-index", "--buffer-dir", _daemon.Folder);
        Assert.Equal(sound.Out, told.Out);
        Assert.Contains("the whole log is read", told.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_daemon.Folder, "*.buffer"));
        await _daemon.RestartAsync();
        Assert.DoesNotContain(Rebuilt, _daemon.Log.ToString(), StringComparison.Ordinal);
        await AssertContentsAsync();
    }

    [Fact]
    public async Task What_is_no_device_is_left_as_it_is()
    {
        var path = Path.Combine(_daemon.Folder, "blank");
        await File.WriteAllBytesAsync(path, new byte[64 << 20]);
        var io = TestIo.Create();
        Assert.Equal(1, await io.RunAsync("verify", "--rebuild-index", path));
        Assert.StartsWith($"cloudfs: {path}: ", io.Error, StringComparison.Ordinal);
        Assert.Equal(-1, (await File.ReadAllBytesAsync(path)).AsSpan().IndexOfAnyExcept((byte)0));
    }

    /// <summary>Every sector by an entry of its own, in no order: that index is larger than its fixed area.</summary>
    private async Task FillAsync()
    {
        var random = new Random(3);
        random.NextBytes(_contents);
        var sectors = Enumerable.Range(0, DiskBytes / SectorBytes).ToArray();
        random.Shuffle(sectors);
        await using var engine = await StorageEngine.OpenAsync(
            new EngineSettings
            {
                Device = FileBlockDevice.Open(_daemon.DevicePath, null),
                Boot = MachineBoot.Id(),
                ScrubRate = 0,
            },
            new EngineRuntime
            {
                Time = TimeProvider.System,
                FillRandom = RandomNumberGenerator.Fill,
                Spawn = Task.Run,
                Report = _ => { },
            });
        var disk = engine.FindDisk("demo");
        foreach (var sector in sectors)
        {
            var data = _contents.AsMemory(sector * SectorBytes, SectorBytes);
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)sector * SectorBytes, data, false, None));
        }
    }

    /// <summary>Zeroes in the fixed area of the index and in all its segments.</summary>
    private async Task WipeIndexAsync()
    {
        using var device = FileBlockDevice.Open(_daemon.DevicePath, null);
        var label = (await DeviceLabels.ReadAsync(device, _ => { }))!;
        var checkpoint = await new CheckpointStore(device, label.DeviceId).LoadAsync(label.SegmentCount, _ => { });
        var segments = checkpoint!.IndexPages.Select(area => area.Segment).Where(segment => segment >= 0).ToList();
        Assert.NotEmpty(segments);
        await device.WriteAsync(6 << 20, new byte[2 << 20]);
        foreach (var segment in segments)
        {
            await device.WriteAsync(DeviceGeometry.SegmentOffset(segment), new byte[DeviceGeometry.SegmentBytes]);
        }

        await device.FlushAsync();
    }

    private async Task AssertContentsAsync()
    {
        var io = TestIo.Create();
        Assert.Equal(0, await io.RunAsync("read", "demo", "--daemon", _daemon.Url));
        Assert.True(_contents.AsSpan().SequenceEqual(io.Data), "the disk holds something else than was written");
    }

    private async Task<TestIo> VerifyAsync(int status, params string[] options)
    {
        var io = TestIo.Create();
        var ended = await io.RunAsync(["verify", .. options, _daemon.DevicePath]);
        Assert.True(status == ended, $"verify ended with {ended}: {io.Error}");
        return io;
    }
}
