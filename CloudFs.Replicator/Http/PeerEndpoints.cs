using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;

namespace CloudFs.Replicator.Http;

/// <summary>What other replicators ask.</summary>
internal sealed class PeerEndpoints(Node node)
{
    private const int MaxGossipBytes = 1 << 20;

    public Task GetIdAsync(Exchange exchange) => exchange.TextAsync(node.Self + "\n");

    /// <summary>The seed's way to find each other: the caller is remembered, all that are known are told.</summary>
    public Task GetPeersAsync(Exchange exchange)
    {
        var words = exchange.Words();
        if (!GossipRules.IsId(words[0]))
        {
            throw new HttpRefusalException(400, "expected /peers?<host id>, 40 hex digits, and perhaps &<address>");
        }

        var from = exchange.Request.HttpContext.Connection.RemoteIpAddress;
        var given = words.Length > 1 ? words[1]
            : from is null ? null : new System.Net.IPEndPoint(from, ReplicatorOptions.DefaultPort).ToString();
        if (!HostAddress.TryParse(given, ReplicatorOptions.DefaultPort, out var address))
        {
            throw new HttpRefusalException(400, $"'{given}' is no address such as 10.0.0.1:8091");
        }

        if (words[0] != node.Self)
        {
            node.AddSeed(address);
        }

        var lines = node.Table.Views().OrderBy(host => host.Record.Id == node.Self ? 0 : 1)
            .Select(host => $"{host.Record.Id} @ {host.Record.Address}\n");
        return exchange.TextAsync(string.Concat(lines));
    }

    public async Task GossipAsync(Exchange exchange)
    {
        GossipMessage message;
        try
        {
            message = await exchange.ReadJsonAsync(GossipJson.Default.GossipMessage, MaxGossipBytes);
        }
        catch (HttpRefusalException)
        {
            Interlocked.Increment(ref node.Counters.GossipRefused);
            throw;
        }

        var key = $"gossip from {exchange.Request.HttpContext.Connection.RemoteIpAddress}";
        if (node.Table.Merge(message) is { } wrong)
        {
            Interlocked.Increment(ref node.Counters.GossipRefused);
            var isConflict = node.Table.Conflicts().Any(conflict => conflict.Line == wrong);
            if (isConflict)
            {
                // The loop of gossip tells of it, once.
                throw new HttpRefusalException(409, wrong);
            }

            node.Log.Trouble(key, $"{key} is refused: {wrong}");
            throw new HttpRefusalException(400, wrong);
        }

        Interlocked.Increment(ref node.Counters.GossipTaken);
        node.Log.Over(key, $"{key} can be used again");
        await exchange.JsonAsync(node.Table.ToMessage(), GossipJson.Default.GossipMessage);
    }

    public Task GetHeldAsync(Exchange exchange) => node.Local.Find(exchange.Words()[0]) is { } disk
        ? exchange.JsonAsync(disk, PeerJsonContext.Default.ClusterDiskJson)
        : throw (node.DaemonTrouble is { } trouble ? new HttpRefusalException(503, trouble)
            : new HttpRefusalException(404, "there is no such disk here"));

    public async Task HoldAsync(Exchange exchange)
    {
        var hold = await exchange.ReadJsonAsync(PeerJsonContext.Default.HoldRequest);
        RequireId(hold.Disk, "disk");
        RequireId(hold.Primary, "primary");
        RequireDaemon();
        if (node.Options.Witness && !hold.Witness)
        {
            throw new HttpRefusalException(409, $"{node.Self} is a witness: it holds no data");
        }

        var reply = await node.Daemon.FollowAsync(new FollowRequest(hold.Disk, hold.Primary, hold.Witness), exchange.Ended);
        RequireGood(reply);
        node.AskDaemonSoon();
        exchange.Answer(202);
    }

    public async Task IntendAsync(Exchange exchange)
    {
        var intent = await exchange.ReadJsonAsync(PeerJsonContext.Default.IntentRequest);
        RequireId(intent.Disk, "disk");
        node.Intents.Change(intent.Disk, old => old with { Replicas = intent.Replicas });
        exchange.Answer(204);
    }

