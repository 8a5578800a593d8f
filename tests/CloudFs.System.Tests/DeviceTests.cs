using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using CloudFs.SystemTests.Harness;
using CloudFs.Tests.Shared;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>What a device may be, and what is refused without a byte of it being touched.</summary>
public sealed class DeviceTests(ITestOutputHelper output)
{
    [RequiresFact(RequiresFactAttribute.Loop)]
    public Task A_block_device_of_512_byte_sectors_works_through_kills() => BlockDeviceAsync(512);

    [RequiresFact(RequiresFactAttribute.Loop)]
    public Task A_block_device_of_4096_byte_sectors_works_through_kills() => BlockDeviceAsync(4096);

    [Fact]
    public async Task A_second_daemon_is_refused_and_nuke_and_verify_too_while_one_runs()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20);
        Refused(await DaemonAsync(host.Device));
        OneLine((await Tool.RunAsync(Tool.CloudFs, ["nuke", host.Device, "--yes"])).Ended(1));
        OneLine((await Tool.RunAsync(Tool.CloudFs, ["verify", host.Device])).Ended(1));
        Assert.Equal(disk, await host.HeadAsync(disk));
    }

    [RequiresFact("mkfs.ext4")]
    public async Task A_device_that_holds_a_file_system_is_refused_untouched()
    {
        using var scratch = new Scratch();
        var device = scratch.Sparse("device", 256 << 20);
        (await Tool.RunAsync("mkfs.ext4", ["-q", "-F", device])).Ok();
        var before = Sha256(device);
        Refused(await DaemonAsync(device));
        Refused(await DaemonAsync(device, "1G"));
        Assert.Equal(before, Sha256(device));
        OneLine(await Tool.RunAsync(Tool.CloudFs, ["nuke", device]), status: null);
        Assert.Equal(before, Sha256(device));
        (await Tool.RunAsync(Tool.CloudFs, ["nuke", device, "--yes"])).Ok();
        await using var host = await Host.StartAsync(new HostSetup { Device = device, GiveSize = false });
    }

    [RequiresFact("mkfs.ext4", RequiresFactAttribute.Loop, RequiresFactAttribute.Mount)]
    public async Task A_mounted_device_is_refused_untouched()
    {
        using var scratch = new Scratch();
        var file = scratch.Sparse("device", 256 << 20);
        var folder = Directory.CreateDirectory(scratch.At("tree")).FullName;
        var loop = (await Tool.RunAsync("losetup", ["--find", "--show", file])).Ok().Output.Trim();
        try
        {
            (await Tool.RunAsync("mkfs.ext4", ["-q", "-F", loop])).Ok();
            (await Tool.RunAsync("mount", [loop, folder])).Ok();
            try
            {
                await File.WriteAllTextAsync(Path.Combine(folder, "file"), "here");
                Refused(await DaemonAsync(loop));
                OneLine(await Tool.RunAsync(Tool.CloudFs, ["nuke", loop]), status: null);
                Assert.Equal("here", await File.ReadAllTextAsync(Path.Combine(folder, "file")));
            }
            finally
            {
                (await Tool.RunAsync("umount", [folder])).Ok();
            }

            (await Tool.RunAsync("e2fsck", ["-f", "-n", loop])).Ok();
        }
        finally
        {
            (await Tool.RunAsync("losetup", ["-d", loop])).Ok();
        }
    }

    [Fact]
    public async Task What_is_too_small_missing_or_not_to_be_written_is_refused_with_one_line()
    {
        using var scratch = new Scratch();
        Refused(await DaemonAsync(scratch.At("missing")));
        Assert.False(File.Exists(scratch.At("missing")));
        Refused(await DaemonAsync(scratch.Sparse("small", 50 << 20)));
        Assert.Equal(50 << 20, new FileInfo(scratch.At("small")).Length);
        Refused(await DaemonAsync(scratch.At("tiny"), "10M"));
        Refused(await DaemonAsync(scratch.Folder));
        await File.WriteAllTextAsync(scratch.At("text"), "Dear diary");
        Refused(await DaemonAsync(scratch.At("text"), "1G"));
        Assert.Equal("Dear diary", await File.ReadAllTextAsync(scratch.At("text")));
        var noise = scratch.Random("noise", 200 << 20, 1);
        var before = Sha256(noise);
        Refused(await DaemonAsync(noise));
        Assert.Equal(before, Sha256(noise));
    }

    [RequiresFact("xxhsum")]
    public async Task A_device_of_a_newer_version_is_refused_untouched()
    {
        await using var host = await Host.StartAsync();
        await host.StopAsync();
        foreach (var at in new[] { 0, 1 << 20 })
        {
            await RaiseVersionAsync(host, at);
        }

        var before = Sha256(host.Device, 8 << 20);
        Refused(await DaemonAsync(host.Device));
        Assert.Equal(before, Sha256(host.Device, 8 << 20));
        OneLine((await Tool.RunAsync(Tool.CloudFs, ["verify", host.Device])).Ended(1));
    }

    [Fact]
    public async Task Nuke_asks_where_there_are_disks_and_makes_empty_with_yes()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20);
        await host.StopAsync();
        var asked = await Tool.RunAsync(Tool.CloudFs, ["nuke", host.Device], input: "no\n");
        Assert.NotEqual(0, asked.Status);
        await host.StartAgainAsync();
        Assert.Equal(disk, await host.HeadAsync(disk));
        await host.StopAsync();
        (await Tool.RunAsync(Tool.CloudFs, ["nuke", host.Device, "--yes"])).Ok();
        await host.StartAgainAsync();
        Assert.Empty((await host.TextAsync("/heads")).Trim());
    }

    [Fact]
    public async Task A_sparse_device_of_3_TiB_opens_fast_and_takes_writes_at_the_end_of_a_disk_as_large()
    {
        const long Size = 3L << 40;
        await using var host = await Host.StartAsync(new HostSetup { Size = "3T" });
        var disk = await host.NewDiskAsync(Size);
        var bytes = SectorModel.Contents(0, 2048, 1);
        long[] places = [0, (1L << 31) - 4096, (1L << 32) - 512, 1L << 40, (1L << 41) - 512, Size - (1 << 20)];
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Assert.Equal((ulong)Size, peer.Size);
            foreach (var place in places)
            {
                Assert.Equal(0u, peer.Do(NbdPeer.Write, place, bytes.Length, bytes, NbdPeer.Fua));
            }

            Assert.Equal(NbdPeer.Enospc, peer.Do(NbdPeer.Write, Size, 512, new byte[512]));
        }

        host.Kill();
        var killed = await host.StartAgainAsync();
        await host.StopAsync();
        var stopped = await host.StartAgainAsync();
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"3 TiB: back in {killed.TotalMilliseconds:F0} ms after a kill, {stopped.TotalMilliseconds:F0} ms after a stop"));
        Assert.True(killed < TimeSpan.FromSeconds(5) && stopped < TimeSpan.FromSeconds(5));
        using var again = NbdPeer.Connect(host.Socket, disk);
        var read = new byte[bytes.Length];
        foreach (var place in places)
        {
            Assert.Equal(0u, again.TryRead(place, read));
            Assert.True(read.AsSpan().SequenceEqual(bytes), $"at {place}");
        }

        Assert.Equal(0u, again.Do(NbdPeer.Trim, 4L << 30, 1 << 30));
    }

    [Fact]
    public async Task A_device_grows_with_its_size_and_never_shrinks()
    {
        using var scratch = new Scratch();
        var device = scratch.At("device");
        await using (var host = await Host.StartAsync(new HostSetup { Device = device, Size = "160M" }))
        {
            await host.StopAsync();
        }

        await using (var host = await Host.StartAsync(new HostSetup { Device = device, Size = "1G" }))
        {
            Assert.True((await host.JsonAsync("/host"))["space"]!["capacity"]!.GetValue<long>() > 900 << 20);
            await host.StopAsync();
        }

        Refused(await DaemonAsync(device, "160M"));
        Assert.Equal(1L << 30, new FileInfo(device).Length);
    }

    private async Task BlockDeviceAsync(int sector)
    {
        using var scratch = new Scratch();
        var file = scratch.Sparse("device", 1L << 30);
        var loop = (await Tool.RunAsync(
            "losetup", ["--find", "--show", "-b", sector.ToString(CultureInfo.InvariantCulture), file])).Ok().Output.Trim();
        try
        {
            await using var host = await Host.StartAsync(new HostSetup { Device = loop, GiveSize = false });
            const int DiskBytes = 8 << 20;
            var disk = await host.NewDiskAsync(DiskBytes);
            var model = new SectorModel(DiskBytes);
            var writer = new Writer(model, 0, model.Sectors, sector, pause: 1);
            for (var kill = 0; kill < 3; kill++)
            {
                var work = Task.Factory.StartNew(
                    () => writer.Run(host.Socket, disk), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
                await Task.Delay(300);
                Refused(await DaemonAsync(loop));
                host.Kill();
                await work;
                await host.StartAgainAsync();
                using var peer = NbdPeer.Connect(host.Socket, disk);
                var all = peer.ReadAll();
                Assert.Null(writer.Settle(all));
                Assert.Null(model.Complaint(all, 0));
            }

            await host.StopAsync();
            (await host.VerifyAsync()).Ok();
            output.WriteLine($"{writer.Acknowledged} writes on sectors of {sector} bytes");
        }
        finally
        {
            (await Tool.RunAsync("losetup", ["-d", loop])).Ok();
        }
    }

    /// <summary>Makes a copy of the label say that only a reader of version 2 may read it, with a check that holds.</summary>
    private static async Task RaiseVersionAsync(Host host, int at)
    {
        const int MinReader = 10;
        const int Check = 4088;
        var label = new byte[4096];
        using var file = new FileStream(host.Device, FileMode.Open, FileAccess.ReadWrite);
        file.Position = at;
        await file.ReadExactlyAsync(label);
        label[MinReader - 2] = label[MinReader] = 2;
        label.AsSpan(Check).Clear();
        var copy = Path.Combine(host.Folder, "label");
        await File.WriteAllBytesAsync(copy, label);
        var hash = (await Tool.RunAsync("xxhsum", ["-H64", copy])).Ok().Output.Split(' ')[0];
        var check = Convert.FromHexString(hash);
        Array.Reverse(check);
        check.CopyTo(label, Check);
        file.Position = at;
        await file.WriteAsync(label);
    }

    /// <summary>A daemon that must not come up; one that does is ended.</summary>
    private static async Task<Outcome> DaemonAsync(string device, string? size = null)
    {
        using var scratch = new Scratch();
        var clock = Stopwatch.StartNew();
        using var process = Host.Launch(device, size, FreePort.Next(), FreePort.Next(), scratch.At("nbd.sock"));
        var (said, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            Assert.Fail($"it was to be refused, and runs on {device}\n{await said}{await error}");
        }

        return new Outcome("cloudfsd --device " + device, process.ExitCode, await said, await error, clock.Elapsed);
    }

    private static void Refused(Outcome outcome)
    {
        Assert.True(outcome.Status is 1 or 2, outcome.ToString());
        OneLine(outcome, status: null);
    }

    private static void OneLine(Outcome outcome, int? status = 1)
    {
        Assert.True(status is null ? outcome.Status != 0 : outcome.Status == status, outcome.ToString());
        Assert.True(outcome.Error.Trim().Split('\n').Length == 1 && outcome.Error.Trim().Length > 0, outcome.ToString());
    }

    private static string Sha256(string path, int length = int.MaxValue)
    {
        using var file = File.OpenRead(path);
        var bytes = new byte[Math.Min(length, file.Length)];
        file.ReadExactly(bytes);
        return Convert.ToHexString(SHA256.HashData(bytes));
    }
}
