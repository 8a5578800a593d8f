using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;
using CloudFs.Replicator.Repair;

namespace CloudFs.Replicator.Http;

/// <summary>What the command and daemons ask.</summary>
internal sealed class ClusterEndpoints(Node node, DiskFinder finder, DiskMaker maker)
{
    private const string PassedOn = "CloudFS-Passed-On";

    public async Task CreateAsync(Exchange exchange)
    {
        var request = await exchange.ReadJsonAsync(HttpContractsJson.Default.NewDiskRequest);
        var answer = await maker.MakeAsync(request, exchange.Ended);
        exchange.Response.Headers.Location = $"/disks/{answer.Id}";
        await exchange.JsonAsync(answer, HttpContractsJson.Plain.NewDiskAnswer, 201);
    }

    public async Task GetDiskAsync(Exchange exchange)
    {
        var place = await finder.FindPlaceAsync(exchange.PathArgument, exchange.Ended);
        await exchange.JsonAsync(place ?? throw NoDisk(exchange.PathArgument), ReplicatorContractsJson.Default.DiskPlaceJson);
    }

    /// <summary>307 to the primary's daemon, with the query as it came.</summary>
    public async Task RedirectAsync(Exchange exchange)
    {
        var disk = exchange.Words()[0];
        if (disk.Length == 0)
        {
            throw new HttpRefusalException(400, "expected /blocks?<disk>");
        }

        var place = await finder.FindPlaceAsync(disk, exchange.Ended) ?? throw NoDisk(disk);
        if (place.PrimaryAddress.Length == 0)
        {
            throw new HttpRefusalException(503,
                $"the primary of disk {place.Id} is host {place.Primary}, whose address is not known here; try again");
        }

        exchange.Response.Headers.Location = $"http://{place.PrimaryAddress}/blocks{exchange.Request.QueryString.Value}";
        exchange.Answer(307);
    }

    public Task GetHostsAsync(Exchange exchange) =>
        exchange.JsonAsync(HostReport.Of(node), ReplicatorContractsJson.Default.HostsJson);

    public async Task MoveAsync(Exchange exchange)
    {
        var request = await exchange.ReadJsonAsync(ReplicatorContractsJson.Default.MoveDiskRequest);
        var disk = await FindDiskAsync(exchange, request.Disk);
        var to = FindHost(request.To);
        if (to.Record.Witness || to.State == HostState.Down)
        {
            throw new HttpRefusalException(409, $"host {to.Name} can't be a primary: {CreationSearch.WhyNot(to)}");
        }

        if (await PassOnAsync(
            exchange, disk, "/move", request with { Disk = disk.Id, To = to.Record.Id }, ReplicatorContractsJson.Default.MoveDiskRequest))
        {
            return;
        }

        if (to.Record.Id == node.Self)
        {
            exchange.Answer(204);
            return;
        }

        var replica = disk.Replicas.FirstOrDefault(replica => replica.Host == to.Record.Id && !replica.Joining);
        if (replica is { State: "live", Witness: false })
        {
            var wanted = node.Intents.Get(disk.Id).Replicas ?? RepairRules.WantedOf(disk);
            await node.Peers.IntendAsync(to.Record.Address, new IntentRequest(disk.Id, wanted), exchange.Ended);
            var reply = await node.Daemon.MoveAsync(new MoveRequest(disk.Id, to.Record.Id), exchange.Ended);
            if (!reply.IsGood)
            {
                throw new HttpRefusalException(reply.IsSilence ? 503 : reply.Status, reply.Line);
            }

            node.AskDaemonSoon();
            exchange.Answer(204);
            return;
        }

        if (replica is null && !to.TakesData)
        {
            throw new HttpRefusalException(409, $"host {to.Name} holds no replica, and can't take one: {CreationSearch.WhyNot(to)}");
        }

        node.Intents.Change(disk.Id,
            intent => intent with { MoveTo = to.Record.Id, Replicas = intent.Replicas ?? RepairRules.WantedOf(disk) });
        exchange.Answer(202);
    }

