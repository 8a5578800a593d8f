using System.Globalization;
using CloudFs.SystemTests.Harness;
using Xunit;
using Xunit.Abstractions;

namespace CloudFs.SystemTests;

/// <summary>Hosts that are full, lost, drained or cut off, while a client writes.</summary>
public sealed class ClusterRepairTests(ITestOutputHelper output)
{
    private const int DiskBytes = 8 << 20;

    [Fact]
    public async Task A_full_device_on_one_host_of_three_keeps_nobody_from_writing_and_goes_on_when_there_is_room()
    {
        const int LargeBytes = 64 << 20;
        const int Piece = 512 << 10;
        await using var cluster = await Cluster.StartAsync(
            3, number => new MemberSetup { Host = new HostSetup { Size = number == 2 ? "192M" : "2G" } });
        var small = cluster[2];
        var disk = await cluster.NewDiskAsync(3, LargeBytes, "d");
        if (await cluster.PrimaryAsync(disk) == small)
        {
            (await cluster[0].Daemon.CommandAsync("move", disk, cluster[0].Id)).Ok();
        }

        Member? primary = null;
        await cluster.WaitAsync("the primary is another host", TimeSpan.FromSeconds(15), async () =>
            (primary = await cluster.PrimaryAsync(disk)) == small ? "it is not" : null);
        var filler = await LocalDiskAsync(cluster, small);
        await using var load = new Load(cluster, primary!, disk, LargeBytes, 1);
        await load.ProgressAsync(15);
        using (var peer = NbdPeer.Connect(small.Daemon.Socket, filler))
        {
            var at = 0;
            uint error;
            do
            {
                error = peer.Do(NbdPeer.Write, (long)at * Piece, Piece, SectorModel.Contents(0, Piece / SectorModel.Sector, ++at));
            }
            while (error == 0);

            output.WriteLine($"full after {(long)at * Piece >> 20} MiB of the host's own disk");
            Assert.Equal(NbdPeer.Enospc, error);
        }

        var reason = "";
        await cluster.WaitAsync("the primary says that the replica has no room", TimeSpan.FromSeconds(30), async () =>
        {
            var status = await Cluster.StatusAsync(primary!, disk, small);
            reason = status?["reason"]?.GetValue<string>() ?? "";
            return reason.Contains("full", StringComparison.Ordinal) || reason.Contains("room", StringComparison.Ordinal)
                ? null : status?.ToJsonString() ?? "no replica";
        });
        output.WriteLine($"its replica: {reason}");
        await load.ProgressAsync(5, 500);
        (await small.Daemon.CommandAsync("deletedisk", filler, "--yes")).Ok();
        await cluster.WaitUntilLiveAsync(primary!, disk, small, 30);
        await load.ProgressAsync(5);
        await load.EndAsync(cluster.Members);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
    }

    [Fact]
    public async Task With_two_replicas_and_a_witness_the_loss_of_one_is_waited_out_and_it_joins_again()
    {
        await using var cluster = await Cluster.StartAsync(3, number => new MemberSetup
        {
            Host = new HostSetup { Size = number == 2 ? "128M" : "2G" },
            Replicator = number == 2 ? ["--witness"] : [],
        });
        var disk = await cluster.NewDiskAsync(2, DiskBytes, "d", via: 2);
        var primary = await cluster.PrimaryAsync(disk);
        var replica = cluster[1 - primary.Number];
        Assert.True((await Cluster.StatusAsync(primary, disk, cluster[2]))!["witness"]!.GetValue<bool>());
        await using var load = new Load(cluster, cluster[2], disk, DiskBytes, 1);
        await load.ProgressAsync(15);
        replica.Kill();
        output.WriteLine($"goes on {Ms(await load.ProgressAsync(20, 30))} after the loss of one of two");
        await replica.Daemon.StartAgainAsync();
        await cluster.StartReplicatorAsync(replica);
        output.WriteLine($"whole {Ms(await Whole(cluster, primary, disk, 2))} after it is back");
        await load.ProgressAsync(5);
        await load.EndAsync(replica);
        await cluster.WaitUntilEqualAsync(disk, primary, replica);
    }

