using System.Globalization;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>Whole images: copied in, the daemon killed in the middle, file systems checked as they come back.</summary>
public sealed class ImageTests(ITestOutputHelper output)
{
    private const int ImageBytes = 256 << 20;

    [RequiresFact("qemu-img", "cmp")]
    public async Task A_copy_killed_in_the_middle_leaves_the_copy_before_it_or_the_new_bytes_and_nothing_else()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "64G" });
        using var scratch = new Scratch();
        var disk = await host.NewDiskAsync(ImageBytes, "vm");
        var (one, two) = (scratch.Random("one", ImageBytes, 1), scratch.Random("two", ImageBytes, 2));
        string[] Convert(string image) => ["convert", "-n", "-t", "writeback", "-f", "raw", "-O", "raw", image, host.Nbd("vm")];
        var copied = (await Tool.RunAsync("qemu-img", Convert(one))).Ok();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"256 MiB copied in {copied.Took.TotalSeconds:F2} s"));

        var copying = Tool.RunAsync("qemu-img", Convert(two));
        await Task.Delay(copied.Took * 0.45);
        host.Kill();
        Assert.NotEqual(0, (await copying).Status);
        var took = await host.StartAgainAsync();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"back in {took.TotalMilliseconds:F0} ms, process start included"));
        Assert.True(took < TimeSpan.FromSeconds(5));

        var (old, @new) = (await File.ReadAllBytesAsync(one), await File.ReadAllBytesAsync(two));
        using (var peer = NbdPeer.Connect(host.Socket, "vm"))
        {
            var (sectorsOld, sectorsNew) = (0, 0);
            var found = peer.ReadAll();
            for (var at = 0; at < ImageBytes; at += 512)
            {
                var sector = found.AsSpan(at, 512);
                var isNew = sector.SequenceEqual(@new.AsSpan(at, 512));
                Assert.True(isNew || sector.SequenceEqual(old.AsSpan(at, 512)), $"byte {at} is of neither image");
                (sectorsOld, sectorsNew) = isNew ? (sectorsOld, sectorsNew + 1) : (sectorsOld + 1, sectorsNew);
            }

            Assert.True(sectorsNew > 0);
            output.WriteLine($"{sectorsNew} sectors of the new image, {sectorsOld} of the old");
        }

        (await Tool.RunAsync("qemu-img", Convert(two))).Ok();
        (await Tool.RunAsync("qemu-img", ["compare", "-f", "raw", "-F", "raw", two, host.Nbd("vm")])).Ok();
        Assert.NotEqual(disk, await host.HeadAsync(disk));
        await host.StopAsync();
        (await host.VerifyAsync()).Ok();
    }

    [RequiresFact("nbdcopy", "mkfs.ext4", "e2fsck", "debugfs")]
    public async Task A_file_system_made_of_real_files_is_whole_after_a_kill()
    {
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        var tree = Tool.Scripts;
        var image = scratch.Sparse("image", 64 << 20);
        (await Tool.RunAsync("mkfs.ext4", ["-q", "-F", "-d", tree, image])).Ok();
        await host.NewDiskAsync(64 << 20, "fs");
        (await Tool.RunAsync("nbdcopy", ["--flush", image, host.Nbd("fs")])).Ok();
        host.Kill();
        await host.StartAgainAsync();
        (await Tool.RunAsync("nbdcopy", [host.Nbd("fs"), scratch.At("back")])).Ok();
        (await Tool.RunAsync("e2fsck", ["-f", "-n", scratch.At("back")])).Ok();
        (await Tool.RunAsync("debugfs", ["-R", $"dump /replay.py {scratch.At("file")}", scratch.At("back")])).Ok();
        Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(tree, "replay.py")), await File.ReadAllBytesAsync(scratch.At("file")));

        var replayed = await host.ReplayAsync((await host.JsonAsync("/disks/fs"))["id"]!.GetValue<string>());
        var back = await File.ReadAllBytesAsync(scratch.At("back"));
        Assert.True(replayed.AsSpan().SequenceEqual(back));
    }

    [RequiresFact("nbdfuse", "mkfs.ext4", "e2fsck", RequiresFactAttribute.Fuse, RequiresFactAttribute.Mount, RequiresFactAttribute.Loop)]
    public async Task A_mounted_file_system_over_nbdfuse_and_a_loop_device_works_and_checks_clean()
    {
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        await host.NewDiskAsync(256 << 20, "fs");
        var (fuse, tree) = (Directory.CreateDirectory(scratch.At("fuse")).FullName, Directory.CreateDirectory(scratch.At("tree")).FullName);
        var file = Path.Combine(fuse, "disk");
        using var nbdfuse = Tool.Start("nbdfuse", [file, host.Nbd("fs")]);
        try
        {
            for (var waited = 0; !File.Exists(file); waited += 20)
            {
                Assert.True(waited < 10_000, "nbdfuse did not mount");
                await Task.Delay(20);
            }

            (await Tool.RunAsync("mkfs.ext4", ["-q", "-F", file])).Ok();
            (await Tool.RunAsync("mount", ["-o", "loop", file, tree])).Ok();
            try
            {
                (await Tool.ShellAsync(
                    $"set -e; cd {tree}; for i in $(seq 40); do mkdir d$i; cp -r {Tool.Scripts} d$i/; done; rm -r d1 d3 d5; sync; "
                    + $"head -c 20M /dev/urandom >big; sha256sum big >{scratch.At("sum")}; sync")).Ok();
            }
            finally
            {
                (await Tool.RunAsync("umount", [tree])).Ok();
            }

            (await Tool.RunAsync("e2fsck", ["-f", "-n", file])).Ok();
        }
        finally
        {
            await Tool.RunAsync("fusermount3", ["-u", fuse]);
            await nbdfuse.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(10)).Token);
        }

        await host.StopAsync();
        await host.StartAgainAsync();
        (await host.CommandAsync("export", "fs", scratch.At("image"))).Ok();
        (await Tool.RunAsync("e2fsck", ["-f", "-n", scratch.At("image")])).Ok();
        (await Tool.ShellAsync($"set -e; mount -o loop,ro,noload {scratch.At("image")} {tree}; trap 'umount {tree}' EXIT; cd {tree}; sha256sum -c {scratch.At("sum")}; cd /")).Ok();
    }

    [RequiresFact("nbd-client", "mkfs.ext4", "e2fsck", RequiresFactAttribute.KernelNbd)]
    public async Task A_file_system_on_the_kernels_own_nbd_device_checks_clean()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(256 << 20, "fs");
        (await Tool.RunAsync("nbd-client", ["-N", "fs", "-unix", host.Socket, "/dev/nbd0"])).Ok();
        try
        {
            (await Tool.RunAsync("mkfs.ext4", ["-q", "-F", "/dev/nbd0"])).Ok();
            (await Tool.RunAsync("e2fsck", ["-f", "-n", "/dev/nbd0"])).Ok();
        }
        finally
        {
            await Tool.RunAsync("nbd-client", ["-d", "/dev/nbd0"]);
        }
    }
}
