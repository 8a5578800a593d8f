using System.Text.Json;
using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>The commands of a cluster, against a daemon and a replicator that give prepared answers.</summary>
public sealed class ClusterTests : IDisposable
{
    private const string A = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    private const string B = "8843d7f92416211de9ebb963ff4ce28125932878";

    private const string C = "88ea39439e74fa27c09a4fc0bc8ebe6d00978392";

    private readonly FakeHost _daemon = new();
    private readonly FakeHost _replicator = new();
    private readonly FakeHost _primary = new();

    public ClusterTests()
    {
        _daemon.Answers["GET /host"] = (200, Host(_replicator.Url));
        _replicator.Answers["GET /hosts"] = (200, JsonSerializer.Serialize(Cluster("up"), ReplicatorContractsJson.Default.HostsJson));
        _replicator.Answers["GET /disks/demo"] = (200, Place(_primary.Address));
        _replicator.Answers["GET /disks/" + A] = (200, Place(_primary.Address));
        _primary.Answers["GET /disks/demo"] = (200, Disk());
        _primary.Answers["GET /disks/" + A] = (200, Disk());
        _primary.Answers["PATCH /disks/" + A] = (200, Disk());
    }

    public void Dispose()
    {
        _daemon.Dispose();
        _replicator.Dispose();
        _primary.Dispose();
    }

    [Fact]
    public async Task Hosts_line_up()
    {
        var io = await RunAsync(0, "hosts");
        Golden.Check("cli/hosts.txt", io.Out.Replace(_replicator.Address, "127.0.0.1:8091", StringComparison.Ordinal));
        io = await RunAsync(0, "hosts", "--json");
        Assert.Equal(2, JsonSerializer.Deserialize(io.Out, ReplicatorContractsJson.Default.HostsJson)!.Hosts.Count);
    }

