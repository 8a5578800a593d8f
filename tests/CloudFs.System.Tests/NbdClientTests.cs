using System.Text.Json.Nodes;
using CloudFs.SystemTests.Harness;
using Xunit;

namespace CloudFs.SystemTests;

/// <summary>The clients that people use, against the real daemon: libnbd's tools and QEMU's.</summary>
public sealed class NbdClientTests
{
    private const int DiskBytes = 64 << 20;

    [RequiresFact("nbdinfo")]
    public async Task Nbdinfo_lists_the_disks_and_says_what_each_can()
    {
        await using var host = await Host.StartAsync();
        var id = await host.NewDiskAsync(DiskBytes, "web");
        var unnamed = await host.NewDiskAsync(DiskBytes);
        var root = $"nbd+unix://?socket={host.Socket}";
        var list = (await Tool.RunAsync("nbdinfo", ["--list", "--json", root])).Ok();
        var names = JsonNode.Parse(list.Output)!["exports"]!.AsArray().Select(export => export!["export-name"]!.GetValue<string>());
        Assert.Subset(names.ToHashSet(), new HashSet<string> { id, unnamed, "web" });

        foreach (var uri in new[] { host.Nbd("web"), host.Nbd(id), host.NbdOverTcp("web") })
        {
            var info = JsonNode.Parse((await Tool.RunAsync("nbdinfo", ["--json", uri])).Ok().Output)!["exports"]![0]!;
            Assert.Equal("newstyle-fixed", JsonNode.Parse((await Tool.RunAsync("nbdinfo", ["--json", uri])).Output)!["protocol"]!.GetValue<string>());
            Assert.Equal(DiskBytes, info["export-size"]!.GetValue<long>());
            Assert.Equal(512, info["block_size_minimum"]!.GetValue<int>());
            Assert.Equal(4096, info["block_size_preferred"]!.GetValue<int>());
            Assert.Equal(32 << 20, info["block_size_maximum"]!.GetValue<int>());
            Assert.Contains("base:allocation", info["contexts"]!.ToJsonString(), StringComparison.Ordinal);
            foreach (var ability in new[] { "can_multi_conn", "can_fua", "can_flush", "can_trim", "can_zero", "can_fast_zero", "can_cache", "can_df" })
            {
                Assert.True(info[ability]!.GetValue<bool>(), ability);
            }

            Assert.False(info["is_read_only"]!.GetValue<bool>());
        }

        var unknown = await Tool.RunAsync("nbdinfo", [host.Nbd("nobody")]);
        Assert.NotEqual(0, unknown.Status);
    }

