using System.Net;
using System.Net.Http.Json;
using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>A scrub is begun, followed and read over HTTP.</summary>
public sealed class ScrubEndpointTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task It_is_begun_once_and_tells_what_it_found()
    {
        var before = await GetAsync();
        Assert.Equal((false, 0UL, null), (before.Running, before.Pass, before.Started));
        Assert.Equal((8UL << 20, 7UL * 86_400), (before.Rate, before.IntervalSeconds));

        var disk = await _daemon.NewDiskAsync();
        var data = new byte[4096];
        new Random(7).NextBytes(data);
        await _daemon.PutAsync(disk, 8192, data);
        await _daemon.RestartAsync(() => _daemon.FlipBitOf(data));
        using (var begun = await _daemon.Http.PostAsync(_daemon.At("/scrub"), null))
        {
            Assert.Equal(HttpStatusCode.Accepted, begun.StatusCode);
            var answer = await begun.Content.ReadFromJsonAsync(HttpContractsJson.Default.ScrubJson);
            Assert.Equal((true, 1UL), (answer!.Running, answer.Pass));
        }

        using (var again = await _daemon.Http.PostAsync(_daemon.At("/scrub"), null))
        {
            Assert.Equal(HttpStatusCode.Conflict, again.StatusCode);
            Assert.Contains("under way", (await again.Content.ReadFromJsonAsync(HttpContractsJson.Default.ErrorJson))!.Error);
        }

        var after = await GetAsync();
        for (; after.Running; after = await GetAsync())
        {
            await Task.Delay(50);
        }

        var finding = Assert.Single(after.Findings);
        Assert.Equal(("lost", disk, 2UL), (finding.Verdict, finding.Disk, finding.Lsn));
        Assert.Equal(new ScrubRangeJson(8192, 4096), Assert.Single(finding.Ranges));
        Assert.Equal((1UL, 1UL, after.BytesTotal), (after.FindingCount, after.LastFindings, after.BytesDone));
        Assert.NotNull(after.LastCompleted);
        Assert.Contains("damaged-range", await _daemon.TextAsync("/healthz"), StringComparison.Ordinal);
        Assert.Equal(4096UL, (await _daemon.DiskAsync(disk)).Health.DamagedBytes);
        var metrics = await _daemon.TextAsync("/metrics");
        Assert.Contains("cloudfs_scrub_findings 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_scrub_running 0\n", metrics, StringComparison.Ordinal);
        Assert.Contains("cloudfs_scrub_progress_ratio 1\n", metrics, StringComparison.Ordinal);
        Assert.DoesNotContain("cloudfs_scrub_bytes_total 0\n", metrics, StringComparison.Ordinal);
    }

    private async Task<ScrubJson> GetAsync() =>
        (await _daemon.Http.GetFromJsonAsync(_daemon.At("/scrub"), HttpContractsJson.Default.ScrubJson))!;
}
