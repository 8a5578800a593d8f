using CloudFs.Core.Contracts;
using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Http.Endpoints;

/// <summary><c>/cluster</c>: for the replicator beside this daemon (docs/protocol/cluster.md).</summary>
internal static class ClusterEndpoint
{
    /// <summary>A first entry with a few hundred hosts is not longer.</summary>
    private const int MaxEntryBytes = 256 << 10;

    public static Task GetAsync(Exchange exchange)
    {
        var engine = exchange.Engine;
        var space = engine.GetSpace();
        var tag = ClusterDescriptions.Tag(engine, exchange.Services.Facts.Uptime, exchange.Services.Facts.Started, space.Free);
        exchange.Response.Headers.ETag = tag;
        if (exchange.Request.Headers.IfNoneMatch == tag)
        {
            exchange.Response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        var groups = engine.Replication.GetGroups();
        var grouped = groups.Select(group => group.Disk).ToHashSet();
        var alone = engine.ListDisks().Where(disk => !grouped.Contains(disk.Id)).Select(disk => disk.GetStatus())
            .Where(disk => disk.Role == Core.Disks.DiskRole.Primary);
        var answer = new ClusterJson
        {
            Host = engine.HostId.ToString(),
            Device = engine.DeviceId.ToString(),
            Revision = engine.Replication.Revision,
            CapacityBytes = space.Capacity,
            FreeBytes = space.Free + space.Reclaimable,
            Poisoned = engine.GetHealth().Status == "failed",
            Disks = [.. groups.Select(ClusterDescriptions.Of), .. alone.Select(ClusterDescriptions.OfAlone)],
        };
        return exchange.JsonAsync(answer, ClusterContractsJson.Default.ClusterJson);
    }

    public static async Task PutPeersAsync(Exchange exchange)
    {
        var table = await exchange.ReadJsonAsync(ClusterContractsJson.Default.PeersRequest);
        if (!Uri.TryCreate(table.Replicator, UriKind.Absolute, out var replicator) || replicator.Scheme != Uri.UriSchemeHttp)
        {
            throw new HttpRefusalException(
                400, $"expected the replicator's URL, such as http://127.0.0.1:8091, found '{table.Replicator}'");
        }

        exchange.Engine.Replication.SetPeers([.. table.Peers.Select(peer => new PeerAddress(IdOf(peer.Host), peer.Address))]);
        exchange.Services.Cluster.Replicator = table.Replicator.TrimEnd('/');
        exchange.NoContent();
    }

    public static async Task PutDiskAsync(Exchange exchange)
    {
        var disk = IdOf(exchange.ReadQuery().Disk);
        var entry = await ReadEntryAsync(exchange);
        if (entry.Length < EntryLayout.FixedSize || new Id160(entry.AsSpan(EntryLayout.IdOffset, Id160.Size)) != disk)
        {
            throw new HttpRefusalException(400, $"the body is not the first entry of disk {disk}");
        }

        var secret = exchange.Request.Headers["CloudFS-Secret"].ToString();
        var isHere = exchange.Engine.Replication.GetGroup(disk) is { Role: not GroupRole.Joining };
        await exchange.Engine.Replication.CreateAsync(entry, secret.Length == 0 ? null : IdOf(secret), CancellationToken.None);
        exchange.Response.StatusCode = isHere ? StatusCodes.Status200OK : StatusCodes.Status201Created;
        exchange.Response.ContentLength = 0;
    }

    public static async Task FollowAsync(Exchange exchange)
    {
        var wanted = await exchange.ReadJsonAsync(ClusterContractsJson.Default.FollowRequest);
        await exchange.Engine.Replication.FollowAsync(IdOf(wanted.Disk), IdOf(wanted.Primary), wanted.Witness, exchange.Ended);
        exchange.Response.StatusCode = StatusCodes.Status202Accepted;
    }

    public static async Task ChangeMembersAsync(Exchange exchange)
    {
        var change = await exchange.ReadJsonAsync(ClusterContractsJson.Default.MembersRequest);
        var disk = IdOf(change.Disk);
        if (change.Add is { } add == change.Remove is not null)
        {
            throw new HttpRefusalException(400, "expected a host to add, or one to remove: one of the two");
        }

        if (change.Add is { } joins)
        {
            var replica = new Replica(IdOf(joins.Host), IdOf(joins.Device), Witness: joins.Witness);
            await exchange.Engine.Replication.AddReplicaAsync(disk, replica, exchange.Ended);
            exchange.Response.StatusCode = StatusCodes.Status202Accepted;
            return;
        }

        await exchange.Engine.Replication.RemoveReplicaAsync(disk, IdOf(change.Remove!), exchange.Ended);
        exchange.NoContent();
    }

    public static async Task MoveAsync(Exchange exchange)
    {
        var move = await exchange.ReadJsonAsync(ClusterContractsJson.Default.MoveRequest);
        await exchange.Engine.Replication.MoveAsync(IdOf(move.Disk), IdOf(move.To), exchange.Ended);
        exchange.NoContent();
    }

    public static async Task DropAsync(Exchange exchange)
    {
        var drop = await exchange.ReadJsonAsync(ClusterContractsJson.Default.DropRequest);
        await exchange.Engine.Replication.DropAsync(IdOf(drop.Disk), exchange.Ended);
        exchange.NoContent();
    }

    private static Id160 IdOf(string text) => Id160.TryParse(text, out var id) ? id
        : throw new HttpRefusalException(400, $"expected an id of 40 hex digits, found '{text}'");

    private static async Task<byte[]> ReadEntryAsync(Exchange exchange)
    {
        var bytes = new byte[MaxEntryBytes + 1];
        var length = await exchange.Request.Body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, exchange.Ended);
        exchange.BodyIsTaken = length <= MaxEntryBytes;
        return length <= MaxEntryBytes ? bytes[..length]
            : throw new HttpRefusalException(413, $"a first entry has at most {MaxEntryBytes} bytes");
    }
}