    /// <summary>Takes back a disk that its coordinator could not make. Never one that was committed.</summary>
    public async Task UnmakeAsync(Exchange exchange)
    {
        var drop = await exchange.ReadJsonAsync(PeerJsonContext.Default.DropRequest);
        RequireId(drop.Disk, "disk");
        node.Votes.End(drop.Disk);
        var cluster = await node.Daemon.GetClusterAsync(null, exchange.Ended);
        var disk = cluster.Read(ClusterContractsJson.Default.ClusterJson)?.Disks.FirstOrDefault(disk => disk.Id == drop.Disk);
        if (disk is null)
        {
            exchange.Answer(204);
            return;
        }

        if (disk.Lsn > 1 || disk.Committed > 0)
        {
            throw new HttpRefusalException(409, $"disk {drop.Disk} exists: it is committed up to {disk.Committed}");
        }

        RequireGood(await node.Daemon.DropAsync(drop.Disk, exchange.Ended));
        exchange.Answer(204);
    }

    /// <summary>The vote and the entry: what is refused before the body is read is a vote against it.</summary>
    public async Task PutLogAsync(Exchange exchange)
    {
        var words = exchange.Words();
        if (words.Length != 2 || !GossipRules.IsId(words[0]) || !Id160.TryParse(words[1], out _))
        {
            throw new HttpRefusalException(400, "expected /log?<disk>&<parent>, 40 hex digits each");
        }

        var disk = words[0];
        var name = Header(exchange, CreationHeaders.Name);
        RequireVote(exchange, disk, name);
        var bytes = await exchange.ReadBodyAsync(FirstEntry.MaxBytes, VoteBook.Lapse);
        if (FirstEntry.Read(bytes, out var fault) is not { } entry)
        {
            node.Votes.End(disk);
            throw new HttpRefusalException(400, fault);
        }

        var own = entry.View.Replicas.FirstOrDefault(replica => replica.Host.ToString() == node.Self);
        var secret = Header(exchange, CreationHeaders.Secret);
        var wrong = entry.Id.ToString() != disk ? $"the entry is of disk {entry.Id}, not {disk}"
            : own is null ? $"the entry does not name this host, {node.Self}"
            : own.Device.ToString() != node.Table.SelfRecord.Device
                ? $"the entry names device {own.Device}; here is {node.Table.SelfRecord.Device}"
            : entry.View.Primary.ToString() == node.Self && secret is null ? "the primary needs the view's secret, which is missing"
            : null;
        if (wrong is not null)
        {
            node.Votes.End(disk);
            throw new HttpRefusalException(400, wrong);
        }

        var reply = await node.Daemon.PutDiskAsync(disk, bytes, entry.View.Primary.ToString() == node.Self ? secret : null, exchange.Ended);
        RequireGood(reply);
        node.AskDaemonSoon();
        exchange.Answer(201);
    }

    private static string? Header(Exchange exchange, string name) =>
        exchange.Request.Headers[name].ToString() is { Length: > 0 } value ? value : null;

    private static void RequireId(string text, string what)
    {
        if (!GossipRules.IsId(text))
        {
            throw new HttpRefusalException(400, $"{what}: expected 40 lower-case hex digits, not all zero");
        }
    }

    private static void RequireGood(Reply reply)
    {
        if (!reply.IsGood)
        {
            throw new HttpRefusalException(reply.Status is >= 400 and < 600 ? reply.Status : 503, reply.Line);
        }
    }

    private void RequireDaemon()
    {
        if (node.DaemonTrouble is { } trouble)
        {
            throw new HttpRefusalException(503, trouble);
        }
    }

    private void RequireVote(Exchange exchange, string disk, string? name)
    {
        RequireDaemon();
        var self = node.Table.Find(node.Self)!;
        if (Header(exchange, CreationHeaders.Host) is { } host && host != node.Self)
        {
            throw new HttpRefusalException(409, $"this is host {node.Self}, not {host}");
        }

        if (Header(exchange, CreationHeaders.Device) is { } device && device != self.Record.Device)
        {
            throw new HttpRefusalException(409, $"this host's device is {self.Record.Device}, not {device}");
        }

        if (self.IsFull || !self.Record.Ready)
        {
            throw new HttpRefusalException(507, $"host {self.Name} has no room: {self.Record.FreeBytes} bytes are free");
        }

        if (self.Draining)
        {
            throw new HttpRefusalException(409, $"host {self.Name} is being drained");
        }

        if (name is not null && node.Local.ByName(name) is { } taken && taken.Id != disk)
        {
            throw new HttpRefusalException(409, $"the name '{name}' is taken by disk {taken.Id}");
        }

        if (node.Votes.TryVote(disk, name) is { } refusal)
        {
            throw new HttpRefusalException(string.IsNullOrEmpty(name) ? 503 : 409, refusal);
        }
    }
}
