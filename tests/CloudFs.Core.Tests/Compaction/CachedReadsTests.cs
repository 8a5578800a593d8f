using CloudFs.Core.Compaction;
using CloudFs.Core.Format;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Log;
using CloudFs.Core.Tests.Engine;
using CloudFs.Core.Tests.Layout;
using Xunit;

namespace CloudFs.Core.Tests.Compaction;

/// <summary>
/// Sectors read one by one through a cache of pages are those that are read without: whatever entries look like, and whatever
/// of them was dropped when they were relocated.
/// </summary>
public sealed class CachedReadsTests
{
    [Theory]
    [InlineData(1, 120, 0)]
    [InlineData(2, 120, 16 << 20)]
    [InlineData(3, 400, 1 << 20)]
    public async Task Live_sectors_read_the_same_before_and_after_they_are_relocated(int seed, int entries, long capacity)
    {
        var plain = new RelocationRig();
        var rig = new RelocationRig(cache: new ReadCache(capacity));
        await plain.FillAsync(seed, uses: 3, entries);
        await rig.FillAsync(seed, uses: 3, entries);
        var expected = await plain.ReadAllAsync();
        Assert.Equal(expected, await rig.ReadAllAsync());
        Assert.Equal(expected, await rig.ReadAllAsync());
        for (var use = 1UL; use <= 3; use++)
        {
            Assert.Equal(RelocationOutcome.Done, await rig.RelocateAsync(use));
            await rig.FinishAsync();
            Assert.Equal(expected, await rig.ReadAllAsync());
            Assert.Equal(expected, await rig.ReadAllAsync());
        }

        Assert.True(rig.Pages.Cache!.Hits > rig.Pages.Cache.Misses / 2);
    }

    [Fact]
    public async Task Extents_of_one_entry_that_share_a_page_are_not_mistaken_for_each_other()
    {
        var rig = new RelocationRig(cache: new ReadCache(1 << 20));
        var disk = new SampleDisk();
        await rig.AddAsync(
            1, [disk.RecordBytes, disk.First],
            [disk.Write(new ExtentRecord(0, 3, ExtentKind.Data), new ExtentRecord(3, 14, ExtentKind.Data), new ExtentRecord(2, 2, ExtentKind.Data))]);
        var plain = new PageReader(rig.Log);
        for (var round = 0; round < 2; round++)
        {
            foreach (var extent in RelocationRig.Extents(rig.MapOf(disk.Head.Disk)))
            {
                for (var sector = extent.Lba; sector < extent.End; sector++)
                {
                    var (one, other) = (new byte[512], new byte[512]);
                    Assert.Equal(PageReadOutcome.Ok, await plain.ReadAsync(extent.Clip(sector, sector + 1), disk.Head.Disk, one));
                    Assert.Equal(PageReadOutcome.Ok, await rig.Pages.ReadAsync(extent.Clip(sector, sector + 1), disk.Head.Disk, other));
                    Assert.Equal(one, other);
                }
            }
        }

        // Sectors 0-1, 2-3, 4-7, 8-15 and 16 are pages of their own, read once each.
        Assert.Equal((29L, 5L), (rig.Pages.Cache!.Hits, rig.Pages.Cache.Misses));
    }

    [Theory]
    [InlineData(7, 512)]
    [InlineData(12, 1024)]
    public void Of_an_entry_of_scattered_pages_any_is_waited_for_once(int pages, int header) => Simulation.Run(1, async _ =>
    {
        var device = new FetchingDevice(new MemoryDevice(DeviceGeometry.SegmentsOffset + (24UL << 24)));
        var rig = new RelocationRig(device);
        var disk = new SampleDisk();
        var entry = disk.Write([.. Enumerable.Range(0, pages).Select(i => new ExtentRecord((ulong)(i * 5 % pages * 64), 8, ExtentKind.Data))]);
        await rig.AddAsync(1, [disk.RecordBytes, disk.First], [entry]);
        foreach (var extent in RelocationRig.Extents(rig.MapOf(disk.Head.Disk)))
        {
            device.Forget();
            var read = new byte[4096];
            Assert.Equal(PageReadOutcome.Ok, await rig.Pages.ReadAsync(extent, disk.Head.Disk, read));
            Assert.Equal(entry[(header + (extent.ExtentIndex * 4096))..][..4096], read);

            // The nearest come with the header; others beside it. A header that is longer than was thought shifts them all.
            Assert.Equal(extent.ExtentIndex < 4 ? 0 : 1, device.Told);
            Assert.InRange(device.Reads, 1, header == 512 ? 1 + device.Told : 3);
            Assert.InRange(device.Waits, 1, header == 512 ? 1 : 2);
        }
    });

    [Fact]
    public async Task An_index_that_is_wrong_gets_no_bytes()
    {
        var rig = new RelocationRig(cache: new ReadCache(1 << 20));
        var disk = new SampleDisk();
        await rig.AddAsync(1, [disk.RecordBytes, disk.First], [disk.Update(2, 4), disk.Update(16, 8)]);
        var id = disk.Head.Disk;
        var extents = RelocationRig.Extents(rig.MapOf(id)).ToList();
        foreach (var extent in extents)
        {
            Assert.Equal(LogRead.Ok, (await rig.Pages.ReadAsync(extent, id, new byte[extent.Sectors * 512])).Status);
        }

        var right = extents[0];
        Assert.Equal((2UL, 4UL), (right.Lba, right.Sectors));
        MappedExtent[] wrong =
        [
            right with { Lsn = right.Lsn + 1 }, right with { ExtentIndex = 1 }, right with { Position = extents[1].Position },
            right with { Position = right.Position.Plus(512) }, right with { Lba = 1 }, right with { Lba = 3 }, right with { Lba = 10 },
            right with { Lba = 0, Sectors = 8 },
        ];
        foreach (var extent in wrong)
        {
            Assert.NotEqual(LogRead.Ok, (await rig.Pages.ReadAsync(extent, id, new byte[extent.Sectors * 512])).Status);
        }

        Assert.Equal(LogRead.Damaged, (await rig.Pages.ReadAsync(right, new SampleDisk(LayoutSamples.Id(0x31)).Head.Disk, new byte[2048])).Status);
        Assert.Equal(LogRead.Ok, (await rig.Pages.ReadAsync(right, id, new byte[2048])).Status);
    }
}
