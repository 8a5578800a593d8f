using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using CloudFs.Core.Replication;
using CloudFs.Daemon.Cluster;
using CloudFs.Daemon.Hosting;
using CloudFs.Daemon.Http;
using CloudFs.Daemon.Links;
using CloudFs.Daemon.Nbd;
using CloudFs.Tests.Shared;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace CloudFs.Daemon.Tests.Links;

/// <summary>Links between daemons, over a real HTTP face whose links are echoed: dialled, refused, ended.</summary>
public sealed class LinkTests : IAsyncLifetime
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    private readonly CancellationTokenSource _soon = new(Soon);
    private readonly ClusterView _cluster = new();
    private TestDaemon _daemon = null!;
    private HttpFace _face = null!;
    private LinkRoom _links = null!;

    private string Address => _face.EndPoint.ToString();

    public async Task InitializeAsync()
    {
        _daemon = await TestDaemon.StartAsync();
        _face = await HttpFace.StartAsync(new IPEndPoint(IPAddress.Loopback, 0), NullLoggerFactory.Instance, stopping =>
        {
            _links = new LinkRoom(EchoAsync, NullLogger.Instance, stopping);
            return new HttpServices
            {
                Engine = _daemon.Process.Engine,
                Facts = new DaemonFacts { Time = TimeProvider.System, DevicePath = _daemon.DevicePath },
                Health = new HealthBoard(),
                Logger = NullLogger.Instance,
                Stopping = stopping,
                Nbd = new NbdServer(_daemon.Process.Engine, new NbdServerOptions(), NullLogger<NbdServer>.Instance),
                Links = _links,
                Cluster = _cluster,
            };
        });
    }

    public async Task DisposeAsync()
    {
        await _face.StopAsync(TimeSpan.FromSeconds(2));
        await _face.DisposeAsync();
        await _daemon.DisposeAsync();
        _cluster.Dispose();
        _soon.Dispose();
    }

    [Fact]
    public async Task What_is_sent_arrives_whole_and_in_order_in_both_directions()
    {
        await using var channel = await DialAsync();
        Assert.IsType<SocketChannel>(channel);
        Assert.Equal(Address, channel.Address);
        var sent = RandomNumberGenerator.GetBytes(32 << 20);

        // Far more than the sockets hold: both ends wait for room again and again.
        var sending = SendPiecesAsync(channel, sent);
        Assert.Equal(sent, await ReceiveAsync(channel, sent.Length));
        await sending;
        Assert.Equal(1, _links.Open);
        Assert.Equal(1, _links.Served);
    }

    [Fact]
    public async Task A_link_takes_turns_for_long()
    {
        await using var channel = await DialAsync();
        for (var i = 0; i < 2000; i++)
        {
            var sent = new byte[1 + (i * 37 % 9000)];
            Random.Shared.NextBytes(sent);
            await channel.SendAsync(sent, _soon.Token);
            Assert.Equal(sent, await ReceiveAsync(channel, sent.Length));
        }
    }

    [Fact]
    public async Task A_request_that_comes_in_pieces_is_served_by_the_server()
    {
        using var client = new TcpClient();
        await client.ConnectAsync(_face.EndPoint, _soon.Token);
        var request = LinkHeads.Request(Address);
        await client.GetStream().WriteAsync(request.AsMemory(0, 20), _soon.Token);
        await Task.Delay(100);
        await client.GetStream().WriteAsync(request.AsMemory(20), _soon.Token);
        var head = new byte[LinkHeads.MaxBytes];
        int count = 0, length;
        while ((length = LinkHeads.LengthOfAnswer(head.AsSpan(0, count), out var refusal)) == 0)
        {
            Assert.Null(refusal);
            count += await client.GetStream().ReadAsync(head.AsMemory(count), _soon.Token);
        }

        Assert.Equal(length, count);
        var sent = RandomNumberGenerator.GetBytes(100_000);
        await client.GetStream().WriteAsync(sent, _soon.Token);
        var back = new byte[sent.Length];
        await client.GetStream().ReadExactlyAsync(back, _soon.Token);
        Assert.Equal(sent, back);
        Assert.Equal(1, _links.Served);
    }

    [Fact]
    public async Task Without_an_upgrade_it_says_what_it_expects()
    {
        using var answer = await _daemon.Http.GetAsync(new Uri($"http://{Address}/cluster/link"), _soon.Token);
        Assert.Equal(HttpStatusCode.UpgradeRequired, answer.StatusCode);
        Assert.Equal("cloudfs-link/1", answer.Headers.Upgrade.Single().ToString());
        Assert.Contains("cloudfs-link/1", await answer.Content.ReadAsStringAsync(_soon.Token), StringComparison.Ordinal);
        Assert.Equal(0, _links.Open);
    }

    [Fact]
    public async Task There_are_so_many_links_and_no_more()
    {
        for (var i = 0; i < LinkRoom.MaxLinks; i++)
        {
            Assert.True(_links.TryEnter());
        }

        var refused = await Assert.ThrowsAsync<IOException>(DialAsync);
        Assert.Contains("503", refused.Message, StringComparison.Ordinal);
        _links.Leave();
        await (await DialAsync()).DisposeAsync();
        for (var i = 1; i < LinkRoom.MaxLinks; i++)
        {
            _links.Leave();
        }
    }

    [Fact]
    public async Task Cancelling_and_disposing_end_who_waits()
    {
        await using var cancelled = await DialAsync();
        using var stop = new CancellationTokenSource();
        var receiving = cancelled.ReceiveAsync(new byte[10], stop.Token).AsTask();
        Assert.False(receiving.IsCompleted);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving.WaitAsync(Soon));

        var disposed = await DialAsync();
        receiving = disposed.ReceiveAsync(new byte[10], CancellationToken.None).AsTask();
        await disposed.DisposeAsync();
        Assert.True(await receiving.WaitAsync(Soon) <= 0);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => disposed.SendAsync(new byte[1], default).AsTask());
    }

    [Fact]
    public async Task A_sender_that_waits_for_room_is_ended_too()
    {
        await using var channel = await DialAsync();
        using var stop = new CancellationTokenSource();

        // The echo waits for us to receive, so that at some point nothing more goes in.
        var sending = channel.SendAsync(new byte[256 << 20], stop.Token).AsTask();
        await Task.Delay(200);
        Assert.False(sending.IsCompleted);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending.WaitAsync(Soon));
    }

    [Fact]
    public async Task A_daemon_that_stops_ends_its_links()
    {
        await using var channel = await DialAsync();
        await channel.SendAsync(new byte[1], _soon.Token);
        Assert.Single(await ReceiveAsync(channel, 1));
        var began = Environment.TickCount64;
        await _face.StopAsync(TimeSpan.FromSeconds(10));
        Assert.Equal(0, _links.Open);
        Assert.True(Environment.TickCount64 - began < 5000);
        Assert.Equal(0, await channel.ReceiveAsync(new byte[1], _soon.Token));
    }

    [Theory]
    [InlineData("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404")]
    [InlineData("NBDMAGICIHAVEOPT", "no HTTP")]
    [InlineData("", "closed")]
    public async Task Whoever_is_no_daemon_is_named(string answer, string why)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = Task.Run(async () =>
        {
            using var client = await listener.AcceptTcpClientAsync(_soon.Token);
            await client.GetStream().ReadAtLeastAsync(new byte[4096], 60, throwOnEndOfStream: false, _soon.Token);
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(answer), _soon.Token);
        });
        var refused = await Assert.ThrowsAsync<IOException>(() => DialAsync(listener.LocalEndpoint.ToString()!));
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
        await serving;
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("127.0.0.1:0")]
    [InlineData(":80")]
    [InlineData("localhost:port")]
    public async Task An_address_without_a_port_is_refused(string address) =>
        Assert.Contains(address, (await Assert.ThrowsAsync<IOException>(() => DialAsync(address))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Nobody_there_is_told_at_once_and_silence_after_three_seconds()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var address = listener.LocalEndpoint.ToString()!;
        var silent = await Assert.ThrowsAsync<IOException>(() => DialAsync(address));
        Assert.Contains("within 3 s", silent.Message, StringComparison.Ordinal);
        listener.Stop();
        await Assert.ThrowsAsync<IOException>(() => DialAsync(address));
    }

    private static async Task EchoAsync(IPeerChannel channel, CancellationToken cancellation)
    {
        var buffer = new byte[64 << 10];
        while (await channel.ReceiveAsync(buffer, cancellation) is var count && count > 0)
        {
            await channel.SendAsync(buffer.AsMemory(0, count), cancellation);
        }
    }

    private Task<IPeerChannel> DialAsync() => DialAsync(Address);

    private Task<IPeerChannel> DialAsync(string address) =>
        new LinkDialler().DialAsync(new PeerAddress(default, address), _soon.Token).AsTask();

    private async Task SendPiecesAsync(IPeerChannel channel, byte[] bytes)
    {
        for (var at = 0; at < bytes.Length; at += 300_000)
        {
            await channel.SendAsync(bytes.AsMemory(at, Math.Min(300_000, bytes.Length - at)), _soon.Token);
        }
    }

    private async Task<byte[]> ReceiveAsync(IPeerChannel channel, int length)
    {
        var bytes = new byte[length];
        for (var count = 0; count < length;)
        {
            var received = await channel.ReceiveAsync(bytes.AsMemory(count), _soon.Token);
            Assert.True(received > 0);
            count += received;
        }

        return bytes;
    }
}
