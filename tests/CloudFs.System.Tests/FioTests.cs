using System.Globalization;
using System.Text.Json.Nodes;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>fio writes at random, in all sizes, many at a time, and finds everything again by its checksums.</summary>
public sealed class FioTests(ITestOutputHelper output)
{
    private const long DiskBytes = 256 << 20;

    [RequiresFact("fio")]
    public async Task Random_writes_of_mixed_sizes_over_two_connections_verify()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(DiskBytes, "f");
        var words = Halves(host, "--do_verify=1", "--fsync=64");
        Report((await Fio(words)).Ok());
        await host.StopAsync();
        (await host.VerifyAsync()).Ok();
    }

    [RequiresFact("fio")]
    public async Task Reads_that_overlap_the_writes_of_others_get_one_or_the_other_and_no_error()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(DiskBytes, "f");
        var run = await Fio(
        [
            .. Common(host), "--time_based", "--runtime=4",
            "--name=writer", "--rw=randwrite", "--size=64m", "--offset=0", "--verify=crc32c", "--verify_backlog=256",
            "--name=reader", "--rw=randread", "--size=64m", "--offset=0",
        ]);
        Report(run.Ok());
    }

    [RequiresFact("fio")]
    public async Task What_fio_wrote_without_a_flush_verifies_after_a_kill()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(DiskBytes, "f");
        Report((await Fio(Halves(host, "--do_verify=0"))).Ok());
        host.Kill();
        var took = await host.StartAgainAsync();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"back in {took.TotalMilliseconds:F0} ms"));
        Report((await Fio(Halves(host, "--verify_only"))).Ok());
    }

    private static string[] Halves(Host host, params string[] more) =>
    [
        .. Common(host), "--verify=crc32c", "--verify_fatal=1", "--rw=randwrite", "--size=96m", .. more,
        "--name=low", "--offset=0", "--name=high", "--offset=128m",
    ];

    private static string[] Common(Host host) =>
    [
        "--ioengine=nbd", "--uri=" + host.Nbd("f"), "--bsrange=512-1m", "--blockalign=512", "--iodepth=32", "--randrepeat=1",
        "--randseed=7", "--thread", "--output-format=json",
    ];

    private static Task<Outcome> Fio(string[] words) => Tool.RunAsync("fio", words, limit: TimeSpan.FromSeconds(90));

    private void Report(Outcome run)
    {
        // Whatever fio says before its JSON is a warning.
        var jobs = JsonNode.Parse(run.Output[run.Output.IndexOf('{', StringComparison.Ordinal)..])!["jobs"]!.AsArray();
        foreach (var job in jobs)
        {
            Assert.Equal(0, job!["error"]!.GetValue<int>());
            Assert.Equal(0, job["total_err"]?.GetValue<int>() ?? 0);
            var (wrote, read) = (job["write"]!["io_bytes"]!.GetValue<long>(), job["read"]!["io_bytes"]!.GetValue<long>());
            Assert.True(wrote + read > 0);
            output.WriteLine($"{job["jobname"]}: {wrote >> 20} MiB written, {read >> 20} MiB read");
        }
    }
}
