using CloudFs.Core.Disks;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;
using Xunit;

namespace CloudFs.Core.Tests.Replication;

/// <summary>A disk on several hosts: what is acknowledged, what waits, what comes back.</summary>
public sealed class ReplicationTests
{
    private const ulong Bytes = 1 << 20;

    private static CancellationToken None => CancellationToken.None;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_is_written_on_one_host_is_on_all(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await WriteAsync(disk, seed, 40);
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
        Assert.All(rig[0].Replication.GetGroup(disk.Id)!.Replicas.Skip(1), replica => Assert.Equal(ReplicaState.Live, replica.State));
    });

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    public void A_replica_that_was_away_gets_what_it_missed(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await WriteAsync(disk, seed, 20);
        await rig.EndAsync(2, seed % 2 == 0 ? End.Kill : End.PowerCut);
        await WriteAsync(disk, seed + 1, 200);
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        await rig.StartAsync(2);
        await WriteAsync(disk, seed + 2, 50);
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
    });

    [Theory]
    [InlineData(21)]
    [InlineData(22)]
    public void A_primary_that_restarts_goes_on_in_a_new_view(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await WriteAsync(disk, seed, 30);
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        var before = disk.Newest;
        await rig.EndAsync(0, seed % 2 == 0 ? End.Kill : End.PowerCut);
        await rig.PassAsync(1);
        await rig.StartAsync(0);
        disk = rig.DiskOn(0, disk.Id);
        Assert.Equal(IoStatus.Ok, await disk.WriteAsync(0, new byte[4096], fua: true, None));
        Assert.True(disk.Newest.Lsn > before.Lsn);
        Assert.True(await disk.HoldsAsync(before));
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
    });

    [Fact]
    public void Without_a_majority_writes_wait_and_then_go_on() => Run(31, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await WriteAsync(disk, 31, 5);
        await rig.EndAsync(1, End.Kill);
        await rig.EndAsync(2, End.Kill);
        var write = disk.WriteAsync(0, new byte[4096], fua: true, None).AsTask();
        await rig.PassAsync(20);
        Assert.False(write.IsCompleted);
        Assert.Equal(GroupState.Waiting, rig[0].Replication.GetGroup(disk.Id)!.State);
        await rig.StartAsync(1);
        Assert.Equal(IoStatus.Ok, await write);
    });

    [Fact]
    public void Requests_that_wait_for_too_long_fail() => Run(32, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await rig.EndAsync(1, End.Kill);
        await rig.EndAsync(2, End.Kill);
        await rig.PassAsync(10);
        Assert.Equal(IoStatus.Unreachable, await disk.WriteAsync(0, new byte[4096], fua: true, None));
    });

    [Theory]
    [InlineData(41)]
    [InlineData(42)]
    public void A_disk_on_one_host_gets_more(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig[0].CreateDiskAsync(new DiskSpec(DiskSpec.DefaultSizeBytes), None);
        await WriteAsync(disk, seed, 60);
        foreach (var host in new[] { 1, 2 })
        {
            await rig[0].Replication.AddReplicaAsync(disk.Id, new Replica(ClusterRig.IdOf(host), rig[host].DeviceId), None);
            await rig[host].Replication.FollowAsync(disk.Id, ClusterRig.IdOf(0), asWitness: false, None);
            await rig.UntilAsync(() => rig[host].Replication.GetGroup(disk.Id)?.Role == GroupRole.Replica, "it is named");
        }

        await WriteAsync(disk, seed + 1, 60);
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
        await rig.UntilAsync(() => rig[0].Replication.GetGroup(disk.Id)!.Replicas.Count == 3, "three replicas");
        await rig[0].Replication.RemoveReplicaAsync(disk.Id, ClusterRig.IdOf(1), None);
        await WriteAsync(disk, seed + 2, 10);
        await rig.SameAsync(disk.Id, Bytes, 0, 2);
        await rig.UntilAsync(() => rig[1].Replication.GetGroup(disk.Id)!.Role == GroupRole.Removed, "it knows");
        await rig[1].Replication.DropAsync(disk.Id, None);
        Assert.Null(rig[1].Replication.GetGroup(disk.Id));
        Assert.Null(rig[1].Services.Disks.ById(disk.Id));

        // And back again, from nothing.
        await rig[0].Replication.AddReplicaAsync(disk.Id, new Replica(ClusterRig.IdOf(1), rig[1].DeviceId), None);
        await rig[1].Replication.FollowAsync(disk.Id, ClusterRig.IdOf(0), asWitness: false, None);
        await rig.UntilAsync(() => rig[1].Replication.GetGroup(disk.Id)?.Role == GroupRole.Replica, "it is named again");
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
    });

    [Theory]
    [InlineData(51)]
    [InlineData(52)]
    public void The_right_to_write_goes_to_another_host(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        await WriteAsync(disk, seed, 30);
        await rig.UntilAsync(() => rig[0].Replication.GetGroup(disk.Id)!.Replicas.All(r => r.State is ReplicaState.Live or ReplicaState.Primary), "all live");
        await rig[0].Replication.MoveAsync(disk.Id, ClusterRig.IdOf(1), None);
        var moved = rig.DiskOn(1, disk.Id);
        await WriteAsync(moved, seed + 1, 30);
        Assert.Equal(IoStatus.ReadOnly, await disk.WriteAsync(0, new byte[4096], fua: false, None));
        await rig.SameAsync(disk.Id, Bytes, 1, 0, 2);
        await rig[1].Replication.MoveAsync(disk.Id, ClusterRig.IdOf(0), None);
        await WriteAsync(disk, seed + 2, 30);
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
    });

    [Theory]
    [InlineData(61)]
    [InlineData(62)]
    public void Two_replicas_and_a_witness_go_on_without_one(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2], witnesses: [2]);
        await WriteAsync(disk, seed, 30);
        await rig.EndAsync(1, End.Kill);
        await WriteAsync(disk, seed + 1, 3, wait: false);
        await rig.PassAsync(8);
        await rig[0].Replication.RemoveReplicaAsync(disk.Id, ClusterRig.IdOf(1), None);
        await WriteAsync(disk, seed + 2, 30);
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        await rig.StartAsync(1);
        await rig[0].Replication.AddReplicaAsync(disk.Id, new Replica(ClusterRig.IdOf(1), rig[1].DeviceId), None);
        await rig[1].Replication.FollowAsync(disk.Id, ClusterRig.IdOf(0), asWitness: false, None);
        await rig.UntilAsync(() => rig[0].Replication.GetGroup(disk.Id)!.Replicas.Count(r => !r.IsJoining) == 3, "it is back");
        await rig.SameAsync(disk.Id, Bytes, 0, 1);
        await rig.EndAsync(2, End.PowerCut);
        await rig.StartAsync(2);
        await rig.UntilAsync(() => rig[0].Replication.GetGroup(disk.Id)!.Replicas.All(r => r.State is ReplicaState.Live or ReplicaState.Primary), "the witness is back");
    });

    [Theory]
    [InlineData(71)]
    [InlineData(72)]
    public void A_client_of_another_host_reads_and_writes_through_the_primary(int seed) => Run(seed, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1]);
        await using var remote = await rig[2].Replication.OpenRemoteAsync(
            disk.Id, _ => ValueTask.FromResult(new PeerAddress(ClusterRig.IdOf(0), "host0")), None);
        var data = new byte[64 << 10];
        new Random(seed).NextBytes(data);
        Assert.Equal(IoStatus.Ok, await remote.WriteAsync(8192, data, fua: false, None));
        Assert.Equal(IoStatus.Ok, await remote.FlushAsync(None));
        await rig.EndAsync(0, seed % 2 == 0 ? End.Kill : End.PowerCut);
        var reading = ReadAsync();
        await rig.PassAsync(2);
        await rig.StartAsync(0);
        Assert.Equal(data, await reading);

        async Task<byte[]> ReadAsync()
        {
            var found = new byte[data.Length];
            Assert.Equal(IoStatus.Ok, await remote.ReadAsync(8192, found, None));
            return found;
        }
    });

    [Theory]
    [InlineData(300, 4096)]
    [InlineData(48, 1 << 20)]
    public void A_replica_whose_clients_ask_for_much_at_once_still_acknowledges(int requests, int bytes) => Run(73, 2, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1]);
        await using var remote = await rig[1].Replication.OpenRemoteAsync(
            disk.Id, _ => ValueTask.FromResult(new PeerAddress(ClusterRig.IdOf(0), "host0")), None);
        var data = new byte[bytes];
        new Random(bytes).NextBytes(data);
        var asked = Enumerable.Range(0, requests)
            .Select(i => remote.WriteAsync((ulong)(i * bytes), data, fua: i % 4 == 0, None).AsTask()).ToArray();
        await rig.UntilAsync(() => asked.All(one => one.IsCompleted), "all are acknowledged");
        Assert.All(asked, one => Assert.Equal(IoStatus.Ok, one.Result));
        var found = Enumerable.Range(0, requests).Select(_ => new byte[bytes]).ToArray();
        var reads = found.Select((into, i) => remote.ReadAsync((ulong)(i * bytes), into, None).AsTask()).ToArray();
        await rig.UntilAsync(() => reads.All(one => one.IsCompleted), "all are read");
        Assert.All(reads, one => Assert.Equal(IoStatus.Ok, one.Result));
        Assert.All(found, into => Assert.True(data.AsSpan().SequenceEqual(into)));
        Assert.DoesNotContain(rig.Host(0).Events.Concat(rig.Host(1).Events), told => told.Code is "link-ended" or "peer-refused");
    });

    [Fact]
    public void What_waited_when_a_link_broke_is_written_once() => Run(74, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1]);
        await using var remote = await rig[2].Replication.OpenRemoteAsync(
            disk.Id, _ => ValueTask.FromResult(new PeerAddress(ClusterRig.IdOf(0), "host0")), None);
        var (first, second) = (new byte[4096], new byte[4096]);
        (first[0], second[0]) = (1, 2);
        rig.Network.Cut(ClusterRig.IdOf(0), ClusterRig.IdOf(1));
        await rig.PassAsync(5);
        var newest = disk.Newest.Lsn;
        var writing = remote.WriteAsync(0, first, fua: false, None).AsTask();
        await rig.PassAsync(1);

        // The primary waits for its lease; the link breaks under the request, which is sent again.
        rig.Network.Cut(ClusterRig.IdOf(0), ClusterRig.IdOf(2));
        rig.Network.Heal(ClusterRig.IdOf(0), ClusterRig.IdOf(2));
        await rig.PassAsync(3);
        Assert.False(writing.IsCompleted);
        rig.Network.Heal(ClusterRig.IdOf(0), ClusterRig.IdOf(1));
        Assert.Equal(IoStatus.Ok, await writing);
        Assert.Equal(IoStatus.Ok, await remote.WriteAsync(0, second, fua: true, None));
        await rig.PassAsync(1);
        Assert.Equal(newest + 2, disk.Newest.Lsn);
        var found = new byte[4096];
        Assert.Equal(IoStatus.Ok, await remote.ReadAsync(0, found, None));
        Assert.Equal(second, found);
    });

    [Fact]
    public void A_host_that_is_cut_off_does_not_stop_the_others() => Run(81, 3, async rig =>
    {
        var disk = await rig.CreateAsync([0, 1, 2]);
        rig.Network.Cut(ClusterRig.IdOf(0), ClusterRig.IdOf(2));
        await WriteAsync(disk, 81, 50);
        Assert.Equal(IoStatus.Ok, await disk.FlushAsync(None));
        rig.Network.Heal(ClusterRig.IdOf(0), ClusterRig.IdOf(2));
        await rig.SameAsync(disk.Id, Bytes, 0, 1, 2);
    });

    private static async Task WriteAsync(Disk disk, int seed, int writes, bool wait = true)
    {
        var random = new Random(seed);
        for (var i = 0; i < writes; i++)
        {
            var data = new byte[4096 * random.Next(1, 9)];
            random.NextBytes(data);
            var write = disk.WriteAsync((ulong)random.Next(200) * 4096, data, fua: random.Next(5) == 0, None);
            if (wait)
            {
                Assert.Equal(IoStatus.Ok, await write);
            }
        }
    }

    private static void Run(int seed, int hosts, Func<ClusterRig, Task> test) => Simulation.Run(seed, async simulation =>
    {
        using var rig = new ClusterRig(simulation, seed, hosts);
        await rig.StartAsync();
        await test(rig);
        await rig.StopAsync();
        Assert.Equal(0, simulation.FromElsewhere);
    });
}
