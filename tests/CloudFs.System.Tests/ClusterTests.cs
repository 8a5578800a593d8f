using System.Diagnostics;
using System.Globalization;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>Disks on several hosts, whose processes are killed and stopped while a client writes.</summary>
public sealed class ClusterTests(ITestOutputHelper output)
{
    private const int DiskBytes = 8 << 20;

    private static readonly string[] Names = ["one", "two", "three"];

    [RequiresFact("python3", "curl")]
    public async Task A_disk_is_on_as_many_hosts_as_were_asked_for_and_refused_where_there_are_fewer()
    {
        await using var cluster = await Cluster.StartAsync(1);
        await Refused(cluster, 2, 1);
        await cluster.AddAsync();
        await cluster.AddAsync();
        await cluster.WaitUntilMetAsync();
        await Refused(cluster, 4, 3);
        for (var replicas = 1; replicas <= 3; replicas++)
        {
            var disk = await cluster.NewDiskAsync(replicas, DiskBytes, Names[replicas - 1], via: replicas - 1);
            var primary = await cluster.PrimaryAsync(disk);
            var status = await Cluster.StatusAsync(primary, disk);
            var data = status.Where(each => !each["witness"]!.GetValue<bool>()).Select(each => cluster.Of(each["host"]!.GetValue<string>()))
                .ToList();
            Assert.Equal(replicas, data.Count);
            Assert.Equal(replicas == 2 ? 1 : 0, status.Count(each => each["witness"]!.GetValue<bool>()));

            // A client at each host, one after the other; that of the last reads what all three wrote.
            SectorModel? model = null;
            foreach (var via in cluster.Members)
            {
                await using var load = new Load(cluster, via, disk, DiskBytes, 10 + via.Number, pause: 0, model);
                await load.ProgressAsync(15, 150);
                model = await load.EndAsync(cluster.Members);
            }

            var head = await cluster.WaitUntilEqualAsync(disk, data);
            foreach (var holder in data)
            {
                Assert.Null(model!.Complaint(await holder.Daemon.ReplayAsync(disk, quick: true), 0));
            }

            output.WriteLine($"{replicas}: head {head} on hosts {string.Join(", ", data.Select(each => each.Number))}");
        }
    }

    [Fact]
    public async Task A_replica_that_was_killed_catches_up_with_what_it_missed_and_no_more()
    {
        const int Missed = 24 << 20;
        const int Piece = 256 << 10;
        await using var cluster = await Cluster.StartAsync(3);
        var disk = await cluster.NewDiskAsync(3, 64 << 20, "d");
        var primary = await cluster.PrimaryAsync(disk);
        var replica = cluster.Members.First(member => member != primary);
        SectorModel model;
        await using (var load = new Load(cluster, primary, disk, DiskBytes, 1))
        {
            await load.ProgressAsync(15);
            replica.Daemon.Kill();
            output.WriteLine($"writes go on {Ms(await load.ProgressAsync(5))} after a replica's kill");
            model = await load.EndAsync();
        }

        using (var peer = NbdPeer.Connect(primary.Daemon.Socket, disk))
        {
            // What stands before it and what is written over while it is away is not to be moved.
            for (var at = 0; at < Missed; at += Piece)
            {
                Assert.Equal(0u, peer.Do(NbdPeer.Write, (32 << 20) + at, Piece, SectorModel.Contents(0, Piece / SectorModel.Sector, 1 + at)));
            }

            Assert.Equal(0u, peer.Do(NbdPeer.Flush, 0, 0));
        }

        var written = Missed + 4 * DiskBytes;
        var clock = Stopwatch.StartNew();
        await replica.Daemon.StartAgainAsync();
        await cluster.WaitUntilLiveAsync(primary, disk, replica);
        var sent = (await Cluster.StatusAsync(primary, disk, replica))!["sentBytes"]!.GetValue<long>();
        output.WriteLine($"in step again {Ms(clock.Elapsed)} after its start, with {sent >> 10} KiB for {Missed >> 10} KiB missed and a little");
        cluster.Told(sent > Missed && sent < written, $"{sent} bytes were sent for {Missed} that were missed");
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
        await using (var load = new Load(cluster, replica, disk, DiskBytes, 2, model: model))
        {
            // Now while writes go on.
            for (var kill = 0; kill < 2; kill++)
            {
                await load.ProgressAsync(10);
                var other = cluster.Members.First(member => member != primary && member != replica);
                other.Daemon.Kill();
                await load.ProgressAsync(10);
                await other.Daemon.StartAgainAsync();
                await cluster.WaitUntilLiveAsync(primary, disk, other);
            }

            await load.EndAsync();
        }

        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
    }

