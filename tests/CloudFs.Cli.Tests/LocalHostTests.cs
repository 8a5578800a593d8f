using System.Globalization;
using System.Text.Json;
using CloudFs.Core.Contracts;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary><c>up</c>, <c>status</c> and <c>down</c> with a process of its own.</summary>
public sealed class LocalHostTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("cloudfs-up-").FullName;
    private readonly string _http = $"127.0.0.1:{FreePort.Next()}";
    private readonly string _nbd = $"127.0.0.1:{FreePort.Next()}";

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await TestIo.Create().RunAsync("down", "--dir", _folder);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_host_comes_up_once_says_how_it_is_and_goes_down()
    {
        await ExpectAsync(1, "not up", "status");
        await ExpectAsync(0, $"up: HTTP {_http}, NBD {_nbd}, unix:{_folder}/nbd.sock, process ", UpWords());
        await ExpectAsync(0, "up already: ", UpWords());

        var status = TestIo.Create();
        Assert.Equal(0, await status.RunAsync("status", "--dir", _folder));
        Assert.StartsWith("state       up, ok\n", status.Out, StringComparison.Ordinal);
        var json = TestIo.Create();
        Assert.Equal(0, await json.RunAsync("status", "--dir", _folder, "--json"));
        var told = JsonSerializer.Deserialize(json.Out, HttpContractsJson.Default.LocalStatusJson)!;
        Assert.Equal((_http, "ok"), (told.Host.Http, told.Health.Status));
        Assert.NotEqual(Environment.ProcessId, told.Host.Pid);

        var other = Path.Combine(_folder, "other");
        await ExpectAsync(1, $"cloudfs: {_http} is served by process ", "up", "--dir", other, "--http", _http);
        await ExpectAsync(0, "down, in ", "down");
        await ExpectAsync(0, "not up", "down");
        await ExpectAsync(1, "cloudfs: not up", "status");
    }

    [Fact]
    public async Task A_stale_file_is_not_believed_and_a_daemon_that_fails_says_why()
    {
        await File.WriteAllTextAsync(
            Path.Combine(_folder, "cloudfsd.pid"),
            string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}\nhttp://{_http}/\n"));
        await ExpectAsync(1, "cloudfs: not up", "status");
        await File.WriteAllBytesAsync(Path.Combine(_folder, "cloudfs.dev"), [.. Enumerable.Repeat((byte)7, 1000)]);
        await ExpectAsync(1, "cloudfs: the daemon did not come up: cloudfsd: ", UpWords());
    }

    private string[] UpWords() => ["up", "--http", _http, "--nbd", _nbd, "--size", "256M"];

    private async Task ExpectAsync(int status, string said, params string[] words)
    {
        var io = TestIo.Create();
        var ended = await io.RunAsync(words.Contains("--dir") ? words : [.. words, "--dir", _folder]);
        Assert.True(status == ended, $"{string.Join(' ', words)} ended with {ended}: {io.Error}");
        Assert.Contains(said, io.Error, StringComparison.Ordinal);
        Assert.Empty(io.Out);
    }
}
