using System.Net;
using System.Text;
using CloudFs.Core.Contracts;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Tests.Fakes;
using Xunit;

namespace CloudFs.Replicator.Tests.Cluster;

/// <summary>Several replicators over HTTP, each with a daemon of its own.</summary>
public sealed class ClusterTests : IAsyncLifetime
{
    private readonly FakeWorld _world = new();
    private readonly List<TestHost> _hosts = [];

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (var host in _hosts)
        {
            await host.DisposeAsync();
        }
    }

    private async Task<TestHost> AddAsync(string name, string? id = null, bool witness = false)
    {
        string[] seeds = _hosts.Count == 0 ? [] : [_hosts[0].Address];
        var host = new TestHost(_world, name, id) { Witness = witness };
        _hosts.Add(host);
        return await host.StartAsync(seeds);
    }

    private async Task ThreeAsync(int count = 3)
    {
        for (var i = 0; i < count; i++)
        {
            await AddAsync($"h{i}");
        }

        await AllKnowAsync(count);
    }

    private Task AllKnowAsync(int count) => TestHost.UntilAsync(async () =>
    {
        foreach (var host in _hosts.Where(host => host.Replicator is not null))
        {
            if ((await host.GetHostsAsync()).Hosts.Count(other => other.State == "up" && other.Device is not null) != count)
            {
                return false;
            }
        }

        return true;
    });

    private Task UntilMembersAsync(string disk, params string[] hosts) => TestHost.UntilAsync(
        () => Task.FromResult(_world.Members(disk).Order().SequenceEqual(hosts.Order())));

    [Fact]
    public async Task From_one_seed_all_know_all_and_daemons_are_told_and_told_again_after_a_restart()
    {
        await ThreeAsync();
        await TestHost.UntilAsync(() => Task.FromResult(_hosts.TrueForAll(host => host.Daemon.Peers?.Peers.Count == 2)));
        var put = _hosts[1].Daemon.PeersPut;
        await _hosts[1].Daemon.StopAsync();
        await TestHost.UntilAsync(async () => (await _hosts[1].GetAsync("/healthz")).Contains("degraded", StringComparison.Ordinal));
        await _hosts[1].Daemon.StartAsync();
        await TestHost.UntilAsync(() => Task.FromResult(_hosts[1].Daemon.PeersPut > put));
        Assert.Single(_hosts[1].Log.Split('\n'), line => line.Contains("can't be reached", StringComparison.Ordinal));
        Assert.Contains($"{_hosts[0].Id} @ {_hosts[0].Address}", await _hosts[1].GetAsync($"/peers?{_hosts[0].Id}"), StringComparison.Ordinal);
        Assert.Equal(_hosts[2].Id + "\n", await _hosts[2].GetAsync("/id"));
        Assert.Contains("cloudfs_replicator_hosts{state=\"up\"} 3", await _hosts[2].GetAsync("/metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_is_made_on_three_found_from_anywhere_and_its_blocks_are_where_the_primary_is()
    {
        await ThreeAsync();
        var made = await _hosts[1].MakeDiskAsync(3, "mail");
        Assert.Equal(_hosts[1].Id, made.Hosts[0]);
        Assert.All(_hosts, host => Assert.True(_world.Holds(host.Id, made.Id)));
        await AddAsync("h3");
        await AllKnowAsync(4);
        Assert.Contains(made.Id, await _hosts[3].GetAsync($"/disks/{made.Id}"), StringComparison.Ordinal);
        Assert.Contains(made.Id, await _hosts[3].GetAsync($"/disks/{made.Id[..8]}"), StringComparison.Ordinal);
        using var redirect = await _hosts[3].SendAsync(HttpMethod.Get, $"/blocks?{made.Id}");
        Assert.Equal(HttpStatusCode.TemporaryRedirect, redirect.StatusCode);
        Assert.Equal($"http://127.0.0.1:{_hosts[1].Daemon.Port}/blocks?{made.Id}", redirect.Headers.Location!.ToString());
        using var none = await _hosts[3].SendAsync(HttpMethod.Get, $"/blocks?{Make.Id("none")}");
        Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
    }

    [Fact]
    public async Task Too_few_hosts_two_with_a_witness_one_alone()
    {
        await ThreeAsync(2);
        var (status, line) = await _hosts[0].PostAsync("/disks", new NewDiskRequest { Replicas = 3 });
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains("3 replicas were asked for, but there are 2 hosts", line, StringComparison.Ordinal);
        Assert.Single((await _hosts[0].MakeDiskAsync(1)).Hosts);
        Assert.Equal(2, (await _hosts[0].MakeDiskAsync(2)).Hosts.Count);
        await AddAsync("w", witness: true);
        await AllKnowAsync(3);
        var made = await _hosts[0].MakeDiskAsync(2);
        Assert.Equal(_hosts[2].Id, made.Hosts[2]);
    }

    [Fact]
    public async Task A_minority_that_refuses_does_not_matter_a_majority_leaves_nothing_behind()
    {
        await ThreeAsync();
        _hosts[2].Daemon.RefuseDisks = 507;
        var made = await _hosts[0].MakeDiskAsync(3);
        Assert.False(_world.Holds(_hosts[2].Id, made.Id));
        _hosts[1].Daemon.RefuseDisks = 507;
        var (status, _) = await _hosts[0].PostAsync("/disks", new NewDiskRequest { Replicas = 3 });
        Assert.Equal((HttpStatusCode)507, status);
        Assert.Single(_world.DisksOf(_hosts[0].Id));
        // What was missed is caught up once the host takes disks again: the primary's replicator tells it to.
        await TestHost.UntilAsync(() => Task.FromResult(_world.Holds(_hosts[2].Id, made.Id)));
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public async Task What_a_coordinator_that_died_left_behind_is_completed_or_goes_away(int reached, bool exists)
    {
        await ThreeAsync();
        var replicas = _hosts.ConvertAll(host => new Replica(Id160.Parse(host.Id), Id160.Parse(host.Daemon.Device)));
        var entry = FirstEntry.Seal(Id160.Parse(Make.Id("s")), replicas[0].Host, replicas, AttributesBody.Empty.WithSize(512), 1);
        var id = entry.Id.ToString();
        for (var i = 0; i < reached; i++)
        {
            _world.PutDisk(_hosts[i].Id, id, entry.Bytes, i == 0 ? entry.Secret.ToString() : null);
        }

        await TestHost.UntilAsync(() => Task.FromResult(_hosts.TrueForAll(host => _world.Holds(host.Id, id) == exists)));
    }

    [Fact]
    public async Task A_peer_that_never_answers_and_one_that_sends_half_a_request_hold_up_nobody()
    {
        await ThreeAsync(2);
        using var deaf = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        deaf.Start();
        await _hosts[0].GetAsync($"/peers?{Make.Id("deaf")}&{deaf.LocalEndpoint}");
        using var half = new System.Net.Sockets.TcpClient();
        await half.ConnectAsync(_hosts[0].Replicator!.EndPoint);
        await half.GetStream().WriteAsync("POST /gossip HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"u8.ToArray());
        var answer = new byte[100];
        var read = await half.GetStream().ReadAsync(answer).AsTask().WaitAsync(TimeSpan.FromSeconds(10));
        Assert.StartsWith("HTTP/1.1 408", Encoding.ASCII.GetString(answer, 0, read), StringComparison.Ordinal);
        await Task.Delay(6000);
        Assert.All((await _hosts[1].GetHostsAsync()).Hosts, host => Assert.Equal("up", host.State));
        var started = DateTime.UtcNow;
        await _hosts[0].StopReplicatorAsync();
        Assert.InRange((DateTime.UtcNow - started).TotalSeconds, 0, 4);
    }

    [Fact]
    public async Task A_vote_is_refused_before_the_body_and_a_false_entry_after_it()
    {
        await ThreeAsync(1);
        var replica = new Replica(Id160.Parse(_hosts[0].Id), Id160.Parse(_hosts[0].Daemon.Device));
        var entry = FirstEntry.Seal(Id160.Parse(Make.Id("s")), replica.Host, [replica], AttributesBody.Empty.WithSize(512), 1);
        async Task<HttpStatusCode> PutAsync(byte[] body, params (string Name, string Value)[] headers)
        {
            using var client = new HttpClient();
            using var request = new HttpRequestMessage(HttpMethod.Put, $"http://{_hosts[0].Address}/log?{entry.Id}&{new string('0', 40)}");
            request.Headers.ExpectContinue = true;
            foreach (var (name, value) in headers)
            {
                request.Headers.Add(name, value);
            }

            request.Content = new ByteArrayContent(body);
            using var response = await client.SendAsync(request);
            return response.StatusCode;
        }

        Assert.Equal(HttpStatusCode.Conflict, await PutAsync(entry.Bytes, (CreationHeaders.Host, Make.Id("else"))));
        Assert.Equal(HttpStatusCode.Conflict, await PutAsync(entry.Bytes, (CreationHeaders.Device, Make.Id("else"))));
        Assert.Equal(HttpStatusCode.BadRequest, await PutAsync(entry.Bytes));
        Assert.Equal(HttpStatusCode.BadRequest, await PutAsync(entry.Bytes[..^1], (CreationHeaders.Secret, entry.Secret.ToString())));
        Assert.False(_world.Holds(_hosts[0].Id, entry.Id.ToString()));
        Assert.Equal(HttpStatusCode.Created, await PutAsync(entry.Bytes, (CreationHeaders.Secret, entry.Secret.ToString())));
        _hosts[0].Daemon.FreeBytes = 100;
        await TestHost.UntilAsync(async () => await PutAsync(entry.Bytes) == (HttpStatusCode)507);
    }

    [Fact]
    public async Task A_replica_that_is_gone_is_replaced_and_its_late_copy_dropped()
    {
        await ThreeAsync(4);
        var made = await _hosts[0].MakeDiskAsync(3);
        var gone = _hosts.Single(host => host.Id == made.Hosts[2]);
        var spare = _hosts.Single(host => !made.Hosts.Contains(host.Id));
        await gone.StopAsync();
        await UntilMembersAsync(made.Id, made.Hosts[0], made.Hosts[1], spare.Id);
        Assert.True(_world.Holds(gone.Id, made.Id));
        await gone.StartAsync(_hosts.First(host => host != gone).Address);
        await TestHost.UntilAsync(() => Task.FromResult(!_world.Holds(gone.Id, made.Id)), 30);
        Assert.Equal(3, _world.Members(made.Id).Count);
    }

    [Fact]
    public async Task A_host_that_is_drained_holds_nothing_in_the_end_and_hands_its_primaries_over()
    {
        await ThreeAsync(4);
        var first = await _hosts[0].MakeDiskAsync(3);
        var drained = _hosts.Single(host => host.Id == first.Hosts[0]);
        var second = await _hosts.First(host => host != drained && first.Hosts.Contains(host.Id)).MakeDiskAsync(3);
        var (status, _) = await _hosts[3].PostAsync("/drain", new HostRequest(drained.Id[..8]));
        Assert.Equal(HttpStatusCode.Accepted, status);
        await TestHost.UntilAsync(
            async () => (await _hosts[3].GetHostsAsync()).Hosts.Single(host => host.Host == drained.Id).State == "drained", 40);
        foreach (var disk in new[] { first.Id, second.Id })
        {
            Assert.Equal(3, _world.Members(disk).Count);
            Assert.DoesNotContain(drained.Id, _world.Members(disk));
            Assert.NotEqual(drained.Id, _world.Primary(disk));
        }
    }

    [Fact]
    public async Task A_disk_moves_gets_more_replicas_and_fewer_by_any_hosts_replicator()
    {
        await ThreeAsync();
        var made = await _hosts[0].MakeDiskAsync(1);
        Assert.Equal(HttpStatusCode.Accepted, (await _hosts[1].PostAsync("/replicas", new ReplicasRequest(made.Id, 3))).Status);
        await UntilMembersAsync(made.Id, [.. _hosts.Select(host => host.Id)]);
        var to = _hosts.First(host => host.Id != made.Hosts[0]);
        await TestHost.UntilAsync(async () => (await _hosts[2].PostAsync("/move", new MoveDiskRequest(made.Id, to.Id))).Status == HttpStatusCode.NoContent);
        Assert.Equal(to.Id, _world.Primary(made.Id));
        await TestHost.UntilAsync(async () => (await _hosts[0].PostAsync("/replicas", new ReplicasRequest(made.Id, 1))).Status == HttpStatusCode.Accepted);
        await UntilMembersAsync(made.Id, to.Id);
        Assert.Equal(HttpStatusCode.Conflict, (await _hosts[1].PostAsync("/replicas", new ReplicasRequest(made.Id, 4))).Status);
    }

    [Fact]
    public async Task Two_hosts_with_one_id_are_named_on_both_and_disturb_nobody()
    {
        await ThreeAsync();
        await AddAsync("thief", _hosts[1].Id);
        await TestHost.UntilAsync(async () =>
            (await _hosts[1].GetAsync("/healthz")).Contains("duplicate-id", StringComparison.Ordinal)
            && (await _hosts[3].GetAsync("/healthz")).Contains("duplicate-id", StringComparison.Ordinal), 40);
        await Task.Delay(2000);
        Assert.Single(_hosts[3].Log.Split('\n'), line => line.Contains("two hosts claim", StringComparison.Ordinal));
        var seen = (await _hosts[2].GetHostsAsync()).Hosts;
        Assert.Equal((3, _hosts[1].Address), (seen.Count, seen.Single(host => host.Host == _hosts[1].Id).Address));
        await _hosts[0].MakeDiskAsync(3);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[1,2]")]
    [InlineData("{\"from\":\"x\",\"hosts\":[],\"marks\":[]}")]
    [InlineData("{\"from\":\"x\",\"hosts\":null,\"marks\":[]}")]
    public async Task Malformed_gossip_gets_a_line_and_changes_nothing(string body)
    {
        await ThreeAsync(1);
        using var response = await _hosts[0].SendAsync(HttpMethod.Post, "/gossip", new StringContent(body, Encoding.UTF8));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("error", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Single((await _hosts[0].GetHostsAsync()).Hosts);
        using var large = await _hosts[0].SendAsync(HttpMethod.Post, "/gossip", new ByteArrayContent(new byte[2 << 20]));
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, large.StatusCode);
    }

    [Fact]
    public async Task A_host_that_is_down_is_forgotten_by_command_and_let_in_again_by_its_start()
    {
        await ThreeAsync(2);
        Assert.Equal(HttpStatusCode.Conflict, (await _hosts[0].PostAsync("/forget", new HostRequest(_hosts[1].Id))).Status);
        await _hosts[1].StopAsync();
        await TestHost.UntilAsync(async () => (await _hosts[0].PostAsync("/forget", new HostRequest(_hosts[1].Id))).Status == HttpStatusCode.NoContent, 30);
        Assert.Single((await _hosts[0].GetHostsAsync()).Hosts);
        await _hosts[1].StartAsync(_hosts[0].Address);
        await AllKnowAsync(2);
    }

    [Fact]
    public async Task A_damaged_database_is_set_aside_and_an_id_that_is_not_the_daemons_is_refused()
    {
        var folder = Directory.CreateTempSubdirectory("cloudfs-replicator-").FullName;
        var database = Path.Combine(folder, "db");
        await File.WriteAllTextAsync(database, string.Concat(Enumerable.Repeat("this is no database. ", 500)));
        var host = new TestHost(_world, "h0") { Database = database };
        _hosts.Add(host);
        await host.StartAsync();
        await host.StopReplicatorAsync();
        Assert.Contains("is damaged", host.Log, StringComparison.Ordinal);
        Assert.True(File.Exists(database + ".damaged"));
        await host.StartReplicatorAsync();
        using var log = new EventLog(TextWriter.Null, TimeProvider.System);
        var refused = await Assert.ThrowsAsync<StartRefusedException>(() => ReplicatorProcess.StartAsync(
            new ReplicatorOptions
            {
                HostId = Id160.Parse(Make.Id("else")), Daemon = new Uri($"http://127.0.0.1:{host.Daemon.Port}"), Listen = new IPEndPoint(IPAddress.Loopback, 0),
            }, log, CancellationToken.None));
        Assert.Contains($"is of host {host.Id}", refused.Message, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }
}
