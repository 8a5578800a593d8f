using System.Net;
using System.Net.Http.Json;
using System.Text;
using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>The JSON side: disks, host, health; and what all paths have in common.</summary>
public sealed class DisksEndpointTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task A_new_disk_is_listed_under_its_id_prefix_and_name()
    {
        var id = await _daemon.NewDiskAsync(8UL << 30, "web1");
        Assert.Equal($"{id}:{id}\n", await _daemon.TextAsync("/heads"));
        foreach (var name in (string[])[id, id[..12], "web1"])
        {
            var disk = await _daemon.DiskAsync(name);
            Assert.Equal(id, disk.Id);
            Assert.Equal("web1", disk.Name);
            Assert.Equal(8UL << 30, disk.Size);
            Assert.Equal("flush", disk.Durability);
            Assert.Equal("primary", disk.Role);
            Assert.Equal(1UL, disk.Lsn);
            Assert.Equal(id, disk.Head);
            Assert.Equal("ok", disk.Health.Status);
        }

        var all = await _daemon.Http.GetFromJsonAsync(
            _daemon.At("/disks"), HttpContractsJson.Default.IReadOnlyListDiskJson);
        Assert.Equal([id], all!.Select(disk => disk.Id));
    }

    [Fact]
    public async Task A_disk_grows_is_renamed_and_goes_away()
    {
        var id = await _daemon.NewDiskAsync(1 << 20, "a");
        var changed = await ChangeAsync(id, """{ "size": 2097152, "name": "b" }""", HttpStatusCode.OK);
        Assert.Contains("2097152", changed, StringComparison.Ordinal);
        Assert.Equal("b", (await _daemon.DiskAsync(id)).Name);
        await ChangeAsync("b", """{ "name": "" }""", HttpStatusCode.OK);
        Assert.Null((await _daemon.DiskAsync(id)).Name);
        await ChangeAsync(id, """{ "size": 512 }""", HttpStatusCode.Conflict);
        await ChangeAsync(id, """{ "name": "not a name" }""", HttpStatusCode.BadRequest);

        using var gone = await _daemon.Http.DeleteAsync(_daemon.At("/disks/" + id));
        Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        await ErrorAsync(await _daemon.Http.GetAsync(_daemon.At("/disks/" + id)), HttpStatusCode.NotFound);
        Assert.Empty(await _daemon.TextAsync("/heads"));
    }

    [Theory]
    [InlineData("{", 400)]
    [InlineData("[]", 400)]
    [InlineData("null", 400)]
    [InlineData("""{ "size": -1 }""", 400)]
    [InlineData("""{ "size": "8G" }""", 400)]
    [InlineData("""{ "size": 513 }""", 400)]
    [InlineData("""{ "size": 0 }""", 400)]
    [InlineData("""{ "name": "1abc" }""", 400)]
    [InlineData("""{ "name": "deadbeef" }""", 400)]
    [InlineData("""{ "durability": "never" }""", 400)]
    [InlineData("""{ "replicas": 3 }""", 409)]
    [InlineData("""{ "name": "taken" }""", 409)]
    public async Task What_can_not_be_made_is_refused_in_one_line(string json, int status)
    {
        await _daemon.NewDiskAsync(name: "taken");
        using var content = new StringContent(json, Encoding.UTF8, "application/json");
        await ErrorAsync(await _daemon.Http.PostAsync(_daemon.At("/disks"), content), (HttpStatusCode)status);
        Assert.Single((await _daemon.TextAsync("/heads")).TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task A_body_that_is_too_large_is_413()
    {
        using var content = new ByteArrayContent(new byte[1 << 20]);
        using var answer = await _daemon.Http.PostAsync(_daemon.At("/disks"), content);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
    }

    [Fact]
    public async Task The_host_says_who_it_is()
    {
        var host = await _daemon.Http.GetFromJsonAsync(_daemon.At("/host"), HttpContractsJson.Default.HostJson);
        Assert.Equal(Environment.ProcessId, host!.Pid);
        Assert.Equal(_daemon.DevicePath, host.DevicePath);
        Assert.Equal(_daemon.Process.HttpEndPoint.ToString(), host.Http);
        Assert.Equal(40, host.Host.Length);
        Assert.True(host.Space.Capacity > host.Space.Free / 2);
        await _daemon.RestartAsync();
        var again = await _daemon.Http.GetFromJsonAsync(_daemon.At("/host"), HttpContractsJson.Default.HostJson);
        Assert.Equal((host.Host, host.Device), (again!.Host, again.Device));
    }

    [Fact]
    public async Task What_the_device_is_used_for_adds_up_in_host_and_metrics()
    {
        var id = await _daemon.NewDiskAsync();
        var data = new byte[1 << 20];
        Random.Shared.NextBytes(data);
        await _daemon.PutAsync(id, 0, data);
        await _daemon.PutAsync(id, 0, data);
        var host = await _daemon.Http.GetFromJsonAsync(_daemon.At("/host"), HttpContractsJson.Default.HostJson);
        var space = host!.Space;
        Assert.Equal(1UL << 20, space.Live);
        Assert.InRange(space.History, 1UL << 20, (1UL << 20) + 65536);
        Assert.InRange(space.Open, 13UL << 20, (14UL << 20) - 1);
        Assert.Equal(
            space.Capacity,
            space.Live + space.Headers + space.Pinned + space.History + space.Dead + space.Index + space.Checkpoint
            + space.Bad + space.Open + space.Free);
        Assert.Equal((false, "none", 0UL, 1.0), (
            host.Compaction!.Running, host.Compaction.Pressure, host.Compaction.DebtBytes,
            host.Compaction.WriteAmplification));

        var metrics = await _daemon.TextAsync("/metrics");
        Assert.Contains("cloudfs_space_bytes{kind=\"live\"} 1048576\n", metrics, StringComparison.Ordinal);
        Assert.Contains($"cloudfs_space_bytes{{kind=\"capacity\"}} {space.Capacity}\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_write_amplification 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_compaction_debt_bytes 0\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_compaction_eta_seconds 0\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_segments_reclaimed_total 0\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_index_cache_misses_total", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_read_cache_hits_total", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_read_cache_misses_total", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_read_cache_bytes", metrics, StringComparison.Ordinal);
        Assert.Matches("cloudfs_device_written_bytes_total\\{kind=\"new\"\\} 2[0-9]{6}\n", metrics);
        Assert.Matches("cloudfs_device_written_bytes_total\\{kind=\"footer\"\\} 0\n", metrics);
    }

    [Fact]
    public async Task Health_is_ok_and_metrics_are_well_formed()
    {
        var id = await _daemon.NewDiskAsync();
        Assert.Equal("""{"status":"ok","reasons":[]}""", Compact(await _daemon.TextAsync("/healthz")));
        var metrics = await _daemon.TextAsync("/metrics");
        Assert.Contains($"cloudfs_disk_lsn{{disk=\"{id}\"}} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_health{status=\"ok\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.All(metrics.TrimEnd('\n').Split('\n'), line => Assert.Matches(
            """^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,le="[^"]+")?\})? -?[0-9.E+-]+)$""", line));
    }

    [Fact]
    public async Task Other_paths_are_404_with_what_there_is_and_other_methods_405()
    {
        var line = await TestDaemon.LineAsync(await _daemon.Http.GetAsync(_daemon.At("/")), HttpStatusCode.NotFound);
        Assert.Contains("/stream?<disk>", line, StringComparison.Ordinal);
        await ErrorAsync(await _daemon.Http.GetAsync(_daemon.At("/disks/a/b")), HttpStatusCode.NotFound);
        using var wrong = await _daemon.Http.PostAsync(_daemon.At("/heads"), null);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, wrong.StatusCode);
        Assert.Equal(["GET"], wrong.Content.Headers.Allow);
        using var log = await _daemon.Http.GetAsync(_daemon.At("/log"));
        Assert.Equal(["PUT"], log.Content.Headers.Allow);
    }

    [Fact]
    public async Task Who_asks_for_json_gets_errors_as_json()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, _daemon.At("/lsn?nobody"));
        request.Headers.Add("Accept", "application/json");
        await ErrorAsync(await _daemon.Http.SendAsync(request), HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task Stopping_takes_seconds_at_most_while_requests_are_under_way()
    {
        var id = await _daemon.NewDiskAsync(64 << 20);
        using var stop = new CancellationTokenSource();
        var load = Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
        {
            try
            {
                while (!stop.IsCancellationRequested)
                {
                    await _daemon.PutAsync(id, (ulong)i << 20, new byte[100_000]);
                }
            }
            catch (Exception ended) when (ended is HttpRequestException or IOException or NullReferenceException
                or Xunit.Sdk.XunitException)
            {
                // It went away under us, which is what this is about.
            }
        })).ToArray();
        await Task.Delay(300);
        var clock = System.Diagnostics.Stopwatch.StartNew();
        await _daemon.StopAsync();
        Assert.InRange(clock.Elapsed.TotalSeconds, 0, 5);
        await stop.CancelAsync();
        await Task.WhenAll(load);
    }

    private async Task<string> ChangeAsync(string disk, string json, HttpStatusCode status)
    {
        using var content = new StringContent(json, Encoding.UTF8, "application/json");
        using var answer = await _daemon.Http.PatchAsync(_daemon.At("/disks/" + disk), content);
        Assert.Equal(status, answer.StatusCode);
        return await answer.Content.ReadAsStringAsync();
    }

    private static async Task ErrorAsync(HttpResponseMessage answer, HttpStatusCode status)
    {
        Assert.Equal(status, answer.StatusCode);
        var error = await answer.Content.ReadFromJsonAsync(HttpContractsJson.Default.ErrorJson);
        Assert.NotEmpty(error!.Error);
        Assert.DoesNotContain('\n', error.Error);
        answer.Dispose();
    }

    private static string Compact(string json) =>
        json.Replace("\n", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal);
}
