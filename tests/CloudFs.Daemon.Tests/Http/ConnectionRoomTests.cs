using System.Net.Sockets;
using System.Text;
using CloudFs.Daemon.Http;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.Daemon.Tests.Http;

/// <summary>A flood of connections that say nothing pushes out itself, and nobody who is served.</summary>
public sealed class ConnectionRoomTests
{
    [Fact]
    public async Task Half_open_connections_lock_nobody_out()
    {
        await using var daemon = await TestDaemon.StartAsync();
        var disk = await daemon.NewDiskAsync();
        await using var live = await daemon.Http.GetStreamAsync(daemon.At("/stream?" + disk));
        await live.ReadExactlyAsync(new byte[512]);
        var flood = new List<Socket>();
        try
        {
            for (var i = 0; i < HttpLimits.MaxConnections + 300; i++)
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                flood.Add(socket);
                await socket.ConnectAsync(daemon.Process.HttpEndPoint);
                await socket.SendAsync(Encoding.ASCII.GetBytes("GET /he"));
            }

            using var newcomer = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
            Assert.Contains("\"ok\"", await newcomer.GetStringAsync(daemon.At("/healthz")), StringComparison.Ordinal);
            var metrics = await newcomer.GetStringAsync(daemon.At("/metrics"));
            Assert.DoesNotContain("cloudfs_http_pushed_out_total 0\n", metrics, StringComparison.Ordinal);

            // The stream was busy all the while, so it is still there.
            await daemon.PutAsync(disk, 0, [1]);
            await live.ReadExactlyAsync(new byte[512]).AsTask().WaitAsync(TimeSpan.FromSeconds(5));
        }
        finally
        {
            flood.ForEach(socket => socket.Dispose());
        }

        await daemon.StopAsync().WaitAsync(TimeSpan.FromSeconds(10));
        Assert.InRange(daemon.Log.ToString().Split('\n').Length, 0, 30);
    }
}