    public async Task SetReplicasAsync(Exchange exchange)
    {
        var request = await exchange.ReadJsonAsync(ReplicatorContractsJson.Default.ReplicasRequest);
        var disk = await FindDiskAsync(exchange, request.Disk);
        var mayHold = node.Table.Views().Count(host => host.TakesData || disk.Replicas.Any(r => !r.Witness && r.Host == host.Record.Id));
        if (request.Replicas is < 1 or > 7 || request.Replicas > mayHold)
        {
            throw new HttpRefusalException(
                request.Replicas is < 1 or > 7 ? 400 : 409,
                $"{request.Replicas} replicas were asked for; a disk has 1 to 7, and {mayHold} hosts could hold this one now");
        }

        if (!await PassOnAsync(
            exchange, disk, "/replicas", request with { Disk = disk.Id }, ReplicatorContractsJson.Default.ReplicasRequest))
        {
            node.Intents.Change(disk.Id, intent => intent with { Replicas = request.Replicas });
            exchange.Answer(202);
        }
    }

    public async Task DrainAsync(Exchange exchange)
    {
        var request = await exchange.ReadJsonAsync(ReplicatorContractsJson.Default.HostRequest);
        var host = FindHost(request.Host);
        node.Table.Mark(host.Record.Id, mark => mark with { Draining = !request.Undo });
        node.Log.Info($"host {host.Name} {(request.Undo ? "takes disks again" : "is to be drained")}: by command");
        exchange.Answer(request.Undo ? 204 : 202);
    }

    public async Task ForgetAsync(Exchange exchange)
    {
        var request = await exchange.ReadJsonAsync(ReplicatorContractsJson.Default.HostRequest);
        var host = FindHost(request.Host);
        if (host.Record.Id == node.Self || host.State != HostState.Down)
        {
            throw new HttpRefusalException(409, $"host {host.Name} is not down: drain it and stop it before it is forgotten");
        }

        node.Table.Mark(host.Record.Id, mark => mark with { Forgotten = host.Record.Incarnation, Draining = false });
        node.Log.Info($"host {host.Name} is forgotten: by command");
        exchange.Answer(204);
    }

    public Task GetHealthAsync(Exchange exchange) =>
        exchange.JsonAsync(HostReport.HealthOf(node), HttpContractsJson.Plain.HealthJson);

    public Task GetMetricsAsync(Exchange exchange) =>
        exchange.TextAsync(HostReport.MetricsOf(node), type: "text/plain; version=0.0.4; charset=utf-8");

    private static HttpRefusalException NoDisk(string disk) => new(404, $"no host that is up has a disk '{disk}'");

    private async Task<ClusterDiskJson> FindDiskAsync(Exchange exchange, string disk) =>
        await finder.FindAgainAsync(disk, exchange.Ended) ?? throw NoDisk(disk);

    /// <summary>By id, or a prefix of it (4 digits at least) that only one host has.</summary>
    private HostView FindHost(string text)
    {
        var found = node.Table.Views()
            .Where(host => text.Length >= 4 && host.Record.Id.StartsWith(text, StringComparison.OrdinalIgnoreCase)).ToList();
        return found.Count == 1 ? found[0] : throw new HttpRefusalException(
            404, found.Count == 0 ? $"there is no host '{text}'; GET /hosts lists what there is"
                : $"'{text}' begins {found.Count} hosts' ids: give more digits");
    }

    /// <summary>Takes the request to the primary's replicator. False where this host is the primary.</summary>
    private async Task<bool> PassOnAsync<T>(Exchange exchange, ClusterDiskJson disk, string path, T request, JsonTypeInfo<T> type)
    {
        if (disk.Primary == node.Self && disk.Role == "primary")
        {
            return false;
        }

        if (exchange.Request.Headers.ContainsKey(PassedOn) || node.Table.Find(disk.Primary) is not { } primary || disk.Primary == node.Self)
        {
            throw new HttpRefusalException(503, $"the primary of disk {disk.Id} is not known for sure right now; try again");
        }

        using var message = new HttpRequestMessage(HttpMethod.Post, $"http://{primary.Record.Address}{path}");
        message.Headers.Add(PassedOn, node.Self);
        message.Content = HttpCaller.Json(request, type);
        var reply = await node.Peers.SendAsync(message, HttpCaller.LongPatience, exchange.Ended);
        if (!reply.IsGood)
        {
            throw new HttpRefusalException(reply.IsSilence ? 503 : reply.Status, reply.Line);
        }

        exchange.Answer(reply.Status);
        return true;
    }
}
