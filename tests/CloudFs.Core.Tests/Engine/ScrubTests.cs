using CloudFs.Core.Disks;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A scrub finds what rots while the engine runs, says what it costs, and heals what it can.</summary>
public sealed class ScrubTests
{
    private const int PageBytes = 4096;

    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public void A_device_in_order_has_no_findings_and_is_read_at_the_rate_that_was_asked() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 40 << 20);
        var before = simulation.Time.GetUtcNow();
        var status = await ScrubAsync(host, simulation);

        Assert.Equal(0UL, status.FindingCount);
        Assert.Equal(status.BytesTotal, status.BytesDone);
        Assert.True(status.BytesReadInAll > 40 << 20);
        var seconds = (simulation.Time.GetUtcNow() - before).TotalSeconds;
        Assert.InRange(status.BytesReadInAll / seconds, 1, Scrubber.DefaultRate * 1.05);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
        Assert.True(status.LastCompletedMicros >= status.StartedMicros);
    });

    [Fact]
    public void A_page_that_a_disk_reads_is_told_before_a_client_reads_it_until_it_is_overwritten() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 20 << 20);
        host.Device.FlipBit(Find(host, Page(1 << 20)) + 7, 3);

        var status = await ScrubAsync(host, simulation);

        var finding = Assert.Single(status.Findings);
        Assert.Equal(ScrubVerdict.Lost, finding.Verdict);
        Assert.Equal(disk.Id, finding.Disk);
        Assert.Equal(new ScrubRange(1 << 20, PageBytes), Assert.Single(finding.Ranges));
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        Assert.Contains(host.Engine.GetHealth().Issues, issue => issue.Code == "damaged-range");

        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(1 << 20, Page(5), true, None));
        Assert.Equal("ok", host.Engine.GetHealth().Status);
        var again = Assert.Single((await ScrubAsync(host, simulation)).Findings);
        Assert.Equal(ScrubVerdict.History, again.Verdict);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    [Fact]
    public void A_page_below_what_is_durable_in_the_open_segment_is_looked_at_and_one_that_is_dead_is_only_counted() =>
        Run(async (host, disk, simulation) =>
        {
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Page(1), true, None));
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(PageBytes, Page(2), true, None));
            Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Page(3), true, None));
            host.Device.FlipBit(Find(host, Page(1)), 0);
            host.Device.FlipBit(Find(host, Page(2)), 0);

            var status = await ScrubAsync(host, simulation);

            Assert.Equal([ScrubVerdict.History, ScrubVerdict.Lost], status.Findings.Select(finding => finding.Verdict));
            Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_footer_is_written_again_from_the_originals(bool isRecord) => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 40 << 20);
        var segment = DeviceGeometry.SegmentOffset(0);
        var before = host.Device.Peek(segment, DeviceGeometry.SegmentBytes);
        SegmentFooter.TryRead(before.AsSpan(SegmentFooter.RecordOffset), host.Engine.DeviceId, out var footer);
        host.Device.FlipBit(segment + (ulong)(isRecord ? SegmentFooter.RecordOffset + 20 : footer.PlacesStart + 9), 2);

        var status = await ScrubAsync(host, simulation);

        Assert.All(status.Findings, finding => Assert.Equal(ScrubVerdict.Healed, finding.Verdict));
        Assert.NotEmpty(status.Findings);
        Assert.Equal(before, host.Device.Peek(segment, DeviceGeometry.SegmentBytes));
        Assert.Equal(0UL, (await ScrubAsync(host, simulation)).FindingCount);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    [Fact]
    public void A_damaged_second_copy_is_written_again_and_a_damaged_header_is_told_and_readable() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 40 << 20);
        var segment = DeviceGeometry.SegmentOffset(0);
        var bytes = host.Device.Peek(segment, DeviceGeometry.SegmentBytes);
        Assert.Equal(
            LayoutFault.None, SegmentFooter.TryRead(bytes.AsSpan(SegmentFooter.RecordOffset), host.Engine.DeviceId, out var footer));
        host.Device.FlipBit(segment + (ulong)footer.CopiesStart + 300, 1);
        var header = footer.CommitsEnd - 512;
        while (!bytes.AsSpan(header).StartsWith("CFSE"u8))
        {
            header -= 512;
        }

        host.Device.FlipBit(segment + (ulong)header + 60, 1);

        var status = await ScrubAsync(host, simulation);

        Assert.Contains(status.Findings, finding => finding.Verdict == ScrubVerdict.Healed);
        Assert.Contains(status.Findings, finding => finding.Verdict == ScrubVerdict.Readable);
        Assert.DoesNotContain(status.Findings, finding => finding.Verdict is not (ScrubVerdict.Healed or ScrubVerdict.Readable));
        Assert.Equal(
            bytes.AsSpan(footer.CopiesStart), host.Device.Peek(segment, DeviceGeometry.SegmentBytes).AsSpan(footer.CopiesStart));
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(0, new byte[40 << 20], None));
    });

    [Fact]
    public void An_entry_of_which_no_header_is_left_counts_as_lost() => Run(async (host, disk, simulation) =>
    {
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Page(1), false, None));
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(PageBytes, Page(2), true, None));
        var header = (int)(Find(host, Page(2)) - 512);
        host.Device.Erase((ulong)header, 512 + PageBytes);

        var status = await ScrubAsync(host, simulation);

        Assert.Contains(status.Findings, finding => finding is { Verdict: ScrubVerdict.Lost, Ranges: [{ Offset: PageBytes }] });
    });

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_label_and_a_checkpoint_are_written_again(int copy) => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 1 << 20);
        Assert.True(await host.Engine.CheckpointAsync());
        Assert.True(await host.Engine.CheckpointAsync());
        host.Device.FlipBit(DeviceGeometry.LabelOffset(copy) + 30, 4);
        host.Device.FlipBit(DeviceGeometry.CheckpointSlotOffset(copy) + 4096 + 9, 4);

        var status = await ScrubAsync(host, simulation);

        Assert.Equal(["checkpoint", "label"], status.Findings.Select(finding => finding.Place).Distinct().Order());
        Assert.All(status.Findings, finding => Assert.Equal(ScrubVerdict.Healed, finding.Verdict));
        Assert.Equal(0UL, (await ScrubAsync(host, simulation)).FindingCount);
        await host.EndAsync(End.Kill, stopFirst: false);
        await host.OpenAsync();
        Assert.DoesNotContain(host.Engine.Recovery.Decisions, decision => decision.IsDamage);
    });

    [Fact]
    public void A_label_of_which_no_copy_is_left_is_written_again_from_memory() => Run(async (host, disk, simulation) =>
    {
        host.Device.Erase(0, DeviceGeometry.LabelBytes);
        host.Device.Erase(DeviceGeometry.LabelCopyOffset, DeviceGeometry.LabelBytes);

        Assert.All((await ScrubAsync(host, simulation)).Findings, finding => Assert.Equal(ScrubVerdict.Healed, finding.Verdict));

        await host.EndAsync(End.Kill, stopFirst: true);
        await host.OpenAsync();
        Assert.True(host.Engine.TryGetDisk(disk.Id.ToString(), out _));
    });

    [Fact]
    public void What_can_not_be_read_is_told_and_comes_back() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 20 << 20);
        host.Device.FailReads = true;
        var status = await ScrubAsync(host, simulation);
        Assert.NotEqual(0UL, status.FindingCount);
        Assert.Equal("degraded", host.Engine.GetHealth().Status);
        host.Device.FailReads = false;

        Assert.Equal(0UL, (await ScrubAsync(host, simulation)).FindingCount);
        Assert.Null(host.Engine.Scrub.Concern());
    });

    [Fact]
    public void While_segments_are_reclaimed_and_used_again_nothing_is_found_that_is_not_there() => Seeds.Run(0, 1, 1, seed =>
        Run(
            async (host, disk, simulation) =>
            {
                host.Engine.Scrub.Begin();
                for (var round = 0; round < 16; round++)
                {
                    await FillAsync(disk, 16 << 20);
                    if (!host.Engine.Scrub.GetStatus().Running)
                    {
                        host.Engine.Scrub.Begin();
                    }
                }

                var status = await FinishAsync(host, simulation);
                Assert.True(host.Engine.GetCounters().SegmentsReclaimed > 5);
                Assert.True(status.Pass > 1);
                Assert.Empty(status.Findings);
                Assert.DoesNotContain(host.Events, told => told.Code == "scrub-finding");
            },
            seed, 136 << 20, rate: 1UL << 40));

    [Fact]
    public void One_pass_at_a_time_and_it_ends_with_the_engine() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 20 << 20);
        host.Engine.Scrub.Begin();
        Assert.Equal(Refusal.Conflict, Assert.Throws<RefusalException>(host.Engine.Scrub.Begin).Reason);
        Assert.True(host.Engine.Scrub.GetStatus().Running);
        await host.Engine.DisposeAsync();

        var status = host.Engine.Scrub.GetStatus();
        Assert.False(status.Running);
        Assert.Equal(0UL, status.LastCompletedMicros);
        Assert.Equal(Refusal.Unavailable, Assert.Throws<RefusalException>(host.Engine.Scrub.Begin).Reason);
    });

    [Fact]
    public void A_pass_begins_each_interval() => Run(
        async (host, disk, simulation) =>
        {
            for (ulong pass = 1; pass <= 3; pass++)
            {
                await WaitAsync(simulation, TimeSpan.FromDays(7));
                await WaitAsync(simulation, TimeSpan.FromMinutes(5));
                Assert.Equal(pass, host.Engine.Scrub.GetStatus().Pass);
                Assert.False(host.Engine.Scrub.GetStatus().Running);
            }

            await host.Engine.DisposeAsync();
        },
        interval: TimeSpan.FromDays(7));

    [Fact]
    public void With_a_rate_of_0_it_is_off() => Run(
        async (host, disk, simulation) =>
        {
            await WaitAsync(simulation, TimeSpan.FromDays(30));
            Assert.Equal(Refusal.Conflict, Assert.Throws<RefusalException>(host.Engine.Scrub.Begin).Reason);
            Assert.Equal(0UL, host.Engine.Scrub.GetStatus().Pass);
        },
        rate: 0, interval: TimeSpan.FromDays(1));

    [Fact]
    public void More_findings_than_are_listed_are_counted() => Run(async (host, disk, simulation) =>
    {
        await FillAsync(disk, 8 << 20);
        for (var offset = 0; offset < 8 << 20; offset += 1 << 20)
        {
            // A write of 1 MiB is one entry, whose pages lie together.
            var first = Find(host, Page(offset));
            for (var at = 0; at < 1 << 20; at += PageBytes)
            {
                host.Device.FlipBit(first + (ulong)at, 0);
            }
        }

        var status = await ScrubAsync(host, simulation);

        Assert.Equal(2048UL, status.FindingCount);
        Assert.Equal(1000, status.Findings.Count);
        Assert.True(host.Events.Count(told => told.Code == "scrub-finding") <= 20);
    });

    private static void Run(
        Func<SimulatedHost, Disk, Simulation, Task> body, int seed = 1, ulong bytes = EngineHarness.DeviceBytes,
        ulong rate = Scrubber.DefaultRate, TimeSpan interval = default) => Simulation.Run(seed, async simulation =>
        {
            using var host = new SimulatedHost(simulation, new Random(seed), new MemoryDevice(bytes))
            {
                ScrubRate = rate,
                ScrubInterval = interval,
            };
            await host.OpenAsync();
            var disk = await host.Engine.CreateDiskAsync(new DiskSpec(64 << 20), None);
            await body(host, disk, simulation);
        });

    private static async Task<ScrubStatus> ScrubAsync(SimulatedHost host, Simulation simulation)
    {
        host.Engine.Scrub.Begin();
        return await FinishAsync(host, simulation);
    }

    private static async Task<ScrubStatus> FinishAsync(SimulatedHost host, Simulation simulation)
    {
        while (host.Engine.Scrub.GetStatus() is { Running: true })
        {
            await WaitAsync(simulation, TimeSpan.FromMilliseconds(50));
        }

        return host.Engine.Scrub.GetStatus();
    }

    private static Task WaitAsync(Simulation simulation, TimeSpan time) => Task.Delay(time, simulation.Time);

    /// <summary>Fills a disk with pages each of which is like no other.</summary>
    private static async Task FillAsync(Disk disk, int bytes)
    {
        var piece = new byte[1 << 20];
        for (var offset = 0; offset < bytes; offset += piece.Length)
        {
            for (var at = 0; at < piece.Length; at += PageBytes)
            {
                Page(offset + at).CopyTo(piece, at);
            }

            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, piece, false, None));
        }

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
    }

    private static byte[] Page(int mark)
    {
        var page = new byte[PageBytes];
        new Random(mark).NextBytes(page);
        return page;
    }

    private static ulong Find(SimulatedHost host, byte[] page)
    {
        for (var segment = 0; segment < 6; segment++)
        {
            var start = DeviceGeometry.SegmentOffset(segment);
            var at = host.Device.Peek(start, DeviceGeometry.SegmentBytes).AsSpan().IndexOf(page.AsSpan(0, 64));
            if (at >= 0)
            {
                return start + (ulong)at;
            }
        }

        throw new InvalidOperationException("the page is nowhere");
    }
}
