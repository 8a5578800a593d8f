using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using CloudFs.Daemon.Nbd;
using CloudFs.Daemon.Nbd.Wire;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>Coming up, going down, and saying goodbye.</summary>
public sealed class StopTests
{
    private readonly MemoryTarget _disk = new(MemoryTarget.SomeId, "demo", 1 << 30);

    [Fact]
    public async Task Disconnect_waits_for_what_is_under_way()
    {
        _disk.Delay = _ => Task.Delay(100);
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        var cookie = client.SendRequest(NbdCommand.Write, 0, 512, 0, DataTests.Pattern(512, 1));
        client.SendRequest(NbdCommand.Disconnect, 0, 0);
        Assert.Equal(cookie, client.ReceiveMessage().Cookie);
        Assert.True(client.IsClosed());
        Assert.Equal(DataTests.Pattern(512, 1), _disk.Peek(0, 512));
    }

    [Fact]
    public async Task A_client_that_vanishes_leaves_nothing_behind()
    {
        _disk.Delay = _ => Task.Delay(50);
        await using var server = await TestServer.StartAsync(_disk);
        for (var i = 0; i < 20; i++)
        {
            var client = server.Attach("demo");
            client.SendRequest(NbdCommand.Write, 0, 4096, 0, DataTests.Pattern(4096, 7));
            client.SendRequest(NbdCommand.Read, 0, 1 << 20);
            client.SendRequest(NbdCommand.Write, 0, 2 << 20, 0, new byte[10_000]);
            client.Dispose();
        }

        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Connections == 0));
        Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Pool.Rented == 0));
        Assert.Equal(DataTests.Pattern(4096, 7), _disk.Peek(0, 4096));
    }

    [Fact]
    public async Task Stopping_answers_what_is_under_way_and_closes()
    {
        var gate = new TaskCompletionSource();
        _disk.Delay = what => what == "write" ? gate.Task : Task.CompletedTask;
        await using var server = await TestServer.StartAsync(_disk);
        using var idle = server.Attach("demo");
        using var half = server.Client();
        using var busy = server.Attach("demo");
        var cookie = busy.SendRequest(NbdCommand.Write, 0, 512, 0, DataTests.Pattern(512, 1));
        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Requests["write"] == 1));

        var stopping = server.Server.StopAsync(TimeSpan.FromSeconds(10));
        Assert.True(idle.IsClosed());
        Assert.False(stopping.IsCompleted);
        gate.SetResult();
        var message = busy.ReceiveMessage();
        Assert.Equal((cookie, NbdError.None), (message.Cookie, message.Error));
        Assert.True(busy.IsClosed());
        await stopping.WaitAsync(TimeSpan.FromSeconds(5));
        Assert.False(File.Exists(server.SocketPath));
    }

    [Fact]
    public async Task Stopping_under_load_keeps_to_its_grace()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using var deaf = server.Attach("demo");
        for (var i = 0; i < 100; i++)
        {
            deaf.SendRequest(NbdCommand.Read, 0, 1 << 20, CommandFlags.DontFragment);
        }

        var load = Enumerable.Range(0, 4).Select(_ => Task.Factory.StartNew(
            () => WriteUntilToldOff(server),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)).ToArray();
        await Task.Delay(300);
        var watch = Stopwatch.StartNew();
        await server.Server.StopAsync(TimeSpan.FromSeconds(1));
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(5));
        await Task.WhenAll(load).WaitAsync(TimeSpan.FromSeconds(10));
        Assert.Equal(0, server.Server.GetMetrics().Connections);
    }

    [Fact]
    public async Task An_operation_that_never_ends_does_not_keep_the_server_from_stopping()
    {
        var never = new TaskCompletionSource();
        _disk.Delay = _ => never.Task;
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendRequest(NbdCommand.Flush, 0, 0);
        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Requests["flush"] == 1));
        await server.Server.StopAsync(TimeSpan.FromMilliseconds(200)).WaitAsync(TimeSpan.FromSeconds(5));
        never.SetResult();
        Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Pool.Rented == 0));
    }

    [Fact]
    public async Task Tcp_and_unix_serve_the_same_disks()
    {
        await using var server = await TestServer.StartAsync(o => o with { Endpoints = [TestServer.AnyPort] }, [_disk]);
        Assert.Equal($"unix:{server.SocketPath}", server.Server.Addresses[1]);
        using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        tcp.Connect(IPEndPoint.Parse(server.Server.Addresses[0]));
        using var remote = new NbdTestClient(tcp);
        remote.Attach("demo", structured: true);
        using var local = server.Attach("demo");
        var data = DataTests.Pattern(2 << 20, 1);
        Assert.Equal(NbdError.None, remote.Write(0, data));
        Assert.True(data.AsSpan().SequenceEqual(local.Read(0, data.Length)));
        Assert.True(data.AsSpan().SequenceEqual(remote.Read(0, data.Length)));
    }

    [Fact]
    public async Task A_socket_file_is_private_and_only_a_stale_one_is_replaced()
    {
        await using var server = await TestServer.StartAsync(_disk);
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(server.SocketPath));
        }

        var refused = await Assert.ThrowsAsync<IOException>(() => StartAt(server.SocketPath));
        Assert.Contains("another process listens", refused.Message, StringComparison.Ordinal);
        using (var client = server.Attach("demo"))
        {
            Assert.Equal(NbdError.None, client.Do(NbdCommand.Flush, 0, 0));
        }

        var folder = Path.GetDirectoryName(server.SocketPath)!;
        var file = Path.Combine(folder, "file");
        await File.WriteAllTextAsync(file, "precious");
        await Assert.ThrowsAsync<IOException>(() => StartAt(file));
        Assert.Equal("precious", await File.ReadAllTextAsync(file));
        await Assert.ThrowsAsync<IOException>(() => StartAt(folder));
        await Assert.ThrowsAsync<IOException>(() => StartAt(Path.Combine(folder, new string('x', 200))));

        var stale = Path.Combine(folder, "stale");
        using (var left = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            left.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder, "moved")));
            File.Move(Path.Combine(folder, "moved"), stale);
        }

        await using var second = await StartAt(stale);
        Assert.Equal(["unix:" + stale], second.Addresses);
    }

    [Fact]
    public async Task An_address_in_use_is_one_clear_line()
    {
        await using var server = await TestServer.StartAsync(o => o with { Endpoints = [TestServer.AnyPort] }, [_disk]);
        var taken = IPEndPoint.Parse(server.Server.Addresses[0]);
        var options = new NbdServerOptions { Endpoints = [TestServer.AnyPort, taken] };
        await using var second = new NbdServer(new MemoryCatalog(_disk), options, NullLogger.Instance);
        var refused = await Assert.ThrowsAsync<IOException>(() => second.StartAsync(CancellationToken.None));
        Assert.Contains(taken.ToString(), refused.Message, StringComparison.Ordinal);
        Assert.Empty(second.Addresses);
    }

    private static void WriteUntilToldOff(TestServer server)
    {
        using var client = server.Attach("demo");
        var data = new byte[65536];
        try
        {
            while (client.Write(0, data) == NbdError.None)
            {
            }
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // Closed between two requests.
        }
    }

    private async Task<NbdServer> StartAt(string path)
    {
        var server = new NbdServer(
            new MemoryCatalog(_disk), new NbdServerOptions { UnixSocketPath = path }, NullLogger.Instance);
        await server.StartAsync(CancellationToken.None);
        return server;
    }
}
