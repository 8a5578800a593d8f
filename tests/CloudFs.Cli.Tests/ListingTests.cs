using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>Listings as golden text: what an operator sees, and what a script parses.</summary>
public sealed class ListingTests
{
    private const string Id = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    private const string Head = "8843d7f92416211de9ebb963ff4ce28125932878";

    [Fact]
    public void Disks_line_up()
    {
        using var output = new StringWriter { NewLine = "\n" };
        var mirror = Disk(null, Head) with { Writable = false, Role = "mirror", Size = 512 };
        Listing.Disks(output, [Disk("demo", Id), mirror]);
        Golden.Check("cli/disks.txt", output.ToString());
    }

    [Fact]
    public void No_disks_leave_the_head_alone()
    {
        using var output = new StringWriter { NewLine = "\n" };
        Listing.Disks(output, []);
        Golden.Check("cli/disks-none.txt", output.ToString());
    }

    [Fact]
    public void A_disk_is_told_in_full()
    {
        using var output = new StringWriter { NewLine = "\n" };
        Listing.Disk(output, Disk("demo", Head));
        Listing.Disk(output, Disk(null, Id) with
        {
            Health = new DiskHealthJson(
                "degraded", "512 bytes are damaged; overwrite or trim them", 512,
                [new DamageJson(4096, 512, "page check")]),
        });
        Golden.Check("cli/info.txt", output.ToString());
    }

    [Fact]
    public void Json_is_the_daemons_own()
    {
        using var output = new StringWriter { NewLine = "\n" };
        Listing.Json(output, [Disk("demo", Head)], HttpContractsJson.Default.IReadOnlyListDiskJson);
        Golden.Check("cli/disks.json", output.ToString());
    }

    [Fact]
    public void A_host_is_told_with_its_health()
    {
        using var output = new StringWriter { NewLine = "\n" };
        var host = new HostJson
        {
            Host = Id,
            Device = Head,
            DevicePath = "/data/device.img",
            Version = "0.1.0",
            Pid = 4711,
            UptimeSeconds = 12,
            Nbd = ["127.0.0.1:10809", "unix:/run/cloudfs.sock"],
            Http = "127.0.0.1:8090",
            Space = new SpaceJson(64UL << 30, 60UL << 30, 1UL << 30, 1UL << 28, 3UL << 30)
            {
                Headers = 40 << 20,
                History = 700 << 20,
                Dead = 250 << 20,
                Index = 32 << 20,
                Open = 12 << 20,
            },
            Compaction = new CompactionJson
            {
                Running = true,
                Pressure = "compacting",
                DebtBytes = 3UL << 30,
                EstimatedSeconds = 125,
                WriteAmplification = 1.875,
                RelocatedBytes = 7UL << 30,
                SegmentsFreed = 512,
            },
        };
        var issue = new HealthIssueJson("damaged-range", "disk demo: bytes 0-511");
        Listing.Host(output, host, new HealthJson("degraded", [issue]));
        var idle = host.Compaction with { Running = false, Pressure = "none", DebtBytes = 0, EstimatedSeconds = 0 };
        var full = host.Compaction with { Pressure = "full", EstimatedSeconds = null };
        Listing.Host(output, host with { Compaction = idle }, new HealthJson("ok", []));
        Listing.Host(output, host with { Compaction = full }, new HealthJson("ok", []));
        Listing.Host(output, host with { Compaction = null }, new HealthJson("ok", []));
        Golden.Check("cli/status.txt", output.ToString());
    }

    [Theory]
    [InlineData("0 512 data", true)]
    [InlineData("18446744073709551615 1 hole", true)]
    [InlineData("0 512 damaged", true)]
    [InlineData("0 512 rust", false)]
    [InlineData("0 512", false)]
    [InlineData("-1 512 data", false)]
    [InlineData("0 512 data x", false)]
    [InlineData("", false)]
    public void Extents_are_read_or_refused(string line, bool good) =>
        Assert.Equal(good, DiskExtent.TryParse(line, out _));

    private static DiskJson Disk(string? name, string head) => new()
    {
        Id = Id,
        Name = name,
        Size = 8UL << 30,
        Durability = "flush",
        Role = "primary",
        Writable = true,
        Lsn = 41,
        Head = head,
        NewestLsn = 42,
        Newest = Id,
        OldestLsn = 1,
        LiveBytes = 1234567,
        HistoryBytes = 7654321,
        Time = "2026-11-20T12:00:00.000001Z",
        View = new ViewJson(Head, 1, Id),
        Replicas = [new ReplicaJson(Id, Head, false)],
        Health = new DiskHealthJson("ok", "", 0, []),
    };
}
