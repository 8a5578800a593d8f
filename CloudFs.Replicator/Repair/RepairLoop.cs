using CloudFs.Core.Contracts;
using CloudFs.Replicator.Hosting;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Remote;

namespace CloudFs.Replicator.Repair;

/// <summary>
/// Each second: for each disk of which this host is the primary, does what <see cref="RepairRules"/> say; for each copy that is named no
/// more, or that was never made, sees whether it can go. A few disks at a time; the next step of a disk follows when the daemon has
/// told of the last one.
/// </summary>
internal sealed class RepairLoop(Node node)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private const int Parallel = 8;

    /// <summary>More copies at once would only make each slower.</summary>
    private const int MaxJoining = 8;

    private readonly Dictionary<string, long> _unmadeSince = [];
    private readonly Dictionary<string, long> _waitUntil = [];

    public async Task RunAsync()
    {
        using var timer = new PeriodicTimer(Interval, node.Time);
        while (await timer.WaitForNextTickAsync(node.Stopping))
        {
            if (node.DaemonTrouble is null)
            {
                await PassAsync();
            }
        }
    }

    /// <summary>One round over all disks.</summary>
    public async Task PassAsync()
    {
        var local = node.Local;
        var hosts = node.Table.Views();
        List<Func<Task>> work = [];
        var joining = local.Primaries.Sum(disk => disk.Replicas.Count(replica => replica.Joining));
        NoteUnmade(local);
        foreach (var disk in local.All)
        {
            if (_waitUntil.TryGetValue(disk.Id, out var until) && node.Time.GetTimestamp() < until)
            {
                continue;
            }

            if (IsUnmade(disk))
            {
                if (node.Time.GetElapsedTime(_unmadeSince[disk.Id]) >= node.Options.UnmadeAfter)
                {
                    work.Add(() => CompleteOrDropAsync(disk, hosts));
                }
            }
            else if (disk.Role == "removed")
            {
                work.Add(() => DropIfWholeAsync(disk, hosts));
            }
            else if (disk.Role == "primary")
            {
                var decision = RepairRules.Decide(disk, node.Self, hosts, node.Intents.Get(disk.Id), node.Options.Grace);
                node.Intents.SetReason(disk.Id, decision.Reason);
                if (decision.Step == RepairStep.None || (decision.Step == RepairStep.Add && joining++ >= MaxJoining))
                {
                    continue;
                }

                work.Add(() => DoAsync(disk, decision));
            }
        }

        node.Intents.KeepReasons(local.Primaries.Select(disk => disk.Id).ToHashSet());
        await System.Threading.Tasks.Parallel.ForEachAsync(
            work, new ParallelOptions { MaxDegreeOfParallelism = Parallel, CancellationToken = node.Stopping },
            async (task, _) => await task());
        if (work.Count > 0)
        {
            node.AskDaemonSoon();
        }
    }

    private static bool IsUnmade(ClusterDiskJson disk) => disk is { Lsn: 1, Committed: 0, Replicas.Count: > 1 };

    private void NoteUnmade(LocalDisks local)
    {
        foreach (var gone in _unmadeSince.Keys.Where(id => local.ById(id) is not { } disk || !IsUnmade(disk)).ToList())
        {
            _unmadeSince.Remove(gone);
        }

        foreach (var disk in local.All.Where(IsUnmade))
        {
            _unmadeSince.TryAdd(disk.Id, node.Time.GetTimestamp());
        }

        foreach (var past in _waitUntil.Where(pair => pair.Value < node.Time.GetTimestamp()).Select(pair => pair.Key).ToList())
        {
            _waitUntil.Remove(past);
        }
    }

    private async Task DoAsync(ClusterDiskJson disk, RepairDecision decision)
    {
        var host = node.Table.Find(decision.Host!);
        var key = $"disk {disk.Id}";
        if (decision.Step is RepairStep.Add or RepairStep.Remove && node.Intents.Get(disk.Id).Replicas is null)
        {
            // From here on the view may name more or fewer than are wanted.
            var wanted = RepairRules.WantedOf(disk);
            node.Intents.Change(disk.Id, intent => intent with { Replicas = wanted });
        }

        var reply = decision.Step switch
        {
            RepairStep.Hold => await HoldAsync(disk, host, decision.Witness),
            RepairStep.Add => await AddAsync(disk, host, decision.Witness),
            RepairStep.Remove => await node.Daemon.ChangeMembersAsync(
                new MembersRequest { Disk = disk.Id, Remove = decision.Host }, node.Stopping),
            _ => await MoveAsync(disk, host, decision.Host!),
        };
        Interlocked.Increment(ref node.Counters.RepairSteps);
        if (!reply.IsGood)
        {
            Interlocked.Increment(ref node.Counters.RepairFailures);
            node.Intents.SetReason(disk.Id, $"{decision.Reason}; that failed and is tried again in 5 s: {reply.Line}");
            node.Log.Trouble(key, $"disk {disk.Id[..8]}: {decision.Reason}; that failed: {reply.Line}");
            WaitFor(disk.Id, TimeSpan.FromSeconds(5));
            return;
        }

        node.Log.Over(key, $"disk {disk.Id[..8]}: goes on");
        if (decision.Step != RepairStep.Hold)
        {
            node.Log.Info($"disk {disk.Id[..8]}: {decision.Step} {decision.Host![..8]}: {decision.Reason}");
        }

        AfterStep(disk, decision);
    }

    private void AfterStep(ClusterDiskJson disk, RepairDecision decision)
    {
        switch (decision.Step)
        {
            case RepairStep.Hold:
                // It is asked again for as long as it is away, but not each second.
                WaitFor(disk.Id, TimeSpan.FromSeconds(3));
                break;
            case RepairStep.Remove when !decision.Witness && IsWithWitness(disk):
                node.Intents.Change(disk.Id, intent => intent with { Former = decision.Host });
                break;
            case RepairStep.Add when !decision.Witness:
                node.Intents.Change(disk.Id, intent => intent with { Former = null });
                break;
            case RepairStep.Move:
                node.Intents.Change(disk.Id, intent => intent with { MoveTo = null });
                break;
        }
    }

    private static bool IsWithWitness(ClusterDiskJson disk) =>
        disk.Replicas.Any(replica => replica is { Joining: false, Witness: true })
        && disk.Replicas.Count(replica => replica is { Joining: false, Witness: false }) == 2;

    private void WaitFor(string disk, TimeSpan time)
    {
        lock (_waitUntil)
        {
            _waitUntil[disk] = node.Time.GetTimestamp() + (long)(time.TotalSeconds * node.Time.TimestampFrequency);
        }
    }

    private Task<Reply> HoldAsync(ClusterDiskJson disk, HostView? host, bool witness) => host is null
        ? Task.FromResult(new Reply(0, [], "the host is not known"))
        : node.Peers.HoldAsync(host.Record.Address, new HoldRequest(disk.Id, node.Self, witness), node.Stopping);

    private async Task<Reply> AddAsync(ClusterDiskJson disk, HostView? host, bool witness)
    {
        // The primary is told first: it refuses nobody whom it expects.
        if (host is null)
        {
            return new Reply(0, [], "the host is not known");
        }

        var added = await node.Daemon.ChangeMembersAsync(
            new MembersRequest { Disk = disk.Id, Add = new MemberJson(host.Record.Id, host.Record.Device, witness) }, node.Stopping);
        return added.IsGood ? await HoldAsync(disk, host, witness) : added;
    }

    private async Task<Reply> MoveAsync(ClusterDiskJson disk, HostView? host, string to)
    {
        var wanted = node.Intents.Get(disk.Id).Replicas ?? RepairRules.WantedOf(disk);
        if (host is not null)
        {
            var told = await node.Peers.IntendAsync(host.Record.Address, new IntentRequest(disk.Id, wanted), node.Stopping);
            if (!told.IsGood)
            {
                return told;
            }
        }

        return await node.Daemon.MoveAsync(new MoveRequest(disk.Id, to), node.Stopping);
    }

    /// <summary>A copy that the view names no more goes away once the primary says that all its replicas are in step.</summary>
    private async Task DropIfWholeAsync(ClusterDiskJson disk, IReadOnlyList<HostView> hosts)
    {
        foreach (var host in hosts.Where(host => host.IsUp && host.Record.Id != node.Self))
        {
            var reply = await node.Peers.GetHeldAsync(host.Record.Address, disk.Id, node.Stopping);
            if (reply.Read(PeerJsonContext.Default.ClusterDiskJson) is not { Role: "primary" } held)
            {
                continue;
            }

            if (!LocalDisks.IsDegraded(held) && held.Epoch >= disk.Epoch && held.Replicas.All(replica => replica.Host != node.Self))
            {
                var dropped = await node.Daemon.DropAsync(disk.Id, node.Stopping);
                node.Log.Info($"disk {disk.Id[..8]}: the copy here is needed no more: {(dropped.IsGood ? "dropped" : dropped.Line)}");
            }

            break;
        }

        WaitFor(disk.Id, TimeSpan.FromSeconds(5));
    }

    /// <summary>PROTOCOL.md, 23: a disk that a majority has is completed, one that no majority can have goes away.</summary>
    private async Task CompleteOrDropAsync(ClusterDiskJson disk, IReadOnlyList<HostView> hosts)
    {
        var (have, lack) = (1, 0);
        List<HostView> lacking = [];
        foreach (var replica in disk.Replicas.Where(replica => replica.Host != node.Self))
        {
            if (hosts.FirstOrDefault(host => host.Record.Id == replica.Host) is not { } host)
            {
                continue;
            }

            var reply = await node.Peers.GetHeldAsync(host.Record.Address, disk.Id, node.Stopping);
            have += reply.IsGood ? 1 : 0;
            if (reply.Status == 404)
            {
                lack++;
                lacking.Add(host);
            }
        }

        var majority = (disk.Replicas.Count / 2) + 1;
        switch (Unmade.Decide(disk.Replicas.Count, have, lack))
        {
            case UnmadeStep.Complete when disk.Role == "primary":
                foreach (var host in lacking)
                {
                    var witness = disk.Replicas.First(replica => replica.Host == host.Record.Id).Witness;
                    await HoldAsync(disk, host, witness);
                }

                break;
            case UnmadeStep.Drop:
                var dropped = await node.Daemon.DropAsync(disk.Id, node.Stopping);
                node.Log.Info($"disk {disk.Id[..8]}: it was never made ({have} of {majority} hosts have it): "
                    + (dropped.IsGood ? "dropped" : dropped.Line));
                break;
            default:
                node.Intents.SetReason(disk.Id,
                    $"{have} of {majority} hosts that make it exist have it; the others are asked again in 5 s");
                break;
        }

        WaitFor(disk.Id, TimeSpan.FromSeconds(5));
    }
}
