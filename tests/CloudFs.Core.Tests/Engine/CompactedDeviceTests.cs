using CloudFs.Core.Checkpoints;
using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Recovery;
using CloudFs.Core.Scrub;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A device that was compacted over and over: it verifies, scrubs clean, and its figures add up.</summary>
public sealed class CompactedDeviceTests
{
    private const int DiskBytes = 48 << 20;
    private const int PageBytes = 4096;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(1, true)]
    [InlineData(2, false)]
    public void Nothing_is_wrong_with_it_after_a_stop_or_a_death(int seed, bool stopFirst) => Run(seed, async (host, quiet, busy) =>
    {
        var heads = new[] { quiet.Durable, busy.Durable }.Select(version => version.Lsn).Order();
        await host.EndAsync(End.Kill, stopFirst);

        var problems = new List<string>();
        var outcome = await new DeviceVerifier(host.Device, problems.Add).RunAsync(None);
        Assert.Empty(problems);
        Assert.True(outcome.IndexPages > 0, "there is no index");
        Assert.Equal(heads, outcome.Heads.Select(head => head.Lsn).Order());

        // Any page of the index that rots is found.
        host.Device.FlipBit((6 << 20) + FirstPageInUse(host), 3);
        Assert.NotEqual(0, (await new DeviceVerifier(host.Device, problems.Add).RunAsync(None)).Problems);
        Assert.Contains(problems, problem => problem.Contains("index page", StringComparison.Ordinal));
    });

    [Fact]
    public void A_scrub_reads_trees_and_copies_and_tells_a_page_of_the_index_that_rots() => Run(3, async (host, quiet, busy) =>
    {
        Assert.Empty((await ScrubAsync(host)).Findings);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
        Assert.True(await host.Engine.CheckpointAsync());
        host.Device.FlipBit((6 << 20) + FirstPageInUse(host), 3);
        var findings = (await ScrubAsync(host)).Findings;
        Assert.NotEmpty(findings);
        Assert.All(findings, finding => Assert.Equal(("index", ScrubVerdict.Unknown), (finding.Place, finding.Verdict)));
        Assert.Equal("degraded", host.Engine.GetHealth().Status);
    });

    [Fact]
    public void Its_figures_add_up() => Run(4, (host, quiet, busy) =>
    {
        var (space, counters, compaction) = (host.Engine.GetSpace(), host.Engine.GetCounters(), host.Engine.GetCompaction());
        Assert.Equal(space.Capacity, SpaceAccountingTests.Sum(space));
        Assert.InRange(space.Live, DiskBytes / 2UL, DiskBytes * 2UL);
        Assert.True(counters.RelocatedBytes > 0);
        Assert.True(counters.IndexBytes > 0);
        Assert.True(counters.IndexPages > 0);
        Assert.True(counters.IndexCacheHits > 0);
        Assert.Equal(
            counters.DeviceBytesWritten,
            counters.NewBytes + counters.FooterBytes + counters.RelocatedBytes + counters.IndexBytes + counters.CheckpointBytes);
        Assert.Equal(1 + (counters.RelocatedBytes / (double)counters.NewBytes), compaction.WriteAmplification, 6);
        Assert.Equal(counters.RelocatedBytes, compaction.RelocatedBytes);
        Assert.NotEqual("full", compaction.Pressure);
        return Task.CompletedTask;
    });

    [Fact]
    public void A_death_while_the_index_is_rebuilt_leads_back_to_no_checkpoint() => Run(5, async (host, quiet, busy) =>
    {
        await host.EndAsync(End.Kill, stopFirst: true);
        var store = new CheckpointStore(host.Device, host.Engine.DeviceId);
        var segments = DeviceGeometry.SegmentCount(host.Device.Length);
        Assert.NotNull(await store.LoadAsync(segments, _ => { }));
        var durable = store.KnownDurable;
        await store.VoidAsync(segments);
        Assert.Null(await store.LoadAsync(segments, _ => { }));
        Assert.Equal(durable, store.KnownDurable);
        await host.OpenAsync();
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    /// <summary>A quiet disk whose few entries are relocated, and one that is overwritten until all has gone round.</summary>
    private static void Run(int seed, Func<SimulatedHost, Disk, Disk, Task> body) => Simulation.Run(seed, async simulation =>
    {
        var random = new Random(seed);
        using var host = new SimulatedHost(simulation, random, new MemoryDevice(208UL << 20)) { ScrubRate = 1UL << 40 };
        await host.OpenAsync();
        var quiet = await host.Engine.CreateDiskAsync(new DiskSpec(1 << 20), None);
        var busy = await host.Engine.CreateDiskAsync(new DiskSpec(DiskBytes), None);
        for (var i = 0; i < 16; i++)
        {
            await WriteAsync(quiet, random, i * 2 * PageBytes, PageBytes);
        }

        for (var at = 0; at < DiskBytes; at += 256 << 10)
        {
            await WriteAsync(busy, random, at, 256 << 10);
        }

        await host.Engine.RenameDiskAsync(quiet, "quiet", None);
        for (var i = 0; i < 9000; i++)
        {
            await WriteAsync(busy, random, random.Next(DiskBytes / PageBytes / 2) * PageBytes, random.Next(1, 12) * PageBytes);
        }

        Assert.Equal(IoStatus.Ok, await host.Engine.FlushAsync(None));
        Assert.True(await host.Engine.CheckpointAsync());
        Assert.True(host.Engine.GetCounters().SegmentsReclaimed > 5);
        await body(host, quiet, busy);
    });

    private static async Task WriteAsync(Disk disk, Random random, int offset, int length)
    {
        var data = new byte[length];
        random.NextBytes(data);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, data, false, None));
    }

    private static async Task<ScrubStatus> ScrubAsync(SimulatedHost host)
    {
        host.Engine.Scrub.Begin();
        while (host.Engine.Scrub.GetStatus().Running)
        {
            await Task.Yield();
        }

        return host.Engine.Scrub.GetStatus();
    }

    /// <summary>A byte of a page that the newest checkpoint's trees name, from the beginning of the index area.</summary>
    private static ulong FirstPageInUse(SimulatedHost host)
    {
        var device = host.Device.Copy();
        var store = new CheckpointStore(device, host.Engine.DeviceId);
        var loaded = store.LoadAsync(DeviceGeometry.SegmentCount(device.Length), _ => { }).AsTask().GetAwaiter().GetResult();
        var page = loaded!.Disks.Values.Select(disk => disk.Map.Tree).First(tree => !tree.IsEmpty).Page;
        Assert.InRange(page, 1UL, 511UL);
        return (page * PageBytes) + 100;
    }
}
