using System.Globalization;
using System.Text.RegularExpressions;
using CloudFs.SystemTests.Harness;
using Xunit;

namespace CloudFs.SystemTests;

/// <summary>The HTTP face as curl and wget see it.</summary>
public sealed partial class HttpTests
{
    [RequiresFact("curl")]
    public async Task Ranges_of_any_alignment_are_written_and_read_and_their_ETags_make_writes_conditional()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20, "d");
        using var scratch = new Scratch();
        var image = await File.ReadAllBytesAsync(scratch.Random("bytes", 100_001, 1));
        var put = await Curl(host, "-X", "PUT", "-H", "Content-Range: bytes 777-100777/*", "--data-binary", "@" + scratch.At("bytes"), "/blocks?d");
        Assert.Equal(204, put.Status);
        var tag = Tag().Match(put.Headers).Groups[1].Value;
        Assert.Equal(await host.HeadAsync(disk), tag);

        var get = await Curl(host, "-o", scratch.At("back"), "-r", "777-100777", "/blocks?d");
        Assert.Equal((206, tag), (get.Status, Tag().Match(get.Headers).Groups[1].Value));
        Assert.Equal(image, await File.ReadAllBytesAsync(scratch.At("back")));
        Assert.Equal(206, (await Curl(host, "-o", scratch.At("back"), "-r", "-100", "/blocks?d")).Status);
        Assert.Equal(100, new FileInfo(scratch.At("back")).Length);
        Assert.Equal(304, (await Curl(host, "-o", "/dev/null", "-r", "0-511", "-H", $"If-None-Match: \"{tag}\"", "/blocks?d")).Status);

        string[] conditional = ["-X", "PUT", "-H", "Content-Range: bytes 0-2/*", "--data-binary", "abc", "/blocks?d"];
        Assert.Equal(204, (await Curl(host, ["-H", $"If-Match: \"{tag}\"", .. conditional])).Status);
        Assert.Equal(412, (await Curl(host, ["-H", $"If-Match: \"{tag}\"", .. conditional])).Status);
        using var peer = NbdPeer.Connect(host.Socket, disk);
        var sector = new byte[512];
        Assert.Equal(0u, peer.TryRead(0, sector));
        Assert.Equal("abc"u8.ToArray(), sector[..3]);
    }

    [RequiresFact("curl")]
    public async Task What_is_malformed_beyond_the_end_too_large_or_unknown_gets_its_status_and_one_line()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(128 << 20, "d");
        var head = await host.HeadAsync(disk);
        using var scratch = new Scratch();
        var large = scratch.Sparse("large", (32 << 20) + 1);
        var nobody = new string('0', 40);
        (int Status, string[] Words)[] cases =
        [
            (404, ["/nothing"]),
            (404, ["/blocks?nobody", "-r", "0-1"]),
            (404, ["/lsn?" + nobody]),
            (404, ["/stream?" + nobody]),
            (404, ["/disks/nobody"]),
            (405, ["-X", "POST", "/heads"]),
            (405, ["-X", "DELETE", "/metrics"]),
            (416, ["/blocks?d", "-r", "134217728-134217729"]),
            (400, ["/blocks?d", "-H", "Range: bytes=9-3"]),
            (400, ["/blocks?d", "-H", "Range: bytes=0-1,4-5"]),
            (400, ["/blocks?d", "-H", "Range: lines=1-2"]),
            (413, ["/blocks?d", "-r", "0-99999999"]),
            (413, ["/blocks?d"]),
            (400, ["-X", "PUT", "--data-binary", "abc", "/blocks?d"]),
            (400, ["-X", "PUT", "-H", "Content-Range: bytes 0-5/*", "--data-binary", "abc", "/blocks?d"]),
            (400, ["-X", "PUT", "-H", "Content-Range: bytes x", "--data-binary", "abc", "/blocks?d"]),
            (416, ["-X", "PUT", "-H", "Content-Range: bytes 134217726-134217728/*", "--data-binary", "abc", "/blocks?d"]),
            (413, ["-X", "PUT", "-H", "Content-Range: bytes 0-33554432/*", "--data-binary", "@" + large, "/blocks?d"]),
            (400, ["-X", "DELETE", "-H", "Content-Range: bytes 1-511/*", "/blocks?d"]),
            (416, ["/stream?d&99"]),
            (409, ["/stream?d&" + nobody]),
            (501, ["/blocks?d&" + nobody, "-r", "0-1"]),
            (400, ["-X", "POST", "-d", "{\"size\": 5}", "/disks"]),
            (400, ["-X", "POST", "-d", "nonsense", "/disks"]),
            (409, ["-X", "POST", "-d", "{\"name\": \"d\"}", "/disks"]),
            (409, ["-X", "POST", "-d", "{\"replicas\": 3}", "/disks"]),
            (409, ["-X", "PATCH", "-d", "{\"size\": 512}", "/disks/d"]),
        ];
        var wrong = new List<string>();
        foreach (var (status, words) in cases)
        {
            var answer = await Curl(host, words);
            var told = answer.Body.TrimEnd();
            var isLine = !told.Contains('\n', StringComparison.Ordinal) || told.StartsWith('{') || status == 404;
            if (answer.Status != status || told.Length == 0 || !isLine)
            {
                wrong.Add($"{string.Join(' ', words)}: {status} expected, {answer.Status} found: {answer.Body}");
            }
        }

        Assert.Empty(wrong);
        Assert.Equal(head, await host.HeadAsync(disk));
    }

    [RequiresFact("wget", "curl")]
    public async Task A_new_disk_shows_its_id_twice_and_two_ids_after_a_flushed_write_and_its_stream_replays()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20);
        Task<Outcome> Heads() => Tool.RunAsync("wget", ["-qO-", host.Url + "/heads"]);
        Assert.Equal($"{disk}:{disk}\n", (await Heads()).Ok().Output);
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 512, SectorModel.Contents(0, 1, 1)));
            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        var heads = (await Heads()).Ok().Output.Trim().Split(':');
        Assert.Equal(disk, heads[0]);
        Assert.NotEqual(disk, heads[1]);
        Assert.True(SectorModel.Holds((await host.ReplayAsync(disk)).AsSpan(0, 512), 0, 1));
        (await Tool.ShellAsync($"curl -sSf '{host.Url}/stream?{disk}&once' | '{Tool.CloudFs}' verify -")).Ok();
    }

    private static async Task<(int Status, string Headers, string Body)> Curl(Host host, params string[] words)
    {
        using var scratch = new Scratch();
        var (headers, body) = (scratch.At("headers"), scratch.At("body"));

        // A path of the daemon's, not one of a file that is read or written.
        bool IsPath(string word) => word.StartsWith('/') && !Path.Exists(Path.GetDirectoryName(word) is "/" or null ? word : Path.GetDirectoryName(word));
        var all = words.Select(word => IsPath(word) ? host.Url + word : word);
        string[] output = words.Contains("-o") ? [] : ["-o", body];
        var ran = await Tool.RunAsync("curl", ["-sS", "-w", "%{http_code}", "-D", headers, .. output, .. all]);
        return (int.Parse(ran.Output, CultureInfo.InvariantCulture), await File.ReadAllTextAsync(headers),
            File.Exists(body) ? await File.ReadAllTextAsync(body) : "");
    }

    [GeneratedRegex("(?im)^etag: \"([0-9a-f]{40})\"")]
    private static partial Regex Tag();
}
