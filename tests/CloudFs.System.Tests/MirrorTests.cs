using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using CloudFs.SystemTests.Harness;
using Xunit;

namespace CloudFs.SystemTests;

/// <summary>A second daemon that mirrors a disk through a pipe of wget and curl.</summary>
public sealed class MirrorTests
{
    private const int DiskBytes = 16 << 20;

    private static readonly TimeSpan CatchUp = TimeSpan.FromSeconds(20);

    [RequiresFact("wget", "curl")]
    public async Task A_pipe_of_wget_and_curl_mirrors_a_disk_live_and_the_heads_become_equal()
    {
        await using var a = await Host.StartAsync();
        await using var b = await Host.StartAsync();
        var disk = await a.NewDiskAsync(DiskBytes, "live");
        var model = new SectorModel(DiskBytes);
        using var pipe = Pipe(a, b, disk);
        await WriteAsync(a, disk, model, TimeSpan.FromSeconds(2));
        await EqualHeadsAsync(a, b, disk);
        await CompareAsync(b, disk, model);

        // The mirror is nobody's to write.
        using (var peer = NbdPeer.Connect(b.Socket, disk))
        {
            const int ReadOnly = 2;
            Assert.NotEqual(0, peer.Flags & ReadOnly);
            Assert.Equal(NbdPeer.Eperm, peer.Do(NbdPeer.Write, 0, 512, new byte[512]));
            Assert.Equal(NbdPeer.Eperm, peer.Do(NbdPeer.Trim, 0, 512));
            Assert.Equal(NbdPeer.Eperm, peer.Do(NbdPeer.WriteZeroes, 0, 512));
        }

        using var content = new ByteArrayContent(new byte[512]);
        content.Headers.ContentRange = new ContentRangeHeaderValue(0, 511);
        using var put = await b.Http.PutAsync("/blocks?" + disk, content);
        Assert.Equal(HttpStatusCode.Forbidden, put.StatusCode);
        Assert.Contains((await a.JsonAsync("/host"))["host"]!.GetValue<string>(), await put.Content.ReadAsStringAsync(), StringComparison.Ordinal);

        // Names and sizes travel in the chain.
        (await a.CommandAsync("resize", "live", "32M")).Ok();
        (await a.CommandAsync("rename", "live", "alive")).Ok();
        await EqualHeadsAsync(a, b, disk);
        var mirrored = await b.JsonAsync("/disks/" + disk);
        Assert.Equal(("mirror", 32 << 20), (mirrored["role"]!.GetValue<string>(), mirrored["size"]!.GetValue<int>()));
        pipe.Kill(entireProcessTree: true);
        await a.StopAsync();
        await b.StopAsync();
        (await b.VerifyAsync()).Ok();
    }

    [RequiresFact("wget", "curl")]
    public async Task A_mirror_that_was_killed_goes_on_from_its_lsn_and_so_does_one_whose_source_was()
    {
        await using var a = await Host.StartAsync();
        await using var b = await Host.StartAsync();
        var disk = await a.NewDiskAsync(DiskBytes);
        var model = new SectorModel(DiskBytes);
        for (var round = 0; round < 4; round++)
        {
            using var pipe = Pipe(a, b, disk, round == 0 ? null : await b.TextAsync("/lsn?" + disk));
            var writing = WriteAsync(a, disk, model, TimeSpan.FromSeconds(1), bearKill: true);
            await Task.Delay(600);
            var killed = round % 2 == 0 ? b : a;
            killed.Kill();
            await writing;
            pipe.Kill(entireProcessTree: true);
            await killed.StartAgainAsync();
            if (killed == a)
            {
                using var peer = NbdPeer.Connect(a.Socket, disk);
                Assert.Null(_writer!.Settle(peer.ReadAll()));
            }
        }

        using var last = Pipe(a, b, disk, await b.TextAsync("/lsn?" + disk));
        await EqualHeadsAsync(a, b, disk);
        await CompareAsync(b, disk, model);
        last.Kill(entireProcessTree: true);
    }

