using System.Diagnostics;
using System.Net.Sockets;
using CloudFs.Daemon.Nbd.Wire;
using Xunit;

namespace CloudFs.Daemon.Tests.Nbd;

/// <summary>One client's misbehaviour costs that client alone.</summary>
public sealed class BoundsTests
{
    private readonly MemoryTarget _disk = new(MemoryTarget.SomeId, "demo", 1 << 30);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_client_that_reads_nothing_holds_up_nobody(bool isLate)
    {
        _disk.Delay = isLate ? _ => Task.Delay(1) : null;
        await using var server = await TestServer.StartAsync(_disk);
        var clients = Enumerable.Range(0, 12).Select(_ => server.Attach("demo")).ToList();
        foreach (var stalled in clients)
        {
            for (var i = 0; i < 200; i++)
            {
                stalled.SendRequest(NbdCommand.Read, 0, 1 << 20, CommandFlags.DontFragment);
            }
        }

        // They hold all of the shared memory there is, and no more than that and their own MiB.
        var shared = server.Server.Services.Shared;
        Assert.True(await TestServer.BecomesAsync(() => shared.IsShort));
        Assert.InRange(shared.Used, 200L << 20, 256L << 20);

        using var honest = server.Attach("demo");
        var data = DataTests.Pattern(8 << 20, 1);
        var watch = Stopwatch.StartNew();
        Assert.Equal(NbdError.None, honest.Write(64 << 20, data));
        Assert.True(data.AsSpan().SequenceEqual(honest.Read(64 << 20, data.Length)));
        Assert.Equal(NbdError.None, honest.Do(NbdCommand.Flush, 0, 0));
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(8));

