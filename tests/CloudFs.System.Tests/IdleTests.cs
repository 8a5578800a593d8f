using System.Globalization;
using System.Net.Sockets;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>At rest it is quiet; strangers and storms at its ports disturb nobody; it keeps nothing of those who went.</summary>
public sealed class IdleTests(ITestOutputHelper output)
{
    [Fact]
    public async Task At_rest_it_logs_nothing_writes_nothing_and_takes_almost_no_time_of_the_processor()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20);
        using var peer = NbdPeer.Connect(host.Socket, disk);
        Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 512, new byte[512]));
        await Task.Delay(1500);
        var (lines, ticks, written) = (host.Log.Count, Ticks(host.Pid), Written(host.Pid));
        await Task.Delay(3000);
        var used = (Ticks(host.Pid) - ticks) * 10;
        output.WriteLine($"{used} ms of processor time in 3 s");
        Assert.Equal(lines, host.Log.Count);
        Assert.Equal(written, Written(host.Pid));
        Assert.True(used <= 60, $"{used} ms");
    }

    [Fact]
    public async Task Two_hundred_connections_that_come_and_go_leave_no_descriptor_behind()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20);
        async Task Storm(int count)
        {
            for (var at = 0; at < count; at++)
            {
                using var peer = NbdPeer.Connect(host.Socket, disk);
                Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 512, SectorModel.Contents(0, 1, at + 1)));
                await host.TextAsync("/heads");
                if (at % 4 == 0)
                {
                    // Gone in the middle of a request.
                    peer.Send(NbdPeer.Write, 0, 7, 0, 1 << 20, new byte[1000]);
                }
            }
        }

        await Storm(20);
        await Task.Delay(500);
        var before = Descriptors(host.Pid);
        await Storm(200);
        var after = 0;
        for (var tries = 0; tries < 40; tries++)
        {
            after = Descriptors(host.Pid);
            if (after <= before + 2)
            {
                break;
            }

            await Task.Delay(100);
        }

        output.WriteLine($"{before} descriptors before, {after} after");
        Assert.True(after <= before + 4, $"{before} descriptors before, {after} after");
    }

    [Fact]
    public async Task Thousands_of_half_open_connections_and_garbage_disturb_no_client()
    {
        const int Strangers = 2000;
        await using var host = await Host.StartAsync();
        const int DiskBytes = 8 << 20;
        var disk = await host.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        var writer = new Writer(model, 0, model.Sectors, 1, pause: 1);
        var work = Task.Factory.StartNew(
            () => writer.Run(host.Socket, disk, TimeSpan.FromSeconds(5)), CancellationToken.None, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        var strangers = new List<Socket>();
        var random = new Random(1);
        var garbage = new byte[4096];
        try
        {
            for (var at = 0; at < Strangers; at++)
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                strangers.Add(socket);
                await socket.ConnectAsync("127.0.0.1", at % 10 == 9 ? host.HttpPort : host.NbdPort);
                if (at % 3 == 0)
                {
                    random.NextBytes(garbage);
                    try
                    {
                        await socket.SendAsync(garbage.AsMemory(0, random.Next(garbage.Length)));
                    }
                    catch (SocketException)
                    {
                        // Closed already, as it should be.
                    }
                }
            }

            Assert.StartsWith(disk, await host.TextAsync("/heads"), StringComparison.Ordinal);
            using var another = NbdPeer.Connect(host.Socket, disk);
            await work;
        }
        finally
        {
            strangers.ForEach(socket => socket.Dispose());
        }

        Assert.Empty(writer.Unanswered);
        using var peer = NbdPeer.Connect(host.Socket, disk);
        Assert.Null(model.Complaint(peer.ReadAll(), 0));
        output.WriteLine($"{writer.Acknowledged} writes beside {Strangers} strangers; {host.Log.Count} log lines");
        Assert.True(host.Log.Count < 200, host.LogTail());
    }

    [Fact]
    public async Task SIGTERM_under_load_ends_it_within_seconds_and_what_was_told_to_be_durable_is()
    {
        await using var host = await Host.StartAsync();
        const int DiskBytes = 32 << 20;
        var disk = await host.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        var half = model.Sectors / 2;
        Writer[] writers = [new(model, 0, half, 1), new(model, half, half, 2)];
        for (var round = 0; round < 3; round++)
        {
            var work = writers.Select(writer => Task.Factory.StartNew(
                () => writer.Run(host.Socket, disk),
                CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
            await Task.Delay(500);
            var (status, took) = await host.TerminateAsync();
            Assert.Equal(0, status);
            Assert.True(took < TimeSpan.FromSeconds(10));
            await Task.WhenAll(work);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"ended in {took.TotalMilliseconds:F0} ms"));
            Assert.DoesNotContain(Directory.EnumerateFiles("/dev/shm", "cloudfs-*.buffer"), host.IsBufferOf);
            (await host.VerifyAsync()).Ok();
            await host.StartAgainAsync();
            using var peer = NbdPeer.Connect(host.Socket, disk);
            var all = peer.ReadAll();
            Assert.All(writers, writer => Assert.Null(writer.Settle(all)));
            Assert.Null(model.Complaint(all, 0));
        }
    }

    private static long Ticks(int pid)
    {
        var fields = File.ReadAllText($"/proc/{pid}/stat").Split(')')[^1].Split(' ');
        return long.Parse(fields[12], CultureInfo.InvariantCulture) + long.Parse(fields[13], CultureInfo.InvariantCulture);
    }

    private static string Written(int pid) =>
        File.ReadAllLines($"/proc/{pid}/io").Single(line => line.StartsWith("write_bytes", StringComparison.Ordinal));

    private static int Descriptors(int pid) => Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd").Count();
}