    [RequiresFact("curl")]
    public async Task Entries_that_are_forked_corrupt_or_out_of_order_are_refused_and_those_before_them_stand()
    {
        await using var a = await Host.StartAsync();
        await using var b = await Host.StartAsync();
        var disk = await a.NewDiskAsync(DiskBytes);
        using (var peer = NbdPeer.Connect(a.Socket, disk))
        {
            for (var at = 0; at < 20; at++)
            {
                Assert.Equal(0u, peer.Do(NbdPeer.Write, at * 8192L, 8192, SectorModel.Contents(at * 16, 16, at + 1)));
            }

            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        var all = await a.Http.GetByteArrayAsync($"/stream?{disk}&once");
        var halves = new List<int>();
        foreach (var lsn in new[] { 5, 10, 15 })
        {
            halves.Add(all.Length - (await a.Http.GetByteArrayAsync($"/stream?{disk}&{lsn}&once")).Length);
        }

        async Task<(HttpStatusCode Status, string Text)> Put(byte[] entries)
        {
            using var answer = await b.Http.PutAsync("/log", new ByteArrayContent(entries));
            return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }

        async Task Lsn(int lsn) => Assert.Equal($"{lsn}", (await b.TextAsync("/lsn?" + disk)).Trim());

        // Nothing to hang it on yet.
        var (status, text) = await Put(all[halves[0]..halves[1]]);
        Assert.True(status is HttpStatusCode.Conflict or HttpStatusCode.BadRequest, $"{status} {text}");

        // A bit in the body of the sixth.
        var corrupt = all[..halves[1]];
        corrupt[halves[0] + 3000] ^= 4;
        (status, text) = await Put(corrupt);
        Assert.True(status == HttpStatusCode.BadRequest && text.Contains('6', StringComparison.Ordinal), $"{status} {text}");
        await Lsn(5);

        // A gap: eleven after five.
        (status, text) = await Put(all[halves[1]..halves[2]]);
        Assert.True(status == HttpStatusCode.Conflict, $"{status} {text}");
        await Lsn(5);

        // Out of order, behind good ones.
        (status, text) = await Put([.. all[..halves[1]], .. all[halves[2]..], .. all[halves[1]..halves[2]]]);
        Assert.True(status == HttpStatusCode.Conflict, $"{status} {text}");
        await Lsn(10);

        // Cut within an entry.
        (status, text) = await Put(all[..(halves[2] - 700)]);
        Assert.True(status == HttpStatusCode.BadRequest, $"{status} {text}");
        await Lsn(14);

        // Garbage.
        (status, text) = await Put(SectorModel.Contents(0, 64, 9));
        Assert.True(status == HttpStatusCode.BadRequest, $"{status} {text}");

        // A fork: the source goes back to a copy of its device, and writes another history.
        (status, text) = await Put(all);
        Assert.True(status == HttpStatusCode.OK, $"{status} {text}");
        var head = await b.HeadAsync(disk);
        Assert.Equal(await a.HeadAsync(disk), head);
        await a.StopAsync();
        File.Copy(a.Device, a.Device + ".copy");
        await a.StartAgainAsync();
        await ForkAsync(a, b, disk, 1);
        (status, text) = await Put(await a.Http.GetByteArrayAsync($"/stream?{disk}&once"));
        Assert.True(status == HttpStatusCode.OK, $"{status} {text}");
        head = await b.HeadAsync(disk);
        await a.StopAsync();
        File.Move(a.Device + ".copy", a.Device, overwrite: true);
        await a.StartAgainAsync();
        await ForkAsync(a, b, disk, 2);
        (status, text) = await Put(await a.Http.GetByteArrayAsync($"/stream?{disk}&once"));
        Assert.True(status == HttpStatusCode.Conflict, $"{status} {text}");
        Assert.Equal(head, await b.HeadAsync(disk));

        // And the primary takes nothing of its own disk this way.
        using var own = await a.Http.PutAsync("/log", new ByteArrayContent(await b.Http.GetByteArrayAsync($"/stream?{disk}&once")));
        Assert.Equal(HttpStatusCode.Conflict, own.StatusCode);
    }

    private Writer? _writer;

    private static Task ForkAsync(Host a, Host b, string disk, int sequence)
    {
        Assert.NotEqual(a.Url, b.Url);
        using var peer = NbdPeer.Connect(a.Socket, disk);
        Assert.Equal(0u, peer.Do(NbdPeer.Write, 0, 4096, SectorModel.Contents(0, 8, 1000 + sequence), NbdPeer.Fua));
        return Task.CompletedTask;
    }

    private static Process Pipe(Host a, Host b, string disk, string? lsn = null) => Tool.Start(
        "bash", ["-c", $"wget -qO- --tries=1 '{a.Url}/stream?{disk}{(lsn is null ? "" : "&" + lsn.Trim())}' | curl -sS -T - {b.Url}/log"]);

    private async Task WriteAsync(Host host, string disk, SectorModel model, TimeSpan time, bool bearKill = false)
    {
        var writer = _writer = new Writer(model, 0, model.Sectors, 1, pause: 1);
        var work = Task.Factory.StartNew(
            () => writer.Run(host.Socket, disk, time), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await work;
        Assert.True(bearKill || writer.Unanswered.Count == 0);
        Assert.True(writer.Acknowledged > 0);
    }

    private static async Task EqualHeadsAsync(Host a, Host b, string disk)
    {
        using (var peer = NbdPeer.Connect(a.Socket, disk))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        var clock = Stopwatch.StartNew();
        var head = await a.HeadAsync(disk);
        while (await b.HeadAsync(disk) != head)
        {
            Assert.True(clock.Elapsed < CatchUp, $"the mirror is at {await b.TextAsync("/lsn?" + disk)} of {await a.TextAsync("/lsn?" + disk)}");
            await Task.Delay(50);
        }
    }

    private static async Task CompareAsync(Host host, string disk, SectorModel model)
    {
        using var peer = NbdPeer.Connect(host.Socket, disk);
        Assert.Null(model.Complaint(peer.ReadAll(), 0));
        await Task.CompletedTask;
    }
}
