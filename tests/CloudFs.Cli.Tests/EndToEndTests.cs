using System.Text.Json;
using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary>The commands against a real daemon.</summary>
public sealed class EndToEndTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task Newdisk_prints_the_id_alone_and_the_host_beside_it()
    {
        var io = await RunAsync(0, "newdisk", "1", "--size", "1G", "--name", "web1", "--durability", "write");
        Assert.Matches("^[0-9a-f]{40}\n$", io.Out);
        Assert.Matches("^on host [0-9a-f]{40}\n$", io.Error);
        var disk = await InfoAsync("web1");
        Assert.Equal(io.Out.Trim(), disk.Id);
        Assert.Equal((1UL << 30, "web1", "write"), (disk.Size, disk.Name, disk.Durability));
        Assert.Equal(disk.Id, (await InfoAsync(disk.Id[..8])).Id);
        Assert.Contains("web1", (await RunAsync(0, "disks")).Out, StringComparison.Ordinal);
        Assert.Equal(1, JsonDocument.Parse((await RunAsync(0, "disks", "--json")).Out).RootElement.GetArrayLength());
    }

    [Fact]
    public async Task Info_without_a_disk_is_about_the_host()
    {
        var text = (await RunAsync(0, "info")).Out;
        Assert.Contains(_daemon.DevicePath, text, StringComparison.Ordinal);
        Assert.Contains("\ncompaction  idle\n", text, StringComparison.Ordinal);
        Assert.Contains("\n            history 0 B, dead ", text, StringComparison.Ordinal);
        var json = (await RunAsync(0, "info", "--json")).Out;
        var status = JsonSerializer.Deserialize(json, HttpContractsJson.Default.LocalStatusJson)!;
        Assert.Equal((_daemon.DevicePath, "none"), (status.Host.DevicePath, status.Host.Compaction!.Pressure));
    }

    [Theory]
    [InlineData("newdisk", "3")]
    [InlineData("newdisk", "--name", "deadbeef")]
    [InlineData("newdisk", "--size", "100")]
    [InlineData("info", "nobody")]
    [InlineData("rename", "nobody", "x")]
    [InlineData("read", "nobody")]
    [InlineData("resize", "demo", "512")]
    [InlineData("read", "demo", "--offset", "2M")]
    [InlineData("read", "demo", "--length", "2M")]
    [InlineData("export", "demo", "/nowhere/at/all")]
    [InlineData("import", "demo", "/nowhere/at/all")]
    [InlineData("deletedisk", "demo")]
    public async Task A_refusal_is_one_line_and_status_1(params string[] arguments)
    {
        await _daemon.NewDiskAsync(1 << 20, "demo");
        var io = await RunAsync(1, arguments);
        Assert.Empty(io.Out);
        Assert.StartsWith("cloudfs: ", io.Error, StringComparison.Ordinal);
        Assert.Single(io.Error.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task A_disk_is_renamed_grown_and_deleted_after_a_yes()
    {
        var id = await _daemon.NewDiskAsync(1 << 20, "a");
        await RunAsync(0, "rename", "a", "b");
        await RunAsync(0, "resize", "b", "2M");
        Assert.Equal(2UL << 20, (await InfoAsync("b")).Size);

        var no = TestIo.Create(answers: "n\n");
        Assert.Equal(1, await no.RunAsync("deletedisk", "b", "--daemon", _daemon.Url));
        Assert.Equal(id, (await InfoAsync("b")).Id);
        var yes = TestIo.Create(answers: "y\n");
        Assert.Equal(0, await yes.RunAsync("deletedisk", "b", "--daemon", _daemon.Url));
        Assert.Contains(id, yes.Error, StringComparison.Ordinal);
        await RunAsync(1, "info", "b");

        await _daemon.NewDiskAsync(1 << 20, "c");
        await RunAsync(0, "deletedisk", "c", "--yes");
    }

    [Fact]
    public async Task Bytes_go_in_and_come_out_at_any_alignment()
    {
        await _daemon.NewDiskAsync(32 << 20, "demo");
        var bytes = Random(17_000_003);
        var write = TestIo.Create(bytes);
        Assert.Equal(0, await write.RunAsync("write", "demo", "--offset", "4097", "--daemon", _daemon.Url));
        Assert.Equal(bytes, (await RunAsync(0, "read", "demo", "--offset", "4097", "--length", "17000003")).Data);
        Assert.Equal((32 << 20) - 100, (await RunAsync(0, "read", "demo", "--offset", "100")).Data.Length);

        var over = TestIo.Create(new byte[1000]);
        Assert.Equal(1, await over.RunAsync("write", "demo", "--offset", "33554000", "--daemon", _daemon.Url));
    }

    [Fact]
    public async Task An_image_goes_in_and_comes_out_sparse()
    {
        await _daemon.NewDiskAsync(64 << 20, "demo");
        var image = new byte[(48 << 20) + 512];
        Random(3_000_000).CopyTo(image, 5 << 20);
        Random(100_000).CopyTo(image, (30 << 20) + 12_345);
        image[^1] = 9;
        var file = Path.Combine(_daemon.Folder, "image");
        await File.WriteAllBytesAsync(file, image);
        await RunAsync(0, "import", "demo", file);
        Assert.True((await InfoAsync("demo")).LiveBytes < 4 << 20);

        var copy = Path.Combine(_daemon.Folder, "copy");
        await RunAsync(0, "export", "demo", copy);
        var exported = await File.ReadAllBytesAsync(copy);
        Assert.Equal(64 << 20, exported.Length);
        Assert.Equal(image, exported[..image.Length]);
        Assert.Equal(-1, exported.AsSpan(image.Length).IndexOfAnyExcept((byte)0));
        Assert.Equal(exported, (await RunAsync(0, "export", "demo", "-")).Data);
        await RunAsync(1, "export", "demo", copy);
        await RunAsync(0, "export", "demo", copy, "--yes");
    }

    [Fact]
    public async Task A_second_image_leaves_nothing_of_the_first_where_it_has_zeroes()
    {
        await _daemon.NewDiskAsync(16 << 20, "demo");
        var first = TestIo.Create(Random(16 << 20));
        Assert.Equal(0, await first.RunAsync("import", "demo", "--daemon", _daemon.Url));
        var image = new byte[16 << 20];
        Random(10_000).CopyTo(image, 7_654_321);
        var second = TestIo.Create(image);
        Assert.Equal(0, await second.RunAsync("import", "demo", "-", "--daemon", _daemon.Url));
        Assert.Equal(image, (await RunAsync(0, "read", "demo")).Data);

        var larger = TestIo.Create(new byte[(16 << 20) + 1]);
        Assert.Equal(1, await larger.RunAsync("import", "demo", "--daemon", _daemon.Url));
    }

    [Fact]
    public async Task Verify_reads_streams_and_devices_and_finds_a_flipped_bit()
    {
        await _daemon.NewDiskAsync(16 << 20, "demo");
        for (ulong i = 0; i < 5; i++)
        {
            await _daemon.PutAsync("demo", i * 100_000, Random(150_000));
        }

        var head = (await _daemon.TextAsync("/heads")).TrimEnd('\n') + " lsn 6\n";
        var stream = await _daemon.Http.GetByteArrayAsync(_daemon.At("/stream?demo&once"));
        var file = Path.Combine(_daemon.Folder, "stream");
        await File.WriteAllBytesAsync(file, stream);
        Assert.Equal(head, (await RunAsync(0, "verify", file)).Out);
        var piped = TestIo.Create(stream);
        Assert.Equal(0, await piped.RunAsync("verify", "-"));
        Assert.Equal(head, piped.Out);

        await RunAsync(1, "verify", _daemon.DevicePath);
        await _daemon.StopAsync();
        Assert.Equal(head, (await RunOfflineAsync(0, "verify", _daemon.DevicePath)).Out);

        stream[^5000] ^= 4;
        await File.WriteAllBytesAsync(file, stream);
        var broken = await RunOfflineAsync(1, "verify", file);
        Assert.Contains("LSN 6: ", broken.Error, StringComparison.Ordinal);
        Assert.EndsWith(" lsn 5\n", broken.Out, StringComparison.Ordinal);

        await File.WriteAllBytesAsync(file, stream[..^512]);
        var cut = await RunOfflineAsync(1, "verify", file);
        Assert.Contains("ends within an entry", cut.Error, StringComparison.Ordinal);
        await RunOfflineAsync(1, "verify", "/dev/null/x");
    }

    [Fact]
    public async Task Scrub_says_what_it_found_and_ends_with_1_then()
    {
        await _daemon.NewDiskAsync(16 << 20, "demo");
        var bytes = Random(4096);
        await _daemon.PutAsync("demo", 4096, bytes);
        var begun = await RunAsync(0, "scrub");
        Assert.Empty(begun.Out);
        Assert.Contains("scrubb", begun.Error, StringComparison.Ordinal);
        var clean = await RunAsync(0, "scrub", "--wait");
        Assert.Empty(clean.Out);
        Assert.Contains(" scrubbed\n", clean.Error, StringComparison.Ordinal);

        await _daemon.RestartAsync(() => _daemon.FlipBitOf(bytes));
        var rotten = await RunAsync(1, "scrub", "--wait");
        Assert.StartsWith("lost      segment ", rotten.Out, StringComparison.Ordinal);
        Assert.EndsWith("cloudfs: 1 finding\n", rotten.Error, StringComparison.Ordinal);
        var json = JsonSerializer.Deserialize(
            (await RunAsync(1, "scrub", "--wait", "--json")).Out, HttpContractsJson.Default.ScrubJson)!;
        Assert.Equal((false, 1UL, 2UL), (json.Running, json.FindingCount, json.Pass));
    }

    [Fact]
    public async Task Nuke_wants_a_yes_for_what_holds_something_and_spares_what_is_in_use()
    {
        await _daemon.NewDiskAsync(name: "demo");
        var inUse = await RunOfflineAsync(1, "nuke", _daemon.DevicePath, "--yes");
        Assert.Contains("in use", inUse.Error, StringComparison.Ordinal);
        await _daemon.StopAsync();
        var holdsDisks = await RunOfflineAsync(1, "nuke", _daemon.DevicePath);
        Assert.Contains("--yes", holdsDisks.Error, StringComparison.Ordinal);
        await RunOfflineAsync(0, "nuke", _daemon.DevicePath, "--yes");
        await RunOfflineAsync(0, "nuke", _daemon.DevicePath);
        await _daemon.RestartAsync();
        Assert.Empty(await _daemon.TextAsync("/heads"));
        await RunOfflineAsync(1, "nuke", "/nowhere/at/all");
    }

    private async Task<TestIo> RunAsync(int status, params string[] arguments) =>
        await RunOfflineAsync(
            status, [.. arguments, .. arguments[0] is "verify" ? [] : (string[])["--daemon", _daemon.Url]]);

    private static async Task<TestIo> RunOfflineAsync(int status, params string[] arguments)
    {
        var io = TestIo.Create();
        var ended = await io.RunAsync(arguments);
        Assert.True(status == ended, $"{string.Join(' ', arguments)} ended with {ended}: {io.Error}");
        return io;
    }

    private async Task<DiskJson> InfoAsync(string disk) => JsonSerializer.Deserialize(
        (await RunAsync(0, "info", disk, "--json")).Out, HttpContractsJson.Default.DiskJson)!;

    private static byte[] Random(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }
}
