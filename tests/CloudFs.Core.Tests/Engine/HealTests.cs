using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Layout;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;
using Xunit;

namespace CloudFs.Core.Tests.Engine;

/// <summary>A page that rotted is had from elsewhere, proved, given, and written again where it was.</summary>
public sealed class HealTests
{
    private const int PageBytes = 4096;
    private const ulong Offset = 1 << 20;

    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(0)]
    [InlineData(20 << 20)]
    public void A_read_gives_what_was_written_and_the_device_is_as_it_was(int more) => Run(async (host, disk, healer) =>
    {
        // In the open segment, and in one that is sealed.
        await FillAsync(disk, (int)Offset + (3 * PageBytes) + more);
        var at = Find(host, Page(Offset));
        var before = host.Device.Peek(Segment(at), DeviceGeometry.SegmentBytes);
        host.Device.FlipBit(at + 7, 3);
        host.Device.FlipBit(at + PageBytes + 9, 1);

        await ReadsAsync(disk, Offset, 3);

        Assert.Equal(before, host.Device.Peek(Segment(at), DeviceGeometry.SegmentBytes));
        Assert.Equal([(Offset, 3UL), (Offset + PageBytes, 3UL)], healer.Asked.Select(asked => (asked.Lba * 512, asked.Lsn)));
        Assert.Equal(2, healer.Healed);
        Assert.Single(host.Events, told => told.Code == "healed");
        Assert.DoesNotContain(host.Events, told => told.Code == "damaged-range");
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);

        await ReadsAsync(disk, Offset, 3);
        Assert.Equal(2, healer.Asked.Count);

        // It was flushed: the next boot finds it.
        await host.EndAsync(End.PowerCut, stopFirst: false);
        await host.OpenAsync();
        await ReadsAsync(host.Engine.FindDisk(disk.Id.ToString()), Offset, 3);
    });

    [Fact]
    public void What_can_not_be_had_answers_EIO_as_ever_and_is_healed_once_it_can() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        host.Device.FlipBit(Find(host, Page(Offset)) + 7, 3);
        healer.IsAway = true;

        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(Offset, new byte[PageBytes], None));
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        Assert.Single(host.Events, told => told.Code == "damaged-range");

        healer.IsAway = false;
        await ReadsAsync(disk, Offset, 1);
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
        Assert.Equal("ok", host.Engine.GetHealth().Status);
    });

    [Fact]
    public void Without_anybody_to_ask_it_is_EIO() => Run(async (host, disk, _) =>
    {
        await FillAsync(disk, 2 << 20);
        host.Device.FlipBit(Find(host, Page(Offset)) + 7, 3);
        host.Engine.Services.Healer = null;

        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(Offset, new byte[PageBytes], None));
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
    });

    [Theory]
    [InlineData(PageBytes)]
    [InlineData(512)]
    [InlineData(0)]
    public void Another_page_than_the_one_that_is_wanted_is_refused(int length) => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        var at = Find(host, Page(Offset));
        host.Device.FlipBit(at + 7, 3);
        var rotten = host.Device.Peek(at, PageBytes);
        healer.Instead = Page(77)[..length];

        Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(Offset, new byte[PageBytes], None));
        Assert.Equal(rotten, host.Device.Peek(at, PageBytes));
        Assert.Equal(0, healer.Healed);
    });

    [Fact]
    public void Where_the_medium_refuses_the_write_reads_go_on_and_the_damage_stays_noted() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        var at = Find(host, Page(Offset));
        host.Device.FlipBit(at + 7, 3);
        host.Device.RefusesWrite = (offset, length) => offset < at + PageBytes && at < offset + (ulong)length;

        await ReadsAsync(disk, Offset, 2);
        Assert.Equal((ulong)PageBytes, disk.GetStatus().DamagedBytes);
        var told = Assert.Single(host.Events, told => told.Code == "damaged-range");
        Assert.Contains("from another host", told.Message, StringComparison.Ordinal);
        Assert.Equal(ScrubVerdict.Readable, Assert.Single((await ScrubAsync(host)).Findings).Verdict);
        Assert.Equal(0, healer.Healed);

        // Nothing else is the worse for it.
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, Page(5), true, None));
        host.Device.RefusesWrite = null;
        await ReadsAsync(disk, Offset, 2);
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
        Assert.Equal(1, healer.Healed);
    });

    [Fact]
    public void A_page_that_was_overwritten_in_part_is_proved_whole() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(Offset + 1024, Page(9).AsMemory(0, 512), true, None));
        var at = Find(host, Page(Offset));
        host.Device.FlipBit(at + 7, 3);

        var expected = Page(Offset);
        Page(9).AsSpan(0, 512).CopyTo(expected.AsSpan(1024));
        var found = new byte[PageBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(Offset, found, None));
        Assert.Equal(expected, found);
        Assert.Equal(Page(Offset), host.Device.Peek(at, PageBytes));
        Assert.Equal(1, healer.Healed);
    });

    [Fact]
    public void What_was_overwritten_while_it_was_asked_for_is_not_noted() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        host.Device.FlipBit(Find(host, Page(Offset)) + 7, 3);
        healer.IsAway = true;
        healer.Meanwhile = async () => Assert.Equal(IoStatus.Ok, await disk.WriteAsync(Offset, Page(6), true, None));

        var found = new byte[PageBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(Offset, found, None));
        Assert.Equal(Page(6), found);
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
    });

    [Fact]
    public void A_segment_that_was_freed_while_it_was_asked_for_is_not_written_to() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 24 << 20);
        host.Device.FlipBit(Find(host, Page(Offset)) + 7, 3);
        healer.Meanwhile = async () =>
        {
            healer.Meanwhile = null;
            for (var round = 0; round < 12; round++)
            {
                await FillAsync(disk, 24 << 20, mark: 1000 + round);
                await host.Engine.CheckpointAsync();
                await host.Engine.CompactAsync();
            }
        };

        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(Offset, new byte[PageBytes], None));
        Assert.True(host.Engine.GetCounters().SegmentsReclaimed > 2);
        Assert.Equal(0, healer.Healed);
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
        Assert.Empty((await ScrubAsync(host)).Findings);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Compaction_gives_up_no_page_that_another_host_has(bool isAway) => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 40 << 20);
        var at = Find(host, Page(Offset));
        host.Device.FlipBit(at + 7, 3);
        host.Device.FlipBit(at + PageBytes + 7, 3);
        healer.IsAway = isAway;
        await host.Engine.CheckpointAsync();
        await host.Engine.CompactAsync();

        Assert.Equal(isAway ? 1 : 2, healer.Asked.Count);
        healer.IsAway = true;
        if (isAway)
        {
            Assert.Equal(IoStatus.Damaged, await disk.ReadAsync(Offset, new byte[2 * PageBytes], None));
        }
        else
        {
            await ReadsAsync(disk, Offset, 2);
            Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
        }
    });

    [Fact]
    public void A_scrub_heals_what_a_disk_reads_and_asks_for_nothing_else() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 20 << 20);
        var at = Find(host, Page(Offset));
        var before = host.Device.Peek(Segment(at), DeviceGeometry.SegmentBytes);
        host.Device.FlipBit(at + 7, 3);

        var finding = Assert.Single((await ScrubAsync(host)).Findings);
        Assert.Equal(ScrubVerdict.Healed, finding.Verdict);
        Assert.Contains("another host", finding.Message, StringComparison.Ordinal);
        Assert.Equal(before, host.Device.Peek(Segment(at), DeviceGeometry.SegmentBytes));
        Assert.Equal(0UL, disk.GetStatus().DamagedBytes);
        Assert.Equal("ok", host.Engine.GetHealth().Status);

        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(Offset, Page(5), true, None));
        host.Device.FlipBit(at + 7, 3);
        Assert.Equal(ScrubVerdict.History, Assert.Single((await ScrubAsync(host)).Findings).Verdict);
        Assert.Single(healer.Asked);
    });

    [Fact]
    public void A_scrub_asks_for_no_more_where_nobody_has_anything() => Run(async (host, disk, healer) =>
    {
        await FillAsync(disk, 2 << 20);
        for (ulong page = 0; page < 20; page++)
        {
            host.Device.FlipBit(Find(host, Page(page * PageBytes)), 0);
        }

        healer.IsAway = true;
        var status = await ScrubAsync(host);
        Assert.Equal(20, status.Findings.Count(finding => finding.Verdict == ScrubVerdict.Lost));
        Assert.Equal(4, healer.Asked.Count);
    });

    private static void Run(Func<SimulatedHost, Disk, FakeHealer, Task> body) => Simulation.Run(1, async simulation =>
    {
        using var host = new SimulatedHost(simulation, new Random(1), new MemoryDevice(EngineHarness.DeviceBytes));
        await host.OpenAsync();
        var healer = new FakeHealer();
        host.Engine.Services.Healer = healer;
        var disk = await host.Engine.CreateDiskAsync(new DiskSpec(64 << 20), None);
        await body(host, disk, healer);
    });

    private static async Task<ScrubStatus> ScrubAsync(SimulatedHost host)
    {
        host.Engine.Scrub.Begin();
        while (host.Engine.Scrub.GetStatus() is { Running: true })
        {
            await Task.Delay(TimeSpan.FromMilliseconds(50), host.Engine.Services.Runtime.Time);
        }

        return host.Engine.Scrub.GetStatus();
    }

    private static async Task ReadsAsync(Disk disk, ulong offset, int pages)
    {
        var found = new byte[pages * PageBytes];
        Assert.Equal(IoStatus.Ok, await disk.ReadAsync(offset, found, None));
        for (var page = 0; page < pages; page++)
        {
            Assert.Equal(Page(offset + ((ulong)page * PageBytes)), found[(page * PageBytes)..((page + 1) * PageBytes)]);
        }
    }

    /// <summary>Fills a disk, in writes of up to 1 MiB, with pages each of which is like no other.</summary>
    private static async Task FillAsync(Disk disk, int bytes, int mark = 0)
    {
        for (var offset = 0; offset < bytes; offset += 1 << 20)
        {
            var piece = new byte[Math.Min(1 << 20, bytes - offset)];
            for (var at = 0; at < piece.Length; at += PageBytes)
            {
                Page((ulong)(offset + at), mark).CopyTo(piece, at);
            }

            Assert.Equal(IoStatus.Ok, await disk.WriteAsync((ulong)offset, piece, false, None));
        }

        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
    }

    private static byte[] Page(ulong at, int mark = 0)
    {
        var page = new byte[PageBytes];
        new Random((int)at + mark).NextBytes(page);
        return page;
    }

    private static ulong Segment(ulong place) =>
        place - ((place - DeviceGeometry.SegmentsOffset) % DeviceGeometry.SegmentBytes);

    private static ulong Find(SimulatedHost host, byte[] page)
    {
        for (var segment = 0; segment < 6; segment++)
        {
            var start = DeviceGeometry.SegmentOffset(segment);
            var at = host.Device.Peek(start, DeviceGeometry.SegmentBytes).AsSpan().IndexOf(page.AsSpan(64, 64));
            if (at >= 64)
            {
                return start + (ulong)at - 64;
            }
        }

        throw new InvalidOperationException("the page is nowhere");
    }

    /// <summary>Another host that has every page of <see cref="FillAsync"/>.</summary>
    private sealed class FakeHealer : IPageHealer
    {
        public List<(ulong Lsn, ulong Lba)> Asked { get; } = [];

        public int Healed { get; private set; }

        public bool IsAway { get; set; }

        public byte[]? Instead { get; set; }

        public Func<Task>? Meanwhile { get; set; }

        public async ValueTask<byte[]?> FetchAsync(
            Id160 disk, ulong lsn, ulong lba, PageRecord wanted, CancellationToken cancellation)
        {
            Asked.Add((lsn, lba));
            if (Meanwhile is { } meanwhile)
            {
                await meanwhile();
            }

            return IsAway ? null : Instead ?? Page(lba * EntryLayout.SectorSize);
        }

        public void NoteHealed(int pages) => Healed += pages;
    }
}