    [Fact]
    public async Task What_a_lost_host_held_comes_to_be_elsewhere_and_a_drained_host_ends_up_empty()
    {
        await using var cluster = await Cluster.StartAsync(4, _ => new MemberSetup { Replicator = ["--grace", "5s"] });
        var disk = await cluster.NewDiskAsync(3, DiskBytes, "d");
        var others = new[] { await cluster.NewDiskAsync(3, DiskBytes, "e", 1), await cluster.NewDiskAsync(1, DiskBytes, "f", 2) };
        var primary = await cluster.PrimaryAsync(disk);
        var holders = (await Cluster.StatusAsync(primary, disk)).Select(each => cluster.Of(each["host"]!.GetValue<string>())).ToList();
        var via = cluster.Members.Except(holders).Single();
        var lost = holders.First(member => member != primary);
        await using var load = new Load(cluster, via, disk, DiskBytes, 1, pause: 4);
        await load.ProgressAsync(15);
        lost.Kill();
        await cluster.WaitAsync("the fourth host holds it", TimeSpan.FromSeconds(60), async () =>
            await Cluster.StatusAsync(primary, disk, lost) is null ? null : string.Join('\n', await Cluster.StatusAsync(primary, disk)));
        await Whole(cluster, primary, disk, 3);
        await load.ProgressAsync(5);

        // It comes back with a copy that nobody wants any more.
        await lost.Daemon.StartAgainAsync();
        await cluster.StartReplicatorAsync(lost);
        await cluster.WaitAsync("the copy that came back late is gone", TimeSpan.FromSeconds(30), async () =>
            (await lost.Daemon.JsonAsync("/disks")).AsArray().Any(each => each!["id"]!.GetValue<string>() == disk) ? "it is there" : null);
        (await via.Daemon.CommandAsync("drain", primary.Id)).Ok();
        var took = await cluster.WaitAsync("the drained host holds nothing", TimeSpan.FromSeconds(60), async () =>
        {
            var left = (await primary.Daemon.JsonAsync("/cluster"))["disks"]!.AsArray();
            return left.Count == 0 ? null : left.ToJsonString();
        });
        output.WriteLine($"drained of {1 + others.Length} disks at most in {Ms(took)}");
        await load.ProgressAsync(5);
        var successor = await cluster.PrimaryAsync(disk, via.Number);
        await Whole(cluster, successor, disk, 3);
        await load.EndAsync(successor);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members.Where(member => member != primary));
    }

    [RequiresFact(RequiresFactAttribute.Namespaces, "bridge")]
    public async Task Cut_off_a_primary_neither_writes_nor_answers_reads_and_goes_on_when_it_is_healed()
    {
        await using var network = await Network.MakeAsync(3);
        await using var cluster = await Cluster.StartAsync(3, network.Setup);
        var disk = await cluster.NewDiskAsync(3, DiskBytes, "d");
        var primary = await cluster.PrimaryAsync(disk);
        var (near, far) = (cluster.Members.First(member => member != primary), cluster.Members.Last(member => member != primary));
        await using var load = new Load(cluster, primary, disk, DiskBytes, 1);
        await load.ProgressAsync(15);

        // One replica is out of reach: the other is enough.
        await network.CutAsync(primary.Number, far.Number);
        output.WriteLine($"goes on {Ms(await load.ProgressAsync(5))} after one replica was cut off");
        await cluster.WaitAsync("the primary misses it", TimeSpan.FromSeconds(10), async () =>
            (await Cluster.StatusAsync(primary, disk, far))!["state"]!.GetValue<string>() == "away" ? null : "it does not");
        await load.ProgressAsync(5);
        await network.CutAsync(primary.Number, far.Number, cut: false);
        output.WriteLine($"in step {Ms(await Live(cluster, primary, disk, far))} after that was healed");


        // All are out of reach: nothing is acknowledged, and once the lease is over nothing is read.
        await network.CutAsync(primary.Number);
        await Task.Delay(TimeSpan.FromSeconds(4));
        var before = load.Acknowledged;
        using var reader = NbdPeer.Connect(primary.Daemon.Socket, disk);
        var reading = Task.Run(() => reader.TryRead(0, new byte[4096]));
        await Task.Delay(TimeSpan.FromSeconds(3));
        cluster.Told(load.Acknowledged == before, "a primary that reached nobody acknowledged writes");
        cluster.Told(!reading.IsCompleted, "a primary whose lease was over answered a read");
        await network.CutAsync(primary.Number, cut: false);
        output.WriteLine($"goes on {Ms(await load.ProgressAsync(15))} after all was healed");
        var error = await reading.WaitAsync(TimeSpan.FromSeconds(10));
        cluster.Told(error == 0, $"the read that waited was answered with error {error}");
        await load.EndAsync(near, far);
        await cluster.WaitUntilEqualAsync(disk, cluster.Members);
    }

    /// <summary>A disk that only this host holds.</summary>
    private static async Task<string> LocalDiskAsync(Cluster cluster, Member holder)
    {
        for (var tried = 0; tried < 16; tried++)
        {
            var made = await cluster.NewDiskAsync(1, 512 << 20, string.Create(CultureInfo.InvariantCulture, $"filler{tried}"), holder.Number);
            if (await cluster.PrimaryAsync(made, holder.Number) == holder)
            {
                return made;
            }
        }

        Assert.Fail("no disk of one replica comes to be on that host");
        return "";
    }

    private static Task<TimeSpan> Whole(Cluster cluster, Member primary, string disk, int replicas) =>
        cluster.WaitUntilWholeAsync(primary, disk, replicas, 40);

    private static Task<TimeSpan> Live(Cluster cluster, Member primary, string disk, Member replica) =>
        cluster.WaitUntilLiveAsync(primary, disk, replica);

    private static string Ms(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:F0} ms");
}
