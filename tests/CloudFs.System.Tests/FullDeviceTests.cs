using System.Net;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>Full is an error that is told, and that passes.</summary>
public sealed class FullDeviceTests(ITestOutputHelper output)
{
    private const int DiskBytes = 512 << 20;
    private const int Piece = 512 << 10;
    private const int PieceSectors = Piece / SectorModel.Sector;

    [Fact]
    public async Task A_full_device_answers_ENOSPC_goes_on_reading_trimming_and_deleting_and_then_takes_writes_again()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "160M" });
        var disk = await host.NewDiskAsync(DiskBytes, "big");
        var model = new SectorModel(DiskBytes);
        for (var round = 0; round < 3; round++)
        {
            var spare = await host.NewDiskAsync(64 << 20);
            using (var peer = NbdPeer.Connect(host.Socket, spare))
            {
                Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, Piece, SectorModel.Contents(0, PieceSectors, 1)));
            }

            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                var filled = Fill(peer, model);
                output.WriteLine($"round {round}: full after {(long)filled * Piece >> 20} MiB");
                Assert.True(filled * (long)Piece > 40 << 20);
                Assert.Contains("full", await host.TextAsync("/healthz"), StringComparison.Ordinal);
                Assert.Null(Check(peer, model, filled));
                Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
            }

            // By HTTP it is told too, and a deletion works.
            using (var content = Noise(round))
            {
                content.Headers.ContentRange = new(DiskBytes - content.Headers.ContentLength!.Value, DiskBytes - 1);
                using var refused = await host.Http.PutAsync("/blocks?big", content);
                Assert.Equal(HttpStatusCode.InsufficientStorage, refused.StatusCode);
            }

            (await host.CommandAsync("deletedisk", spare, "--yes")).Ok();
            if (round == 1)
            {
                host.Kill();
            }
            else if (round == 2)
            {
                await host.StopAsync();
            }

            if (!host.Runs)
            {
                await host.StartAgainAsync();
            }

            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                Assert.Null(Check(peer, model, (DiskBytes / Piece) - 2));
                Assert.Equal(0u, peer.Do(NbdPeer.Trim, 0, DiskBytes));
                model.Set(0, model.Sectors, 0);
                Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
                for (var at = 0; at < 64; at++)
                {
                    Assert.Equal(0u, Put(peer, model, at));
                }

                Assert.Null(Check(peer, model, 64));
                Assert.Equal(0u, peer.Do(NbdPeer.Trim, 0, DiskBytes));
                model.Set(0, model.Sectors, 0);
            }

            Assert.DoesNotContain("\"full\"", await host.TextAsync("/healthz"), StringComparison.Ordinal);
        }

        await host.StopAsync();
        (await host.VerifyAsync()).Ok();
    }

    [Fact]
    public async Task Killed_again_and_again_while_full_it_comes_back_with_everything()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "160M" });
        var disk = await host.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        for (var kill = 0; kill < 6; kill++)
        {
            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                Assert.Null(Check(peer, model, 300));
                Fill(peer, model);
                if (kill % 2 == 1)
                {
                    // Half of it goes: room for the next round, with segments that are neither live nor dead.
                    for (var at = 0; at < 300; at += 2)
                    {
                        Assert.Equal(0u, peer.Do(NbdPeer.Trim, (long)at * Piece, Piece));
                        model.Set(at * PieceSectors, PieceSectors, 0);
                    }
                }

                host.Kill();
            }

            await host.StartAgainAsync();
        }

        using var last = NbdPeer.Connect(host.Socket, disk);
        Assert.Null(Check(last, model, 300));
        Assert.Equal(0u, last.Do(NbdPeer.Trim, 0, DiskBytes));
        for (var at = 0; at < 64; at++)
        {
            Assert.Equal(0u, Put(last, model, at));
        }

        await host.StopAsync();
        (await host.VerifyAsync()).Ok();
    }

    [Fact]
    public async Task Without_its_checkpoints_a_device_whose_segments_were_used_again_is_had_back_from_the_log()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "160M" });
        var (disk, quiet) = (await host.NewDiskAsync(DiskBytes), await host.NewDiskAsync(DiskBytes));
        var (model, unmoved) = (new SectorModel(DiskBytes), new SectorModel(DiskBytes));
        for (var round = 0; round < 6; round++)
        {
            // Few and early, so that they stay while the segments around them go.
            if (round < 2)
            {
                using var peer = NbdPeer.Connect(host.Socket, quiet);
                Assert.Equal(0u, Put(peer, unmoved, round));
            }

            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                for (var at = 0; at < 70; at++)
                {
                    Assert.Equal(0u, Put(peer, model, at));
                }
            }

            // A new view each time.
            host.Kill();
            if (round % 3 == 2)
            {
                Checkpointless(host.Device);
            }

            await host.StartAgainAsync();
            Assert.True((await host.JsonAsync("/disks/" + disk))["writable"]!.GetValue<bool>(), host.LogTail());
            using var one = NbdPeer.Connect(host.Socket, disk);
            using var two = NbdPeer.Connect(host.Socket, quiet);
            Assert.Null(Check(one, model, 100));
            Assert.Null(Check(two, unmoved, 100));
        }

        await host.StopAsync();
        (await host.VerifyAsync()).Ok();
    }

    private static void Checkpointless(string device)
    {
        using var file = File.OpenWrite(device);
        file.Position = 2 << 20;
        file.Write(new byte[4 << 20]);
    }

    [RequiresFact(RequiresFactAttribute.Mount)]
    public async Task A_file_on_a_full_file_system_is_told_and_brings_nothing_down()
    {
        using var scratch = new Scratch();
        (await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=120M", "tmpfs", scratch.Folder])).Ok();
        try
        {
            await using var host = await Host.StartAsync(new HostSetup { Size = "1G", Device = scratch.At("device") });
            var disk = await host.NewDiskAsync(DiskBytes);
            var model = new SectorModel(DiskBytes);
            uint error;
            var at = 0;
            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                do
                {
                    error = Put(peer, model, at++);
                }
                while (error == 0 && at < DiskBytes / Piece);

                output.WriteLine($"refused with {error} after {(long)at * Piece >> 20} MiB");
                Assert.True(error is NbdPeer.Enospc or NbdPeer.Eio, $"error {error}");
                Assert.Equal(NbdPeer.Enospc, error);
                Assert.Null(Check(peer, model, at - 1));
                Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
            }

            Assert.True(host.Runs);
            Assert.NotEqual("ok", (await host.JsonAsync("/healthz"))["status"]!.GetValue<string>());
            host.Kill();
            await host.StartAgainAsync();
            using (var peer = NbdPeer.Connect(host.Socket, disk))
            {
                Assert.Null(Check(peer, model, at - 1));
            }

            await host.StopAsync();
        }
        finally
        {
            await Tool.RunAsync("umount", [scratch.Folder]);
        }
    }

    /// <summary>Writes until it is refused; gives how many pieces were taken.</summary>
    private static int Fill(NbdPeer peer, SectorModel model)
    {
        for (var at = 0; at < DiskBytes / Piece; at++)
        {
            var error = Put(peer, model, at);
            if (error != 0)
            {
                Assert.Equal(NbdPeer.Enospc, error);
                return at;
            }
        }

        Assert.Fail("it never became full");
        return 0;
    }

    private static uint Put(NbdPeer peer, SectorModel model, int at)
    {
        var sequence = model.Next();
        var error = peer.Do(
            NbdPeer.Write, (long)at * Piece, Piece, SectorModel.Contents(at * PieceSectors, PieceSectors, sequence));
        if (error == 0)
        {
            model.Set(at * PieceSectors, PieceSectors, sequence);
        }

        return error;
    }

    private static string? Check(NbdPeer peer, SectorModel model, int pieces)
    {
        var read = new byte[Piece];
        for (var at = 0; at < pieces; at++)
        {
            Assert.Equal(0u, peer.TryRead((long)at * Piece, read));
            if (model.Complaint(read, at * PieceSectors) is { } complaint)
            {
                return complaint;
            }
        }

        return null;
    }

    private static ByteArrayContent Noise(int seed)
    {
        var bytes = new byte[1 << 20];
        new Random(seed).NextBytes(bytes);
        return new ByteArrayContent(bytes);
    }
}
