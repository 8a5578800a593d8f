using System.Globalization;
using CloudFs.SystemTests.Harness;
using CloudFs.Tests.Shared;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>What was acknowledged is there after the daemon was killed, however often, whatever it was doing.</summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private const int Kills = 22;
    private const int DiskBytes = 12 << 20;

    // The promise is 1.5 s on a machine of one's own; what is asserted leaves room for neighbours.
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(5);

    [RequiresFact("python3", "curl")]
    public async Task Killed_again_and_again_under_load_it_keeps_what_it_acknowledged_and_makes_nothing_up()
    {
        // Large enough that the history of all this stays whole, for the replay.
        await using var host = await Host.StartAsync(new HostSetup { Size = "64G" });
        var disks = new[] { await host.NewDiskAsync(DiskBytes, "one"), await host.NewDiskAsync(DiskBytes, "two") };
        var models = disks.Select(_ => new SectorModel(DiskBytes)).ToArray();
        var half = DiskBytes / SectorModel.Sector / 2;
        (int Disk, Writer Writer)[] writers =
        [
            (0, new Writer(models[0], 0, half, 1)),
            (0, new Writer(models[0], half, half, 2)),
            (1, new Writer(models[1], 0, 2 * half, 3, pause: 1)),
        ];
        var random = new Random(4);
        var times = new List<double>();
        for (var kill = 1; kill <= Kills; kill++)
        {
            var work = writers.Select(pair => Task.Factory.StartNew(
                () => pair.Writer.Run(host.Socket, disks[pair.Disk]),
                CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
            await Task.Delay(random.Next(30, 450));
            host.Kill();
            await Task.WhenAll(work);
            var took = await host.StartAgainAsync();
            times.Add(took.TotalMilliseconds);
            Assert.True(took < StartLimit, $"back only after {took.TotalSeconds:F1} s");
            for (var disk = 0; disk < disks.Length; disk++)
            {
                using var peer = NbdPeer.Connect(host.Socket, disks[disk]);
                var all = peer.ReadAll();
                foreach (var (_, writer) in writers.Where(pair => pair.Disk == disk))
                {
                    Assert.Null(writer.Settle(all));
                }

                Assert.Null(models[disk].Complaint(all, 0));
                if (disk == 1 && (kill is Kills / 2 or Kills))
                {
                    Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
                    Assert.Null(models[disk].Complaint(await host.ReplayAsync(disks[disk], quick: true), 0));
                }
            }

            Assert.Equal("ok", (await host.JsonAsync("/healthz"))["status"]!.GetValue<string>());
        }

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{Kills} kills, {writers.Sum(pair => pair.Writer.Acknowledged)} writes acknowledged, "
            + $"{writers.Sum(pair => pair.Writer.Durable)} of them or flushes as durable; back in "
            + $"{times.Min():F0} to {times.Max():F0} ms, {times.Average():F0} on average, process start included"));
        var heads = (await host.TextAsync("/heads")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Order().ToArray();
        await host.StopAsync();
        var verified = (await host.VerifyAsync()).Ok();
        Assert.Equal(heads, verified.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ')[0]).Order());
    }

    [Fact]
    public async Task A_client_that_reconnects_after_a_kill_and_flushes_has_lost_nothing()
    {
        const int Sectors = 64;
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        for (var round = 0; round < 3; round++)
        {
            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                for (var first = 0; first + Sectors <= model.Sectors; first += Sectors)
                {
                    var sequence = model.Next();
                    Assert.Equal(0u, peer.Do(
                        NbdPeer.Write, (long)first * SectorModel.Sector, Sectors * SectorModel.Sector,
                        SectorModel.Contents(first, Sectors, sequence)));
                    model.Set(first, Sectors, sequence);
                }

                host.Kill();
            }

            await host.StartAgainAsync();
            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
                Assert.Null(model.Complaint(peer.ReadAll(), 0));
            }
        }

        // The last state outlives a death right after the flush too.
        host.Kill();
        await host.StartAgainAsync();
        using var last = NbdPeer.Connect(host.Socket, disk);
        Assert.Null(model.Complaint(last.ReadAll(), 0));
    }

    [Fact]
    public async Task Killed_while_it_starts_it_comes_back_all_the_same()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        var writer = new Writer(model, 0, model.Sectors, 5);
        var random = new Random(6);
        var work = Task.Factory.StartNew(
            () => writer.Run(host.Socket, disk), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Task.Delay(500);
        host.Kill();
        await work;
        for (var kill = 0; kill < 8; kill++)
        {
            using var starting = Host.Launch(host.Device, null, FreePort.Next(), FreePort.Next(), host.Socket);
            await Task.Delay(random.Next(60, 450));
            starting.Kill();
            await starting.WaitForExitAsync();
        }

        await host.StartAgainAsync();
        using var peer = NbdPeer.Connect(host.Socket, disk);
        var all = peer.ReadAll();
        Assert.Null(writer.Settle(all));
        Assert.Null(model.Complaint(all, 0));
    }

    [Fact]
    public async Task After_a_restart_a_new_view_comes_before_the_first_write_and_an_unwritten_disk_keeps_its_two_equal_ids()
    {
        await using var host = await Host.StartAsync();
        var (written, unwritten) = (await host.NewDiskAsync(DiskBytes), await host.NewDiskAsync(DiskBytes));
        using (var peer = NbdPeer.Connect(host.Socket, written))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 4096, new byte[4096].AsSpan(), NbdPeer.Fua));
        }

        async Task<int> Epoch() => (await host.JsonAsync("/disks/" + written))["view"]!["epoch"]!.GetValue<int>();
        var epoch = await Epoch();
        host.Kill();
        await host.StartAgainAsync();
        using (var peer = NbdPeer.Connect(host.Socket, written))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 4096, SectorModel.Contents(0, 8, 1), NbdPeer.Fua));
        }

        Assert.Equal(epoch + 1, await Epoch());
        Assert.Equal(unwritten, await host.HeadAsync(unwritten));
    }
}