    [Fact]
    public async Task A_replica_that_stands_still_holds_nobody_up_and_is_in_step_again_afterwards()
    {
        await using var cluster = await Cluster.StartAsync(3);
        var disk = await cluster.NewDiskAsync(3, DiskBytes, "d");
        var primary = await cluster.PrimaryAsync(disk);
        var replica = cluster.Members.First(member => member != primary);
        await using var load = new Load(cluster, primary, disk, DiskBytes, 1, pause: 4);
        await load.ProgressAsync(15);
        replica.Daemon.Signal(Host.SigStop);
        var clock = Stopwatch.StartNew();
        var longest = TimeSpan.Zero;
        while (clock.Elapsed < TimeSpan.FromSeconds(15))
        {
            var took = await load.ProgressAsync(5, 20);
            longest = took > longest ? took : longest;
        }

        replica.Daemon.Signal(Host.SigCont);
        clock.Restart();
        await cluster.WaitUntilLiveAsync(primary, disk, replica);
        output.WriteLine($"20 writes took {Ms(longest)} at most beside a host that stood still; in step {Ms(clock.Elapsed)} after it went on");
        await load.EndAsync(replica);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
    }

    [Fact]
    public async Task A_client_elsewhere_waits_for_a_primary_that_was_killed_and_loses_nothing()
    {
        await using var cluster = await Cluster.StartAsync(3);
        var disk = await cluster.NewDiskAsync(3, DiskBytes, "d");
        var primary = await cluster.PrimaryAsync(disk);
        var others = cluster.Members.Where(member => member != primary).ToList();
        await using var load = new Load(cluster, others[0], disk, DiskBytes, 1);
        for (var kill = 0; kill < 3; kill++)
        {
            await load.ProgressAsync(15, 200);
            primary.Daemon.Kill();
            await Task.Delay(kill * 1500);
            await primary.Daemon.StartAgainAsync();
            output.WriteLine($"kill {kill}: goes on {Ms(await load.ProgressAsync(12, 30))} after the primary is back");
        }

        await load.EndAsync(cluster.Members);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
    }

    [Fact]
    public async Task Replicators_may_die_and_forget_while_disks_are_served()
    {
        await using var cluster = await Cluster.StartAsync(3);
        var disk = await cluster.NewDiskAsync(3, DiskBytes, "d");
        var primary = await cluster.PrimaryAsync(disk);
        var via = cluster.Members.First(member => member != primary);
        await using var load = new Load(cluster, via, disk, DiskBytes, 1, pause: 4);
        await load.ProgressAsync(15);
        foreach (var member in cluster.Members)
        {
            member.Replicator.Kill();
            await load.ProgressAsync(5);
        }

        // A daemon that restarts now knows nobody until its replicator is back, and then goes on.
        var other = cluster.Members.Single(member => member != primary && member != via);
        other.Daemon.Kill();
        await other.Daemon.StartAgainAsync();
        await load.ProgressAsync(5);
        foreach (var member in cluster.Members)
        {
            member.Replicator.Forget();
            await cluster.StartReplicatorAsync(member);
            await load.ProgressAsync(5);
        }

        await cluster.WaitUntilMetAsync();
        await cluster.WaitUntilLiveAsync(primary, disk, other);
        await load.EndAsync(cluster.Members);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
        var another = await cluster.NewDiskAsync(3, DiskBytes, "e", via: 1);
        Assert.Equal(3, (await Cluster.StatusAsync(await cluster.PrimaryAsync(another), another)).Count);
        Assert.Equal(primary.Id, (await cluster.PlaceAsync("d", via: 2))["primary"]!.GetValue<string>());
    }

    private static async Task Refused(Cluster cluster, int replicas, int hosts)
    {
        var refused = (await cluster[0].Daemon.CommandAsync(
            "newdisk", replicas.ToString(CultureInfo.InvariantCulture), "--name", "refused")).Ended(1);
        Assert.Empty(refused.Output);
        Assert.Single(refused.Error.TrimEnd('\n').Split('\n'));
        Assert.Contains(hosts.ToString(CultureInfo.InvariantCulture), refused.Error, StringComparison.Ordinal);
        Assert.Empty((await cluster[0].Daemon.JsonAsync("/disks")).AsArray());
    }

    private static string Ms(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:F0} ms");
}
