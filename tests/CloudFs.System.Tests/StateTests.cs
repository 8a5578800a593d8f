using System.Globalization;
using System.Text.Json.Nodes;
using CloudFs.SystemTests.Harness;
using Xunit;

namespace CloudFs.SystemTests;

/// <summary>
/// A history that is no longer whole: what is left of it and then the stream gives the disk's contents, by the reader that
/// was written from the format's page.
/// </summary>
public sealed class StateTests
{
    private const int DiskBytes = 32 << 20;
    private const int Piece = 512 << 10;
    private const int PieceSectors = Piece / SectorModel.Sector;

    [RequiresFact("curl", "python3")]
    public async Task State_and_then_the_stream_are_the_disk_from_nothing_and_from_a_late_copy()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "192M" });
        var disk = await host.NewDiskAsync(DiskBytes, "old");
        var model = new SectorModel(DiskBytes);
        var image = Path.Combine(host.Folder, "late");
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            for (var at = 0; at < 40; at++)
            {
                Put(peer, model, at);
            }

            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        // A copy that then falls behind.
        var point = (await ReplayAsync(host, $"stream?{disk}", $"--out '{image}'"))[0]!;
        var (lsn, version) = (point["lsn"]!.GetValue<ulong>(), point["head"]!.GetValue<string>());
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Assert.Equal(0u, peer.Do(NbdPeer.Trim, 3 * Piece, 2 * Piece));
            model.Set(3 * PieceSectors, 2 * PieceSectors, 0);
            for (var round = 0; round < 60 && await OldestAsync(host, disk) <= lsn; round++)
            {
                for (var at = 20; at < 60; at++)
                {
                    Put(peer, model, at);
                }
            }

            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        Assert.True(await OldestAsync(host, disk) > lsn + 1);
        var contents = await host.Http.GetByteArrayAsync("/blocks?" + disk);
        Assert.Null(model.Complaint(contents, 0));

        var fresh = Path.Combine(host.Folder, "fresh");
        var told = (await ReplayAsync(host, $"state?{disk}", $"--state --out '{fresh}'"))[0]!;
        Assert.True(told["survivors"]!.GetValue<int>() > 0);
        Assert.Equal(await host.HeadAsync(disk), told["head"]!.GetValue<string>());
        Assert.NotNull(told["wholeAt"]);
        Assert.True((await File.ReadAllBytesAsync(fresh)).AsSpan().SequenceEqual(contents));

        told = (await ReplayAsync(
            host, string.Create(CultureInfo.InvariantCulture, $"state?{disk}&{lsn}&{version}"),
            string.Create(CultureInfo.InvariantCulture, $"--state --after {lsn}:{version} --out '{image}'")))[0]!;
        Assert.Equal(await host.HeadAsync(disk), told["head"]!.GetValue<string>());
        Assert.True((await File.ReadAllBytesAsync(image)).AsSpan().SequenceEqual(contents));

        // After a restart there are views, one of them after the point.
        host.Kill();
        await host.StartAgainAsync();
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Put(peer, model, 1);
            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        await ReplayAsync(host, $"state?{disk}", $"--state --out '{fresh}' --expect-head {await host.HeadAsync(disk)}");
        Assert.Null(model.Complaint(await File.ReadAllBytesAsync(fresh), 0));
    }

    [RequiresFact("curl", "python3")]
    public async Task A_state_whose_bits_were_changed_is_refused_by_its_reader()
    {
        await using var host = await Host.StartAsync(new HostSetup { Size = "192M" });
        var disk = await host.NewDiskAsync(DiskBytes);
        using (var peer = NbdPeer.Connect(host.Socket, disk))
        {
            Put(peer, new SectorModel(DiskBytes), 0);
            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        var state = await host.Http.GetByteArrayAsync($"/state?{disk}&once");
        var file = Path.Combine(host.Folder, "state");
        Task<Outcome> ReadAsync(string options) =>
            Tool.ShellAsync($"python3 '{Tool.Scripts}/replay.py' {options} < '{file}'", TimeSpan.FromSeconds(60));
        await File.WriteAllBytesAsync(file, state);
        (await ReadAsync("--state")).Ok();
        Assert.Equal(1, (await ReadAsync("")).Status);
        Assert.Equal(1, (await ReadAsync($"--state --after 5:{disk}")).Status);
        await File.WriteAllBytesAsync(file, state[..^512]);
        Assert.Equal(1, (await ReadAsync("--state")).Status);
        foreach (var at in new[] { 30, 200, 600, 1200, state.Length - 5 })
        {
            var changed = state.ToArray();
            changed[at] ^= 4;
            await File.WriteAllBytesAsync(file, changed);
            Assert.Equal(1, (await ReadAsync("--state")).Status);
        }
    }

    private static void Put(NbdPeer peer, SectorModel model, int at)
    {
        var sequence = model.Next();
        var data = SectorModel.Contents(at * PieceSectors, PieceSectors, sequence);
        Assert.Equal(0u, peer.Do(NbdPeer.Write, (long)at * Piece, Piece, data));
        model.Set(at * PieceSectors, PieceSectors, sequence);
    }

    private static async Task<ulong> OldestAsync(Host host, string disk) =>
        (await host.JsonAsync("/disks/" + disk))["oldestLsn"]!.GetValue<ulong>();

    private static async Task<JsonArray> ReplayAsync(Host host, string query, string options)
    {
        var outcome = await Tool.ShellAsync(
            $"set -o pipefail; curl -sSf '{host.Url}/{query}&once' | python3 '{Tool.Scripts}/replay.py' --json {options}",
            TimeSpan.FromSeconds(120));
        return JsonNode.Parse(outcome.Ok().Output)!.AsArray();
    }
}
