using System.Text.RegularExpressions;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Cli.Tests;

/// <summary><c>top</c> against a real daemon.</summary>
public sealed partial class TopLoopTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    public async Task InitializeAsync() => _daemon = await TestDaemon.StartAsync();

    public async Task DisposeAsync() => await _daemon.DisposeAsync();

    [Fact]
    public async Task Two_intervals_are_two_blocks_of_plain_lines()
    {
        var id = await _daemon.NewDiskAsync();
        var io = TestIo.Create();
        var top = io.RunAsync("top", "--count", "2", "--interval", "1s", "--daemon", _daemon.Url);
        var data = new byte[1 << 20];
        Random.Shared.NextBytes(data);
        while (!top.IsCompleted)
        {
            await _daemon.PutAsync(id, 0, data);
            await Task.Delay(50);
        }

        Assert.Equal(0, await top);
        Assert.Empty(io.Error);
        Assert.DoesNotContain('\x1b', io.Out);
        var heads = Heads().Matches(io.Out);
        Assert.Equal(2, heads.Count);
        Assert.All(heads, head => Assert.StartsWith(_daemon.Url + ", up ", head.Value, StringComparison.Ordinal));
        Assert.Equal(10, NbdLines().Count(io.Out));
        Assert.Equal(14, StageLines().Count(io.Out));
        Assert.Matches(@"\nstage  device_write +[1-9][0-9]* +[0-9.]+ [mun]?s +[0-9.]+ [mun]?s +[0-9.]+ [mun]?s\n", io.Out);
        Assert.Matches(@"\ndisks       read 0 B/s, written [1-9][0-9.]* MiB/s, ", io.Out);
        Assert.Matches(@"\nspace       live 1 MiB, history ", io.Out);
        Assert.Matches(@"\ncompaction  idle, debt 0 B, ", io.Out);
    }

    [Fact]
    public async Task A_daemon_that_goes_away_is_told_once_and_waited_for()
    {
        _daemon.HttpPort = _daemon.Process.HttpEndPoint.Port;
        var io = TestIo.Create();
        using var stop = new CancellationTokenSource();
        var top = CliMain.RunAsync(["top", "--daemon", _daemon.Url], io.Io, stop.Token);
        await BecomesAsync(() => io.Out.Contains("stage  seal", StringComparison.Ordinal));
        await _daemon.StopAsync();
        await BecomesAsync(() => io.Error.Length > 0);
        await Task.Delay(1200);
        Assert.Matches("^cloudfs: no daemon answers at .*; trying again\n$", io.Error);

        var shown = io.Out.Length;
        await _daemon.RestartAsync();
        await BecomesAsync(() => io.Out.Length > shown);
        Assert.DoesNotMatch("-[0-9]", io.Out[shown..]);
        await stop.CancelAsync();
        Assert.Equal(0, await top);
        Assert.Single(io.Error.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task Without_a_daemon_it_is_one_line_and_status_1_at_first_and_at_the_end()
    {
        var url = _daemon.Url;
        var io = TestIo.Create();
        var top = io.RunAsync("top", "--count", "2", "--daemon", url);
        await BecomesAsync(() => io.Out.Length > 0);
        await _daemon.StopAsync();
        Assert.Equal(1, await top);

        io = TestIo.Create();
        Assert.Equal(1, await io.RunAsync("top", "--daemon", url));
        Assert.Empty(io.Out);
        Assert.Matches("^cloudfs: no daemon answers at [^\n]*\n$", io.Error);
    }

    [Fact]
    public async Task On_a_terminal_it_draws_in_place_within_its_size_and_q_ends_it()
    {
        var keys = new Queue<char>("x");
        var io = TestIo.Create(terminal: new Terminal(() => (40, 6), () => keys.TryDequeue(out var key) ? key : null));
        var top = io.RunAsync("top", "--daemon", _daemon.Url);
        await BecomesAsync(() => io.Out.Split("\x1b[H").Length > 2);
        keys.Enqueue('q');
        Assert.Equal(0, await top);
        Assert.StartsWith("\x1b[?25l\x1b[2J\x1b[H", io.Out, StringComparison.Ordinal);
        Assert.EndsWith("\x1b[?25h", io.Out, StringComparison.Ordinal);
        var frames = io.Out.Split("\x1b[H")[1..];
        Assert.All(frames, frame => Assert.Equal(5, frame.Split('\n').Length - 1));
        Assert.All(frames[0].Split('\n')[..5], line => Assert.True(line.Length <= 40 + "\x1b[K".Length, line));
    }

    private static async Task BecomesAsync(Func<bool> condition)
    {
        for (var i = 0; i < 1_000 && !condition(); i++)
        {
            await Task.Delay(10);
        }

        Assert.True(condition());
    }

    [GeneratedRegex("^http.*$", RegexOptions.Multiline)]
    private static partial Regex Heads();

    [GeneratedRegex("^nbd    (read|write|flush|trim|write_zeroes) ", RegexOptions.Multiline)]
    private static partial Regex NbdLines();

    [GeneratedRegex("^stage  [a-z_]+ ", RegexOptions.Multiline)]
    private static partial Regex StageLines();
}
