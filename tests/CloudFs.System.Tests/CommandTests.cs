using System.Globalization;
using System.Text.Json.Nodes;
using CloudFs.SystemTests.Harness;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.SystemTests;

/// <summary>The operator's command against a real daemon.</summary>
public sealed class CommandTests
{
    [Fact]
    public async Task Disks_are_made_listed_renamed_grown_and_deleted_by_id_prefix_and_name()
    {
        await using var host = await Host.StartAsync();
        var made = (await host.CommandAsync("newdisk", "--name", "web", "--size", "1G", "--durability", "write")).Ok();
        var id = made.Output.Trim();
        Assert.Matches("^[0-9a-f]{40}$", id);
        Assert.Equal(id + "\n", made.Output);
        Assert.NotEmpty(made.Error);
        var other = (await host.CommandAsync("newdisk")).Ok().Output.Trim();
        Assert.Equal(2, JsonNode.Parse((await host.CommandAsync("disks", "--json")).Ok().Output)!.AsArray().Count);
        Assert.Contains("web", (await host.CommandAsync("disks")).Ok().Output, StringComparison.Ordinal);
        (await host.CommandAsync("rename", id[..8], "shop")).Ok();
        (await host.CommandAsync("resize", "shop", "2G")).Ok();
        var info = JsonNode.Parse((await host.CommandAsync("info", "shop", "--json")).Ok().Output)!;
        Assert.Equal(
            (id, 2L << 30, "write"),
            (info["id"]!.GetValue<string>(), info["size"]!.GetValue<long>(), info["durability"]!.GetValue<string>()));
        (await host.CommandAsync("deletedisk", other[..10], "--yes")).Ok();
        Assert.Single(JsonNode.Parse((await host.CommandAsync("disks", "--json")).Ok().Output)!.AsArray());

        foreach (var (status, words) in new (int, string[])[]
        {
            (1, ["info", "nobody"]), (1, ["info", other]), (1, ["resize", "shop", "1G"]),
            (1, ["newdisk", "--name", "shop"]), (1, ["newdisk", "3"]),
            (1, ["deletedisk", "nobody", "--yes"]), (2, ["newdisk", "--size", "lots"]), (2, ["frobnicate"]), (2, ["rename"]),
            (1, ["disks", "--daemon", string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePort.Next()}")]),
        })
        {
            var refused = (await host.CommandAsync(words)).Ended(status);
            var told = refused.Error.Trim();
            Assert.True(told.Length > 0 && (status == 2 || !told.Contains('\n', StringComparison.Ordinal)), refused.ToString());
            Assert.Empty(refused.Output);
        }

        Assert.NotEqual(0, (await host.CommandAsync("deletedisk", "shop")).Status);
        Assert.Contains(id, await host.TextAsync("/heads"), StringComparison.Ordinal);
    }

    [RequiresFact("cmp")]
    public async Task Images_go_in_and_out_sparse_by_file_and_by_pipe()
    {
        const long Size = 64L << 30;
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        await host.NewDiskAsync(Size, "d");
        var image = scratch.Random("image", 5 << 20, 1);
        using (var file = File.OpenWrite(image))
        {
            file.SetLength(Size);
        }

        (await host.CommandAsync("import", "d", image)).Ok();
        Assert.InRange((await host.JsonAsync("/disks/d"))["liveBytes"]!.GetValue<long>(), 5 << 20, 6 << 20);
        (await host.CommandAsync("export", "d", scratch.At("back"))).Ok();
        Assert.Equal(Size, new FileInfo(scratch.At("back")).Length);
        var blocks = long.Parse((await Tool.RunAsync("stat", ["-c", "%b", scratch.At("back")])).Ok().Output, CultureInfo.InvariantCulture);
        Assert.True(blocks * 512 < 16 << 20);
        (await Tool.RunAsync("cmp", ["-n", "16777216", image, scratch.At("back")])).Ok();
        Assert.NotEqual(0, (await host.CommandAsync("export", "d", scratch.At("back"))).Status);

        var daemon = $"--daemon {host.Url}";
        (await Tool.ShellAsync(
            $"set -eo pipefail; head -c 3000001 {image} | {Tool.CloudFs} write d --offset 12345 {daemon}; "
            + $"{Tool.CloudFs} read d --offset 12345 --length 3000001 {daemon} | cmp - <(head -c 3000001 {image})")).Ok();
        await host.NewDiskAsync(8 << 20, "small");
        (await Tool.ShellAsync(
            $"set -eo pipefail; head -c 8M {image} | {Tool.CloudFs} import small - {daemon}; "
            + $"{Tool.CloudFs} export small - {daemon} | cmp - <(head -c 8M {image})")).Ok();
        (await Tool.ShellAsync($"{Tool.CloudFs} import small {scratch.At("missing")} {daemon}")).Ended(1);
        (await Tool.ShellAsync($"head -c 9M {image} | {Tool.CloudFs} import small - {daemon}")).Ended(1);
    }

    [Fact]
    public async Task A_host_goes_up_once_tells_its_status_and_goes_down()
    {
        using var scratch = new Scratch();
        var (http, nbd) = (FreePort.Next(), FreePort.Next());
        string[] where = ["--dir", scratch.At("data")];
        string[] up =
        [
            "up", .. where, "--size", "1G", "--http", string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{http}"),
            "--nbd", string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{nbd}"),
        ];
        Task<Outcome> Command(params string[] words) => Tool.RunAsync(Tool.CloudFs, words);
        Assert.NotEqual(0, (await Command(["status", .. where])).Status);
        (await Command(up)).Ok();
        try
        {
            (await Command(up)).Ok();
            var status = (await Command(["status", "--json", .. where])).Ok();
            Assert.NotNull(JsonNode.Parse(status.Output));
            using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false });
            var health = await client.GetStringAsync(
                new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{http}/healthz")));
            Assert.Contains("ok", health, StringComparison.Ordinal);
        }
        finally
        {
            (await Command(["down", .. where])).Ok();
        }

        Assert.NotEqual(0, (await Command(["status", .. where])).Status);
        (await Command(["down", .. where])).Ok();
    }
}