        // Who reads again gets every answer that it is owed.
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(1 << 20, clients[0].ReceiveMessage().Data.Length);
        }

        clients.ForEach(c => c.Dispose());
        Assert.True(await TestServer.BecomesAsync(
            () => server.Server.GetMetrics() is { SharedBytes: 0, Connections: 1 }));
        Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Pool.Rented == 1));
    }

    [Fact]
    public async Task A_read_that_needs_shared_memory_gets_it_from_those_who_stall()
    {
        await using var server = await TestServer.StartAsync(
            o => o with { StallLimit = TimeSpan.FromSeconds(1), MaxBytes = 64 << 20, MaxBytesPerConnection = 32 << 20 },
            [_disk]);
        var stalled = Enumerable.Range(0, 3).Select(_ => server.Attach("demo")).ToList();
        stalled.ForEach(c => Enumerable.Range(0, 50).ToList().ForEach(
            _ => c.SendRequest(NbdCommand.Read, 0, 1 << 20, CommandFlags.DontFragment)));
        Assert.True(await TestServer.BecomesAsync(() => server.Server.Services.Shared.IsShort));

        // With simple replies 32 MiB must be in memory at once.
        using var honest = server.Attach("demo", structured: false);
        Assert.Equal(new byte[32 << 20], honest.Read(0, 32 << 20));
        Assert.InRange(server.Server.GetMetrics().Connections, 1, 3);
        stalled.ForEach(c => c.Dispose());
    }

    [Fact]
    public async Task Clients_that_stop_within_a_payload_hold_up_nobody()
    {
        await using var server = await TestServer.StartAsync(_disk);
        var stalled = Enumerable.Range(0, 50).Select(_ => server.Attach("demo")).ToList();
        foreach (var client in stalled)
        {
            client.Send(0x25609513U, (ushort)0, (ushort)1, 1UL, 0UL, 32U << 20, new byte[100_000]);
        }

        using var honest = server.Attach("demo");
        Assert.Equal(NbdError.None, honest.Write(0, DataTests.Pattern(32 << 20, 1)));
        stalled.ForEach(c => c.Dispose());
        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Connections == 1));
        Assert.Equal(DataTests.Pattern(4096, 1), honest.Read(0, 4096));
    }

    [Fact]
    public async Task Requests_under_way_are_bounded_in_number()
    {
        var gate = new TaskCompletionSource();
        _disk.Delay = _ => gate.Task;
        await using var server = await TestServer.StartAsync(
            o => o with { MaxRequestsPerConnection = 16 }, [_disk]);
        using var client = server.Attach("demo");
        for (var i = 0; i < 100; i++)
        {
            client.SendRequest(NbdCommand.Flush, 0, 0);
        }

        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Requests["flush"] == 17));
        await Task.Delay(100);
        Assert.Equal(17, server.Server.GetMetrics().Requests["flush"]);
        gate.SetResult();
        for (var i = 0; i < 100; i++)
        {
            Assert.Equal(NbdError.None, client.ReceiveMessage().Error);
        }
    }

    [Fact]
    public async Task A_flood_of_half_open_connections_keeps_nobody_out()
    {
        await using var server = await TestServer.StartAsync(
            o => o with { MaxHandshakes = 64, Endpoints = [TestServer.AnyPort] }, [_disk]);
        using var before = server.Attach("demo");
        List<Socket> flood = [];
        for (var i = 0; i < 2000; i++)
        {
            flood.Add(server.Connect());
            if (i % 4 == 0)
            {
                // Some of them say a few words.
                flood[^1].Send([0, 0, 0, 3]);
            }

            if (i % 250 == 249)
            {
                using var during = server.Attach("demo");
                Assert.Equal(NbdError.None, during.Write(0, new byte[4096]));
            }
        }

        Assert.Equal(NbdError.None, before.Write(0, new byte[4096]));
        Assert.True(await TestServer.BecomesAsync(
            () => server.Server.GetMetrics() is { Handshakes: <= 64, Refused: >= 1900 }));
        flood.ForEach(s => s.Dispose());
        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Handshakes == 0));
    }

    [Fact]
    public async Task A_handshake_has_its_time()
    {
        await using var server = await TestServer.StartAsync(
            o => o with { HandshakeTimeout = TimeSpan.FromSeconds(1) }, [_disk]);
        using var silent = server.Client();
        using var talker = server.Client();
        talker.Greet();
        var watch = Stopwatch.StartNew();
        Assert.ThrowsAny<Exception>(() =>
        {
            while (watch.Elapsed < TimeSpan.FromSeconds(10))
            {
                talker.Ask(8);
                Thread.Sleep(20);
            }
        });
        silent.Receive(18);
        Assert.True(silent.IsClosed());
        Assert.InRange(watch.Elapsed, TimeSpan.FromSeconds(0.5), TimeSpan.FromSeconds(5));
        using var attached = server.Attach("demo");
        await Task.Delay(1500);
        Assert.Equal(NbdError.None, attached.Do(NbdCommand.Flush, 0, 0));
    }

    [Fact]
    public async Task Beyond_the_limit_of_connections_the_next_is_told()
    {
        await using var server = await TestServer.StartAsync(o => o with { MaxConnections = 2 }, [_disk]);
        using var first = server.Attach("demo");
        using (server.Attach("demo"))
        {
            using var third = server.Client();
            third.Greet();
            var answer = Assert.Single(third.Ask(7, 0U, (ushort)0));
            Assert.Equal(OptionReply.ErrPolicy, answer.Type);
            third.SendOption(1, "demo");
            Assert.True(third.IsClosed());
        }

        Assert.True(await TestServer.BecomesAsync(() => server.Server.GetMetrics().Connections == 1));
        using var next = server.Attach("demo");
    }

    [Fact]
    public async Task An_absurd_write_ends_the_connection_and_a_long_one_is_skipped()
    {
        await using var server = await TestServer.StartAsync(_disk);
        using (var client = server.Attach("demo"))
        {
            var skipped = new byte[(32 << 20) + 512];
            Array.Fill(skipped, (byte)1);
            Assert.Equal(NbdError.Invalid, client.Write(0, skipped));
            Assert.Equal(NbdError.Invalid, client.Write(1, new byte[512]));
            Assert.Equal(NbdError.NoSpace, client.Write(1 << 30, skipped.AsSpan(0, 1 << 20)));
            Assert.Equal(new byte[4096], client.Read(0, 4096));
            client.SendRequest(NbdCommand.Write, 0, (64U << 20) + 512);
            Assert.True(client.IsClosed());
        }

        using var other = server.Attach("demo");
        Assert.Equal(NbdError.None, other.Do(NbdCommand.Flush, 0, 0));
        Assert.Equal(1, server.Server.GetMetrics().ProtocolErrors);
    }

    [Fact]
    public async Task A_wrong_magic_ends_the_connection_after_what_was_under_way()
    {
        _disk.Delay = _ => Task.Delay(50);
        await using var server = await TestServer.StartAsync(_disk);
        using var client = server.Attach("demo");
        client.SendRequest(NbdCommand.Write, 0, 512, 0, new byte[512]);
        client.SendBytes(new byte[28]);
        Assert.Equal(NbdError.None, client.ReceiveMessage().Error);
        Assert.True(client.IsClosed());
    }
}
