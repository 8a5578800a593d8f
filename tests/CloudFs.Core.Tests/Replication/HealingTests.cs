using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Replication;

/// <summary>A page that rots on one of several hosts is had from another.</summary>
public sealed class HealingTests
{
    private const int PageBytes = 4096;

    private static CancellationToken None => CancellationToken.None;

    [Fact]
    public void A_page_that_rots_on_the_primary_is_healed_by_a_read() => Run(1, async rig =>
    {
        var disk = await FilledAsync(rig);
        var at = Find(rig.Host(0).Device, Page(2));
        rig.Host(0).Device.FlipBit(at + 100, 5);

        await ReadsAsync(disk, 2);
        Assert.Equal(Page(2), rig.Host(0).Device.Peek(at, PageBytes));
        Assert.Equal(1, rig[0].Replication.Counters.HealedPages);
        Assert.Single(rig.Host(0).Events, told => told.Code == "healed");
    });

    [Fact]
    public void A_page_that_rots_on_a_replica_is_healed_by_its_scrub() => Run(2, async rig =>
    {
        var disk = await FilledAsync(rig);
        await rig.SameAsync(disk.Id, 4 * PageBytes, 0, 1, 2);
        var at = Find(rig.Host(1).Device, Page(3));
        rig.Host(1).Device.FlipBit(at + 100, 5);

        Assert.Equal(ScrubVerdict.Healed, Assert.Single((await ScrubAsync(rig, 1)).Findings).Verdict);
        Assert.Equal(Page(3), rig.Host(1).Device.Peek(at, PageBytes));
        Assert.Equal(1, rig[1].Replication.Counters.HealedPages);
        Assert.Empty((await ScrubAsync(rig, 1)).Findings);
    });

    [Fact]
    public void Whoever_still_has_it_gives_it_and_where_nobody_has_it_is_EIO() => Run(3, async rig =>
    {
        var disk = await FilledAsync(rig);
        await rig.SameAsync(disk.Id, 4 * PageBytes, 0, 1, 2);
        Rot(rig, 0, 1);
        Rot(rig, 1, 1);
        await ReadsAsync(disk, 1);

        for (var host = 0; host < 3; host++)
        {
            Rot(rig, host, 2);
        }

        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(2 * PageBytes, new byte[PageBytes], None));
        Assert.Equal(1, rig[0].Replication.Counters.HealedPages);
    });

    [Fact]
    public void With_the_others_away_a_read_ends_in_bounded_time() => Run(4, async rig =>
    {
        var disk = await FilledAsync(rig);
        await rig.SameAsync(disk.Id, 4 * PageBytes, 0, 1, 2);
        Rot(rig, 1, 2);
        await rig.EndAsync(0, End.Kill);
        await rig.EndAsync(2, End.Kill);
        var read = rig.DiskOn(1, disk.Id).ReadHereAsync(2 * PageBytes, new byte[PageBytes]).AsTask();
        await rig.PassAsync(7);
        Assert.True(read.IsCompleted);
        Assert.Equal(IoStatus.Damaged, await read);
    });

    [Fact]
    public void Many_reads_of_damaged_pages_at_once_are_all_answered() => Run(5, async rig =>
    {
        var disk = await FilledAsync(rig);
        await rig.SameAsync(disk.Id, 4 * PageBytes, 0, 1, 2);
        for (var page = 0; page < 4; page++)
        {
            Rot(rig, 0, page);
        }

        await Task.WhenAll(Enumerable.Range(0, 24).Select(read => ReadsAsync(disk, read % 4)));
        Assert.InRange(rig[0].Replication.Counters.HealedPages, 4, 24);
    });

    private static void Rot(ClusterRig rig, int host, int page) =>
        rig.Host(host).Device.FlipBit(Find(rig.Host(host).Device, Page(page)) + 100, 5);

    private static async Task<Disk> FilledAsync(ClusterRig rig)
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        for (var page = 0; page < 4; page++)
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)page * PageBytes, Page(page), fua: true, None));
        }

        return disk;
    }

    private static async Task ReadsAsync(Disk disk, int page)
    {
        var found = new byte[PageBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync((ulong)page * PageBytes, found, None));
        Assert.Equal(Page(page), found);
    }

    private static async Task<ScrubStatus> ScrubAsync(ClusterRig rig, int host)
    {
        rig[host].Scrub.Begin();
        await rig.UntilAsync(() => !rig[host].Scrub.GetStatus().Running, "the scrub has ended");
        return rig[host].Scrub.GetStatus();
    }

    private static byte[] Page(int mark)
    {
        var page = new byte[PageBytes];
        new Random(mark).NextBytes(page);
        return page;
    }

    private static ulong Find(MemoryDevice device, byte[] page)
    {
        var at = device.Peek(DeviceGeometry.SegmentOffset(0), DeviceGeometry.SegmentBytes).AsSpan().IndexOf(page.AsSpan(0, 64));
        Assert.True(at >= 0, "the page is on the device");
        return DeviceGeometry.SegmentOffset(0) + (ulong)at;
    }

    private static void Run(int seed, Func<ClusterRig, Task> test) => Simulation.Run(seed, async simulation =>
    {
        using var rig = new ClusterRig(simulation, seed, 3);
        await rig.StartAsync();
        await test(rig);
        await rig.StopAsync();
        Assert.Equal(0, simulation.FromElsewhere);
    });
}
