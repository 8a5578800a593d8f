using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using CloudFs.Core.Tests.Trees;
using CloudFs.Core.Trees;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>The index is soft state: to wipe it, or a part of it, by hand loses nothing.</summary>
public sealed class WipedIndexTests
{
    private const int DiskBytes = 8 << 20;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_device_without_its_index_is_opened_with_all_its_contents(bool withNoise) => Simulation.Run(1, async simulation =>
    {
        var random = new Random(7);
        using var host = new SimulatedHost(simulation, random, new MemoryDevice(208UL << 20));
        await host.OpenAsync();
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
        var contents = new byte[DiskBytes];
        for (var i = 0; i < 2000; i++)
        {
            var at = random.Next(DiskBytes / 512) * 512;
            random.NextBytes(contents.AsSpan(at, 512));
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)at, contents.AsMemory(at, 512), false, None));
        }

        await host.EndAsync(End.Kill, stopFirst: true);
        var offset = IndexPageNumber.FixedAreaOffset;
        await WipeAsync(host.Device, offset, (int)(DeviceGeometry.SegmentsOffset - offset), withNoise);
        await host.OpenAsync();

        Assert.Contains(host.Engine.Recovery.Decisions, decision => decision.Code == "damaged-index");
        Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out var again));
        var read = new byte[DiskBytes];
        Assert.Equal(IoStatus.Ok, await again.ReadAsync(0, read, None));
        Assert.Equal(contents, read);
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Each_segment_of_an_index_is_missed_at_once(bool withNoise)
    {
        var rig = new TreeRig();
        await rig.MergeAsync(TreeRig.Wide(400_000));
        rig.Space.Settle();
        var areas = rig.Space.Snapshot().Select(area => area.Segment).ToList();
        Assert.True(areas.Count >= 2, "the index has segments besides the fixed area");
        await AssertAsync(true);
        foreach (var segment in areas)
        {
            var offset = IndexPageNumber.AreaOffset(segment);
            var length = segment < 0 ? (int)(DeviceGeometry.SegmentsOffset - offset) : DeviceGeometry.SegmentBytes;
            var before = rig.Device.Peek(offset, length);
            await WipeAsync(rig.Device, offset, length, withNoise);
            await AssertAsync(false);
            await rig.Device.WriteAsync(offset, before);
        }

        await AssertAsync(true);

        async Task AssertAsync(bool isThere)
        {
            rig.Forget();
            Assert.Equal(isThere, await new IndexPresence(rig.Device, rig.Tree, rig.Space).IsThereAsync([]));
        }
    }

    private static async Task WipeAsync(MemoryDevice device, ulong offset, int length, bool withNoise)
    {
        var bytes = new byte[length];
        if (withNoise)
        {
            new Random(3).NextBytes(bytes);
        }

        await device.WriteAsync(offset, bytes);
        await device.FlushAsync();
    }
}