    [Fact]
    public async Task A_new_disk_has_three_replicas_in_a_cluster()
    {
        _replicator.Answers["POST /disks"] = (201, $$"""{"id":"{{A}}","hosts":["{{A}}","{{B}}","{{C}}"]}""");
        var io = await RunAsync(0, "newdisk");
        Assert.Equal(A + "\n", io.Out);
        Assert.Equal($"on hosts {A[..12]}, {B[..12]}, {C[..12]} (primary {B[..12]})\n", io.Error);
        Assert.Contains("""POST /disks {"replicas":3}""", _replicator.Asked);

        _replicator.Answers.TryRemove("GET /disks/" + A, out _);
        io = await RunAsync(0, "newdisk");
        Assert.Equal(A + "\n", io.Out);
        Assert.EndsWith("(primary not known yet: no such disk)\n", io.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Too_few_hosts_are_told_in_the_replicators_own_line()
    {
        _replicator.Answers["POST /disks"] = (409, """{"error":"3 replicas need 3 hosts, and 2 are up: start another"}""");
        var io = await RunAsync(1, "newdisk", "3");
        Assert.Empty(io.Out);
        Assert.Equal("cloudfs: 3 replicas need 3 hosts, and 2 are up: start another\n", io.Error);
    }

    [Fact]
    public async Task Without_a_replicator_a_new_disk_is_the_daemons_and_the_cluster_is_refused()
    {
        _daemon.Answers["GET /host"] = (200, Host(null));
        _daemon.Answers["POST /disks"] = (201, $$"""{"id":"{{A}}","hosts":["{{B}}"]}""");
        var io = await RunAsync(0, "newdisk");
        Assert.Equal($"on host {B}\n", io.Error);
        io = await RunAsync(1, "hosts");
        Assert.Matches("^cloudfs: the daemon at .* belongs to no cluster: .*\n$", io.Error);
        io = await RunAsync(1, "info", "demo");
        Assert.Equal("cloudfs: no such disk\n", io.Error);
    }

    [Fact]
    public async Task A_disk_that_is_elsewhere_is_asked_for_at_its_primary()
    {
        var io = await RunAsync(0, "info", "demo");
        Golden.Check("cli/info-replicas.txt", io.Out);
        await RunAsync(0, "set", "demo", "--durability", "write", "--patience", "30s");
        Assert.Contains($$"""PATCH /disks/{{A}} {"durability":"write","patience":30}""", _primary.Asked);
    }

    [Fact]
    public async Task A_primary_without_an_address_is_named()
    {
        _replicator.Answers["GET /disks/demo"] = (200, Place(""));
        var io = await RunAsync(1, "info", "demo");
        Assert.Contains($"its primary on host {B}, whose address is not known", io.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Requests_name_hosts_and_disks_in_full()
    {
        foreach (var path in new[] { "move", "replicas", "drain", "forget" })
        {
            _replicator.Answers["POST /" + path] = (204, "");
        }

        await RunAsync(0, "move", "demo", "884");
        await RunAsync(0, "replicas", "demo", "2");
        await RunAsync(0, "drain", "da", "--undo");
        await RunAsync(0, "forget", "da", "--yes");
        Assert.Equal(
            [
                $$"""POST /move {"disk":"{{A}}","to":"{{B}}"}""", $$"""POST /replicas {"disk":"{{A}}","replicas":2}""",
                $$"""POST /drain {"host":"{{A}}","undo":true}""", $$"""POST /forget {"host":"{{A}}","undo":false}""",
            ],
            _replicator.Asked.Where(line => line.StartsWith("POST", StringComparison.Ordinal)));
        Assert.Contains("no host 'ff'", (await RunAsync(1, "drain", "ff")).Error, StringComparison.Ordinal);
        Assert.Contains("add --yes", (await RunAsync(1, "forget", "da")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_drain_is_waited_for()
    {
        _replicator.Answers["POST /drain"] = (202, "");
        _replicator.Answers["GET /hosts"] = (200, JsonSerializer.Serialize(Cluster("draining"), ReplicatorContractsJson.Default.HostsJson));
        var drain = RunAsync(0, "drain", "da", "--wait");
        await Task.Delay(300);
        Assert.False(drain.IsCompleted);
        _replicator.Answers["GET /hosts"] = (200, JsonSerializer.Serialize(Cluster("drained"), ReplicatorContractsJson.Default.HostsJson));
        await drain;
    }

    private async Task<TestIo> RunAsync(int status, params string[] arguments)
    {
        var io = TestIo.Create();
        var ended = await io.RunAsync([.. arguments, "--daemon", _daemon.Url]);
        Assert.True(status == ended, $"expected {status}, not {ended}: {io.Error}");
        return io;
    }

    private HostsJson Cluster(string state) => new()
    {
        Host = A,
        Hosts = [HostOf(A, state, null), HostOf(B, "down", "silent for 40 s; its replicas are replaced in 9 min")],
        Disks = 5,
        Degraded = 2,
        Evenness = 1.04,
    };

    private ClusterHostJson HostOf(string id, string state, string? reason) => new()
    {
        Host = id,
        Address = _replicator.Address,
        Daemon = _daemon.Address,
        State = state,
        Reason = reason,
        Zone = "default",
        Weight = 1,
        Witness = false,
        CapacityBytes = 64UL << 30,
        FreeBytes = 60UL << 30,
        Disks = 5,
        Primaries = 2,
        SilentSeconds = 0,
    };

    private static string Host(string? replicator) => JsonSerializer.Serialize(
        new HostJson
        {
            Host = A,
            Device = B,
            DevicePath = "/d",
            Version = "0.1.0",
            Pid = 1,
            UptimeSeconds = 1,
            Nbd = [],
            Http = "127.0.0.1:8090",
            Space = new SpaceJson(1, 1, 0, 0, 0),
            Replicator = replicator,
        },
        HttpContractsJson.Default.HostJson);

    private static string Place(string address) => JsonSerializer.Serialize(
        new DiskPlaceJson
        {
            Id = A,
            Name = "demo",
            Size = 8UL << 30,
            Primary = B,
            PrimaryAddress = address,
            Epoch = 1,
            Hosts = [A, B, C],
        },
        ReplicatorContractsJson.Default.DiskPlaceJson);

    private static string Disk() => JsonSerializer.Serialize(
        new DiskJson
        {
            Id = A,
            Name = "demo",
            Size = 8UL << 30,
            Durability = "flush",
            Role = "primary",
            Writable = true,
            State = "serving",
            Lsn = 42,
            Head = B,
            NewestLsn = 42,
            Newest = B,
            OldestLsn = 1,
            LiveBytes = 1234567,
            HistoryBytes = 7654321,
            Time = "2026-11-20T12:00:00.000001Z",
            View = new ViewJson(B, 1, B),
            Replicas =
            [
                new ReplicaJson(B, A, false)
                {
                    Status = new ClusterReplicaJson { Host = B, Device = A, State = "primary", Lsn = 42 },
                },
                new ReplicaJson(C, A, false)
                {
                    Status = new ClusterReplicaJson
                    {
                        Host = C,
                        Device = A,
                        State = "catching-up",
                        Lsn = 30,
                        LagEntries = 12,
                        LagBytes = 3 << 20,
                        LagSeconds = 1.5,
                        Progress = 71.4,
                        SecondsLeft = 4,
                        SentBytes = 8 << 20,
                    },
                },
            ],
            Health = new DiskHealthJson("ok", "", 0, []),
        },
        HttpContractsJson.Default.DiskJson);
}
