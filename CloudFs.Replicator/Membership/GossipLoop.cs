using CloudFs.Replicator.Hosting;

namespace CloudFs.Replicator.Membership;

/// <summary>Each second: this host's beat goes up, and a few others are told all that is known, and tell what they know.</summary>
internal sealed class GossipLoop(Node node, Func<int, int> random)
{
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly Backoff _backoff = new(node.Time, random);
    private long _savedVersion = -1;

    public async Task RunAsync()
    {
        using var timer = new PeriodicTimer(Interval, node.Time);
        do
        {
            node.Table.Beat();
            var message = node.Table.ToMessage();
            var targets = GossipTargets.Choose(node.Table.Views(), node.Self, node.Seeds, _backoff.IsDue, random);
            await Task.WhenAll(targets.Select(target => TalkAsync(target, message)));
            Save();
            Report();
        }
        while (await timer.WaitForNextTickAsync(node.Stopping));
    }

    private async Task TalkAsync(string address, GossipMessage message)
    {
        var reply = await node.Peers.GossipAsync(address, message, node.Stopping);
        Interlocked.Increment(ref node.Counters.GossipSent);
        var key = $"gossip {address}";
        if (reply.Read(GossipJson.Default.GossipMessage) is not { } answer)
        {
            Interlocked.Increment(ref node.Counters.GossipFailed);
            _backoff.Failed(address);
            if (reply.Status == 409)
            {
                node.Table.NoteConflict(new IdConflict(node.Self, reply.Line));
                return;
            }

            var why = reply.Line.Length > 0 ? reply.Line : "its answer can't be understood";
            node.Log.Trouble(key, $"the replicator at {address}: {why}");
            return;
        }

        if (node.Table.Merge(answer) is { } wrong)
        {
            Interlocked.Increment(ref node.Counters.GossipFailed);
            _backoff.Failed(address);
            node.Log.Trouble(key, $"the replicator at {address} tells what can't be: {wrong}");
            return;
        }

        _backoff.Succeeded(address);
        node.Log.Over(key, $"the replicator at {address} answers again");
    }

    private void Save()
    {
        var version = node.Table.Version;
        if (version == _savedVersion)
        {
            return;
        }

        try
        {
            node.Store.SavePeers(node.Table.ToMessage());
            _savedVersion = version;
            node.Log.Over("database", "the database takes changes again");
        }
        catch (Microsoft.Data.Sqlite.SqliteException failed)
        {
            node.Log.Trouble("database", $"the database takes no changes: {failed.Message}; peers are known until this process ends");
        }
    }

    private void Report()
    {
        foreach (var conflict in node.Table.Conflicts())
        {
            node.Log.Trouble($"id {conflict.Id}", conflict.Line);
        }

        if (node.Table.IsForgotten)
        {
            node.Log.Trouble("forgotten", "this host was forgotten by command: start its replicator again to be let in");
        }

        foreach (var host in node.Table.Views().Where(host => host.Record.Id != node.Self))
        {
            var key = $"host {host.Record.Id}";
            if (host.State == HostState.Down)
            {
                node.Log.Trouble(key, $"host {host.Name} is down: nothing was heard of it for {host.Silent.TotalSeconds:0} s");
            }
            else if (host.IsUp)
            {
                node.Log.Over(key, $"host {host.Name} is up again");
            }
        }
    }
}