    [RequiresFact("nbdinfo")]
    public async Task Nbdinfo_maps_data_and_holes()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(DiskBytes);
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Write, 1 << 20, 1 << 20, SectorModel.Contents(2048, 2048, 1)));
            Assert.Equal(0u, peer.Do(NbdPeer.Write, 8 << 20, 4096, new byte[4096]));
        }

        var map = JsonNode.Parse((await Tool.RunAsync("nbdinfo", ["--map", "--json", host.Nbd(disk)])).Ok().Output)!.AsArray();
        Assert.Equal(
            [(0L, 1L << 20, 3), (1L << 20, 1L << 20, 0), (2L << 20, DiskBytes - (2L << 20), 3)],
            map.Select(run => (run!["offset"]!.GetValue<long>(), run["length"]!.GetValue<long>(), run["type"]!.GetValue<int>())));
    }

    [RequiresFact("nbdcopy", "cmp")]
    public async Task Nbdcopy_brings_an_image_in_and_out_and_from_disk_to_disk()
    {
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        var image = scratch.Random("image", DiskBytes / 2, 1);
        using (var file = File.OpenWrite(image))
        {
            // A hole in the middle, and sparse to the end.
            file.Position = 8 << 20;
            file.Write(new byte[4 << 20]);
            file.SetLength(DiskBytes);
        }

        var (one, two) = (await host.NewDiskAsync(DiskBytes, "one"), await host.NewDiskAsync(DiskBytes, "two"));
        (await Tool.RunAsync("nbdcopy", ["--flush", image, host.Nbd("one")])).Ok();
        (await Tool.RunAsync("nbdcopy", ["--flush", host.NbdOverTcp("one"), host.Nbd("two")])).Ok();
        (await Tool.RunAsync("nbdcopy", [host.Nbd("two"), scratch.At("back")])).Ok();
        (await Tool.RunAsync("cmp", [image, scratch.At("back")])).Ok();
        Assert.True((await host.JsonAsync("/disks/" + one))["liveBytes"]!.GetValue<long>() < DiskBytes * 6 / 10);
        Assert.NotEqual(await host.HeadAsync(one), await host.HeadAsync(two));
    }

    [RequiresFact("qemu-img", "cmp")]
    public async Task Qemu_img_converts_compares_and_maps()
    {
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        var image = scratch.Random("image", DiskBytes / 4, 2);
        using (var file = File.OpenWrite(image))
        {
            file.SetLength(DiskBytes);
        }

        await host.NewDiskAsync(DiskBytes, "vm");
        (await Tool.RunAsync("qemu-img", ["convert", "-n", "-t", "writeback", "-f", "raw", "-O", "raw", image, host.Nbd("vm")])).Ok();
        (await Tool.RunAsync("qemu-img", ["compare", "-f", "raw", "-F", "raw", image, host.Nbd("vm")])).Ok();
        (await Tool.RunAsync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", host.NbdOverTcp("vm"), scratch.At("back.qcow2")])).Ok();
        (await Tool.RunAsync("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", image, scratch.At("back.qcow2")])).Ok();
        var info = JsonNode.Parse((await Tool.RunAsync("qemu-img", ["info", "--output=json", host.Nbd("vm")])).Ok().Output)!;
        Assert.Equal(DiskBytes, info["virtual-size"]!.GetValue<long>());
        var map = JsonNode.Parse((await Tool.RunAsync("qemu-img", ["map", "--output=json", "-f", "raw", host.Nbd("vm")])).Ok().Output)!.AsArray();
        var hole = Assert.Single(map, run => run!["zero"]!.GetValue<bool>());
        Assert.Equal((DiskBytes / 4, DiskBytes - (DiskBytes / 4)), (hole!["start"]!.GetValue<int>(), hole["length"]!.GetValue<int>()));
    }

    [RequiresFact("qemu-img")]
    public async Task Qemu_img_keeps_a_qcow2_in_a_disk_and_checks_it()
    {
        await using var host = await Host.StartAsync();
        using var scratch = new Scratch();
        await host.NewDiskAsync(DiskBytes, "vm");
        var image = scratch.Random("image", DiskBytes / 2, 3);
        (await Tool.RunAsync("qemu-img", ["create", "-f", "qcow2", host.Nbd("vm"), "32M"])).Ok();
        (await Tool.RunAsync("qemu-img", ["convert", "-n", "-f", "raw", "-O", "qcow2", image, host.Nbd("vm")])).Ok();
        (await Tool.RunAsync("qemu-img", ["check", "-f", "qcow2", host.Nbd("vm")])).Ok();
        (await Tool.RunAsync("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", image, host.Nbd("vm")])).Ok();
    }

    [RequiresFact("qemu-io")]
    public async Task Qemu_io_reads_its_patterns_back_and_bears_the_disks_edges()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(1 << 20, "small");
        Task<Outcome> Io(params string[] commands) =>
            Tool.RunAsync("qemu-io", ["-f", "raw", .. commands.SelectMany(command => new[] { "-c", command }), host.Nbd("small")]);
        var good = (await Io(
            "write -P 0x11 0 64k", "write -P 0x22 4k 512", "write -P 0x33 6000 1000", "write -f -P 0x44 32k 4k", "write -z 40k 8k",
            "discard 48k 4k", "flush", "read -P 0x11 0 4k", "read -P 0x22 4k 512", "read -P 0x33 6000 1000", "read -P 0x44 32k 4k",
            "read -P 0 40k 12k", "read -P 0x11 52k 12k", "write -P 0x55 1044480 4k", "read -P 0x55 1044480 4k", "read -P 0 1047552 0")).Ok();
        Assert.DoesNotContain("verification failed", good.Output + good.Error, StringComparison.OrdinalIgnoreCase);
        foreach (var beyond in new[] { "write -P 0x66 1048576 4k", "read 1048064 1k", "write -P 0x66 1046528 4k" })
        {
            var refused = await Io(beyond);
            Assert.True(refused.Status != 0 || (refused.Output + refused.Error).Contains("failed", StringComparison.Ordinal), refused.ToString());
        }

        Assert.DoesNotContain("failed", (await Io("read -P 0x55 1044480 4k")).Ok().Output, StringComparison.Ordinal);
    }

    [RequiresFact("nbdsh")]
    public async Task Block_status_tells_data_from_holes_also_one_at_a_time_and_without_touching_the_end()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(1 << 20, "d");
        (await Tool.RunAsync("nbdsh", ["--base-allocation", "-u", host.Nbd("d"), "-c", "-"], """
            assert h.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
            def status(offset, length, flags=0):
                found = []
                def on(context, at, entries, err):
                    assert context == nbd.CONTEXT_BASE_ALLOCATION and at == offset
                    found.extend(zip(entries[::2], entries[1::2]))
                h.block_status(length, offset, on, flags)
                return found
            HOLE = nbd.STATE_HOLE | nbd.STATE_ZERO
            total = lambda runs: sum(length for length, _ in runs)
            assert status(0, 1 << 20) == [(1 << 20, HOLE)], status(0, 1 << 20)
            h.pwrite(b'x' * 8192, 65536)
            h.pwrite(b'y' * 512, 131072)
            runs = status(0, 1 << 20)
            assert runs[:4] == [(65536, HOLE), (8192, 0), (57344, HOLE), (512, 0)], runs
            assert total(runs) == 1 << 20
            assert status(65536, 1 << 19, nbd.CMD_FLAG_REQ_ONE) == [(8192, 0)]
            assert status(66048, 512, nbd.CMD_FLAG_REQ_ONE) == [(512, 0)]
            h.trim(4096, 65536)
            assert status(65536, 8192) == [(4096, HOLE), (4096, 0)], status(65536, 8192)
            h.zero(4096, 69632, nbd.CMD_FLAG_NO_HOLE)
            runs = status(69632, 4096)
            assert all(kind & nbd.STATE_ZERO for _, kind in runs), runs
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task Structured_reads_come_in_chunks_that_name_holes_and_whole_when_asked()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(1 << 20, "d");
        (await host.NbdshAsync("d", """
            assert h.get_structured_replies_negotiated()
            h.pwrite(b'a' * 4096, 0)
            h.pwrite(b'b' * 4096, 12288)
            def read(flags=0):
                chunks = []
                def on(buffer, offset, status, err):
                    chunks.append((offset, len(buffer), status))
                data = h.pread_structured(65536, 0, on, flags)
                assert data == b'a' * 4096 + bytes(8192) + b'b' * 4096 + bytes(49152)
                return sorted(chunks)
            chunks = read()
            assert sum(length for _, length, _ in chunks) == 65536, chunks
            assert any(kind == nbd.READ_HOLE for _, _, kind in chunks), chunks
            at = 0
            for offset, length, _ in chunks:
                assert offset == at, chunks
                at += length
            assert read(nbd.CMD_FLAG_DF) == [(0, 65536, nbd.READ_DATA)]
            assert h.pread(4096, 12288) == b'b' * 4096
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task Every_command_takes_FUA_and_leaves_the_head_durable()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20, "d");
        (await Tool.RunAsync("nbdsh", ["-u", host.Nbd("d"), "-c", "-"], $$"""
            import urllib.request
            def lsn():
                return int(urllib.request.urlopen('{{host.Url}}/lsn?{{disk}}').read())
            F = nbd.CMD_FLAG_FUA
            for step in (lambda: h.pwrite(b'x' * 65536, 0, F), lambda: h.pwrite(b'x' * 512, 512, F), lambda: h.zero(4096, 4096, F),
                         lambda: h.zero(4096, 8192, F | nbd.CMD_FLAG_NO_HOLE), lambda: h.trim(4096, 16384, F)):
                before = lsn()
                step()
                assert lsn() > before
            h.pwrite(b'y' * 512, 0)
            h.flush()
            after = lsn()
            h.flush()
            assert lsn() == after
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task Zeroes_trims_and_caches_of_all_kinds_do_what_they_say()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(64L << 30, "d");
        (await host.NbdshAsync("d", """
            h.pwrite(b'x' * (1 << 20), 0)
            h.zero(65536, 0)
            h.zero(65536, 65536, nbd.CMD_FLAG_NO_HOLE)
            h.zero(65536, 131072, nbd.CMD_FLAG_FAST_ZERO)
            h.trim(65536, 196608)
            assert h.pread(262144, 0) == bytes(262144)
            assert h.pread(4096, 262144) == b'x' * 4096
            h.zero(512, 262144 + 512)
            assert h.pread(1536, 262144) == b'x' * 512 + bytes(512) + b'x' * 512
            h.cache(1 << 20, 0)
            for big in (lambda: h.zero(0xffff0000, 0, nbd.CMD_FLAG_FAST_ZERO), lambda: h.trim(0xffff0000, 1 << 33)):
                big()
            assert h.pread(1 << 20, 0) == bytes(1 << 20)
            h.pwrite(b'e' * (32 << 20), (64 << 30) - (32 << 20))
            assert h.pread(32 << 20, (64 << 30) - (32 << 20)) == b'e' * (32 << 20)
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task What_is_out_of_range_or_unaligned_is_refused_and_changes_nothing()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20, "d");
        await host.NbdshAsync("d", "h.pwrite(b'k' * (1 << 20), 0, nbd.CMD_FLAG_FUA)");
        var head = await host.HeadAsync(disk);
        (await host.NbdshAsync("d", """
            import errno
            h.set_strict_mode(0)
            def fails(step, *codes):
                try:
                    step()
                except nbd.Error as error:
                    assert error.errnum in codes, (error.errnum, codes)
                else:
                    raise AssertionError('it was taken')
            end = 1 << 20
            fails(lambda: h.pread(512, end), errno.EINVAL)
            fails(lambda: h.pread(1024, end - 512), errno.EINVAL)
            fails(lambda: h.pwrite(b'x' * 512, end), errno.ENOSPC)
            fails(lambda: h.pwrite(b'x' * 1024, end - 512), errno.ENOSPC)
            fails(lambda: h.zero(1024, end - 512), errno.ENOSPC)
            fails(lambda: h.trim(1024, end - 512), errno.ENOSPC, errno.EINVAL)
            fails(lambda: h.pwrite(b'x' * 512, (1 << 63) - 512), errno.ENOSPC, errno.EINVAL)
            fails(lambda: h.pread(512, 1), errno.EINVAL)
            fails(lambda: h.pwrite(b'x' * 512, 100), errno.EINVAL)
            fails(lambda: h.pwrite(b'x' * 100, 0), errno.EINVAL)
            fails(lambda: h.zero(100, 0), errno.EINVAL)
            fails(lambda: h.trim(512, 5), errno.EINVAL)
            assert h.pread(1 << 20, 0) == b'k' * (1 << 20)
            """)).Ok();
        Assert.Equal(head, await host.HeadAsync(disk));
    }

    [RequiresFact("nbdsh")]
    public async Task Options_can_be_negotiated_by_hand_in_any_order()
    {
        await using var host = await Host.StartAsync();
        var id = await host.NewDiskAsync(1 << 20, "d");
        (await Tool.RunAsync("nbdsh", ["-c", "-"], $$"""
            import errno
            h.set_opt_mode(True)
            h.connect_unix('{{host.Socket}}')
            names = []
            assert h.opt_list(lambda name, text: names.append(name)) == len(names)
            assert 'd' in names and '{{id}}' in names, names
            h.set_export_name('nobody')
            try:
                h.opt_info()
                raise AssertionError('there is no such disk')
            except nbd.Error as error:
                assert error.errnum == errno.ENOENT, error
            h.set_export_name('d')
            h.opt_info()
            assert h.get_size() == 1 << 20
            contexts = []
            h.opt_list_meta_context(lambda name: contexts.append(name))
            assert contexts == ['base:allocation'], contexts
            h.add_meta_context('base:allocation')
            h.add_meta_context('other:thing')
            try:
                h.set_export_name('nobody')
                h.opt_go()
                raise AssertionError('there is no such disk')
            except nbd.Error as error:
                assert error.errnum == errno.ENOENT, error
            h.set_export_name('{{id}}')
            h.opt_go()
            assert h.can_meta_context('base:allocation') and not h.can_meta_context('other:thing')
            h.pwrite(b'x' * 512, 0)
            h.shutdown()

            h = nbd.NBD()
            h.set_opt_mode(True)
            h.connect_tcp('127.0.0.1', '{{host.NbdPort}}')
            h.opt_abort()

            # Without structured replies, and by the option that old clients use.
            h = nbd.NBD()
            h.set_request_structured_replies(False)
            h.set_handshake_flags(nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE)
            h.set_export_name('d')
            h.connect_unix('{{host.Socket}}')
            assert not h.get_structured_replies_negotiated()
            assert h.pread(512, 0) == b'x' * 512
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task A_disk_that_grows_while_attached_keeps_its_old_size_for_old_connections()
    {
        await using var host = await Host.StartAsync();
        await host.NewDiskAsync(1 << 20, "d");
        (await Tool.RunAsync("nbdsh", ["-u", host.Nbd("d"), "-c", "-"], $$"""
            import errno, subprocess
            h.set_strict_mode(0)
            subprocess.run(['{{Tool.CloudFs}}', 'resize', 'd', '2M', '--daemon', '{{host.Url}}'], check=True)
            assert h.get_size() == 1 << 20
            h.pwrite(b'x' * 512, (1 << 20) - 512)
            for step, code in ((lambda: h.pwrite(b'x' * 512, 1 << 20), errno.ENOSPC), (lambda: h.pread(512, 1 << 20), errno.EINVAL)):
                try:
                    step()
                    raise AssertionError('an old connection reached the new part')
                except nbd.Error as error:
                    assert error.errnum == code, error
            new = nbd.NBD()
            new.connect_uri('{{host.Nbd("d")}}')
            assert new.get_size() == 2 << 20
            new.pwrite(b'y' * 512, (2 << 20) - 512)
            assert new.pread(512, (1 << 20) - 512) == b'x' * 512
            """)).Ok();
    }

    [RequiresFact("nbdsh")]
    public async Task What_one_connection_wrote_another_reads_and_its_flush_makes_durable()
    {
        await using var host = await Host.StartAsync();
        var disk = await host.NewDiskAsync(1 << 20, "d");
        (await host.NbdshAsync("d", $$"""
            assert h.can_multi_conn()
            other = nbd.NBD()
            other.connect_uri('{{host.NbdOverTcp("d")}}')
            for i in range(200):
                h.pwrite(bytes([i]) * 4096, i * 4096)
                assert other.pread(4096, i * 4096) == bytes([i]) * 4096
            other.flush()
            """)).Ok();
        host.Kill();
        Assert.NotEqual(0, new FileInfo(host.Device).Length);
        await host.StartAgainAsync();
        Assert.NotEqual(disk, await host.HeadAsync(disk));
        (await host.NbdshAsync("d", "assert all(h.pread(4096, i * 4096) == bytes([i]) * 4096 for i in range(200))")).Ok();
    }
}
