using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Creation;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Placement;

namespace CloudFs.Replicator.Repair;

/// <summary>What is to be done about a disk next.</summary>
internal enum RepairStep
{
    /// <summary>Nothing: it is whole, or <see cref="RepairDecision.Reason"/> says what is waited for.</summary>
    None,

    /// <summary>A named or joining host is to take the disk up again.</summary>
    Hold,

    /// <summary>A host becomes a replica: it holds the disk, and the primary is told.</summary>
    Add,

    /// <summary>A host leaves the view, or a joining one is given up.</summary>
    Remove,

    /// <summary>The right to write goes to another replica.</summary>
    Move,
}

/// <summary>One decision, with its reason for people; the reason is null only for a disk that lacks nothing.</summary>
internal sealed record RepairDecision(RepairStep Step, string? Host = null, bool Witness = false, string? Reason = null);

/// <summary>What is wanted of a disk beyond what its view says; may be lost.</summary>
/// <param name="Replicas">How many data replicas it is to have; null: as many as its view had.</param>
/// <param name="MoveTo">Who is to be primary; null for nobody in particular.</param>
/// <param name="Former">The data replica that was taken out so that the disk goes on.</param>
/// <param name="FormerAway">How long ago it was.</param>
internal sealed record DiskIntent(int? Replicas = null, string? MoveTo = null, string? Former = null, TimeSpan FormerAway = default);

/// <summary>
/// What the primary's replicator does about a disk. Pure: what the primary's daemon says of the disk, the hosts and what is wanted
/// go in, one decision comes out; it is asked again when that was done (docs/protocol/replicator.md, "Repair").
/// </summary>
internal static class RepairRules
{
    /// <summary>PROTOCOL.md, 22: with a witness, a data replica that is away this long leaves the view, so that the disk goes on.</summary>
    public static readonly TimeSpan WitnessPatience = TimeSpan.FromSeconds(5);

    /// <summary>How long beyond the grace period a host that is up is told to follow before it is replaced.</summary>
    private static readonly TimeSpan HoldPatience = TimeSpan.FromSeconds(60);

    public static RepairDecision Decide(
        ClusterDiskJson disk, string self, IReadOnlyList<HostView> hosts, DiskIntent intent, TimeSpan grace)
    {
        var state = new DiskSituation(disk, self, hosts, grace, intent);
        if (disk.State is not ("serving" or "waiting"))
        {
            return Wait($"it is {disk.State}: {disk.Reason ?? "its daemon is at work"}");
        }

        // One that is up and yet can't follow is replaced in the end like any other; it is told on while nobody can take its place.
        var decision = GoOnWithWitness(state)
            ?? HoldWhatIsNamed(state, grace + HoldPatience)
            ?? (state.Joining.Count > 0 ? AboutJoining(state)
                : disk.State == "waiting" ? Wait($"too few replicas are within reach: {disk.Reason ?? "waiting for them"}")
                : RemoveSurplus(state) ?? AddMissing(state) ?? MovePrimary(state) ?? Rest(state));
        return decision.Step == RepairStep.None ? HoldWhatIsNamed(state, TimeSpan.MaxValue) ?? decision : decision;
    }

    /// <summary>How many data replicas a disk has to have where nobody said so: as its view has now.</summary>
    public static int WantedOf(ClusterDiskJson disk) => Math.Max(
        disk.Replicas.Count(replica => replica is { Joining: false, Witness: false }),
        disk.Replicas.Any(replica => replica is { Joining: false, Witness: true }) ? 2 : 1);

    private static RepairDecision Wait(string reason) => new(RepairStep.None, Reason: reason);

    private static RepairDecision? GoOnWithWitness(DiskSituation state)
    {
        if (state.Data.Count != 2 || !state.Witnesses.Any(witness => witness.State is "live"))
        {
            return null;
        }

        var gone = state.Data.FirstOrDefault(replica =>
            replica.Host != state.Self && replica.State == "away" && replica.AwaySeconds > WitnessPatience.TotalSeconds);
        return gone is null ? null : new RepairDecision(
            RepairStep.Remove, gone.Host, Reason: $"{Short(gone.Host)} is away: the disk goes on with its witness until it is back");
    }

    private static RepairDecision? HoldWhatIsNamed(DiskSituation state, TimeSpan until)
    {
        var away = state.Disk.Replicas.FirstOrDefault(replica =>
            replica.Host != state.Self && replica.State == "away" && replica.AwaySeconds <= until.TotalSeconds
            && state.HostOf(replica.Host) is { IsUp: true, Record.Ready: true });
        return away is null ? null : new RepairDecision(
            RepairStep.Hold, away.Host, away.Witness, $"{Short(away.Host)} is away from the disk although it is up: it is told to follow");
    }

    private static RepairDecision AboutJoining(DiskSituation state)
    {
        var joining = state.Joining[0];
        var host = state.HostOf(joining.Host);
        if (host is null || joining.AwaySeconds > state.Grace.TotalSeconds || (host.State == HostState.Down && joining.State == "away"))
        {
            return new RepairDecision(
                RepairStep.Remove, joining.Host, Reason: $"{Short(joining.Host)}, which was joining, is gone: it is given up");
        }

        // More joined than is called for, because one came back: whoever has less to copy stays.
        if (!joining.Witness && state.Kept.Count >= state.Wanted && state.MoveTo != joining.Host)
        {
            var slowest = state.Kept.Where(replica => replica.State is not ("primary" or "live")).MaxBy(replica => replica.LagBytes);
            if (slowest is null || slowest.LagBytes < joining.LagBytes)
            {
                return new RepairDecision(RepairStep.Remove, joining.Host, Reason:
                    $"{Short(joining.Host)}, which was joining, is given up: those that are named are back sooner");
            }
        }

        var left = joining.SecondsLeft is { } seconds ? $", {seconds:0} s left" : "";
        return Wait($"{Short(joining.Host)} is joining{left}");
    }

    private static RepairDecision? RemoveSurplus(DiskSituation state)
    {
        // Never below what is wanted alive, and the primary never removes itself.
        var removable = state.Data.Where(replica => replica.Host != state.Self).ToList();
        if (state.Data.Count > state.Wanted && removable.Count > 0)
        {
            // A replica that is neither lost nor drained is one too many only when enough others stay, and nobody waits to be primary.
            var kept = removable.FindAll(state.Kept.Contains);
            var victim = removable.FirstOrDefault(state.IsLost)
                ?? removable.FirstOrDefault(state.IsDraining)
                ?? (state.Kept.Count > state.Wanted && state.MoveTo is null
                    ? kept.FirstOrDefault(replica => !state.IsLive(replica)) ?? LeastCalledFor(state, kept) : null);
            if (victim is null)
            {
                return null;
            }

            var liveWithout = state.Data.Count(replica => replica != victim && state.IsLive(replica));
            if (liveWithout >= state.Wanted)
            {
                return new RepairDecision(RepairStep.Remove, victim.Host, Reason: state.IsLost(victim)
                    ? $"{Short(victim.Host)} was away for longer than the grace period and has been replaced"
                    : state.IsDraining(victim) ? $"{Short(victim.Host)} is being drained and has been replaced"
                    : $"{Short(victim.Host)} is one replica more than is wanted");
            }
        }

        var extra = state.Witnesses.Count > state.WantedWitnesses
            ? state.Witnesses.FirstOrDefault(state.IsLost) ?? state.Witnesses.FirstOrDefault(state.IsDraining)
                ?? (state.WantedWitnesses == 0 ? state.Witnesses[0] : null)
            : null;
        return extra is not null && state.Data.All(state.IsLive) && state.Data.Count >= state.Wanted
            ? new RepairDecision(RepairStep.Remove, extra.Host, true, $"{Short(extra.Host)} is needed as a witness no more") : null;
    }

    private static ClusterReplicaJson? LeastCalledFor(DiskSituation state, List<ClusterReplicaJson> replicas)
    {
        var ranked = Rendezvous.Rank(state.Id, state.Hosts.Select(host => host.ForPlacement)).ConvertAll(host => host.Id.ToString());
        return replicas.MaxBy(replica => ranked.IndexOf(replica.Host) is >= 0 and var place ? place : int.MaxValue);
    }

    private static RepairDecision? AddMissing(DiskSituation state)
    {
        var taken = state.Disk.Replicas.Select(replica => replica.Host).ToHashSet();
        if (state.MoveTo is { } target && !taken.Contains(target) && state.HostOf(target) is { TakesData: true })
        {
            return new RepairDecision(RepairStep.Add, target, Reason: $"{Short(target)} is to be the primary: it gets a copy first");
        }

        if (state.Kept.Count < state.Wanted)
        {
            return AddData(state, taken);
        }

        var witnessIsMissing =
            state.Witnesses.Count(witness => !state.IsLost(witness) && !state.IsDraining(witness)) < state.WantedWitnesses;
        if (!witnessIsMissing)
        {
            return null;
        }

        var other = CreationSearch.ChooseWitness(state.Id, state.Hosts, taken.Select(Id160.Parse));
        return other is null ? Wait("its witness is gone and no other host is up that could be one")
            : new RepairDecision(RepairStep.Add, other.Record.Id, true, "its witness is gone: another one takes its place");
    }

    private static RepairDecision AddData(DiskSituation state, HashSet<string> taken)
    {
        var former = state.Former;
        if (former is not null && !taken.Contains(former) && state.HostOf(former) is { TakesData: true })
        {
            return new RepairDecision(RepairStep.Add, former, Reason: $"{Short(former)} is back: it catches up and is named again");
        }

        if (former is not null && state.FormerAway < state.Grace)
        {
            var left = (state.Grace - state.FormerAway).TotalSeconds;
            return Wait($"{Short(former)} is away; it is replaced in {left:0} s");
        }

        var zones = state.Kept.Select(replica => state.HostOf(replica.Host)?.ForPlacement.Zone).OfType<string>();
        var free = state.Hosts.Where(host => host.TakesData && !taken.Contains(host.Record.Id)).Select(host => host.ForPlacement);
        var best = Rendezvous.Place(state.Id, free, 1, zones).FirstOrDefault();
        return best is null
            ? Wait($"it has {state.Kept.Count} of {state.Wanted} replicas, and there is no other host that could take one")
            : new RepairDecision(
                RepairStep.Add, best.Id.ToString(),
                    Reason: $"it has {state.Kept.Count} of {state.Wanted} replicas: {Short(best.Id.ToString())} gets one");
    }

    private static RepairDecision? MovePrimary(DiskSituation state)
    {
        var others = state.Data
            .Where(replica => replica.Host != state.Self && replica.State == "live" && !state.IsDraining(replica)).ToList();
        if (state.MoveTo is { } target && others.Exists(replica => replica.Host == target))
        {
            return new RepairDecision(RepairStep.Move, target, Reason: "it was asked for");
        }

        if (state.HostOf(state.Self) is not { Draining: true } || others.Count < state.Wanted)
        {
            return null;
        }

        var best = Rendezvous.Rank(
            state.Id, others.Select(replica => state.HostOf(replica.Host)).OfType<HostView>().Select(host => host.ForPlacement));
        return best.Count == 0 ? null : new RepairDecision(RepairStep.Move, best[0].Id.ToString(), Reason: "this host is being drained");
    }

    private static RepairDecision Rest(DiskSituation state)
    {
        var notLive = state.Disk.Replicas.FirstOrDefault(replica => replica.State is not ("live" or "primary"));
        if (notLive is null)
        {
            return new RepairDecision(RepairStep.None);
        }

        var left = (state.Grace.TotalSeconds - notLive.AwaySeconds) is > 0 and var seconds ? $"; it is replaced in {seconds:0} s" : "";
        return Wait(notLive.State == "away"
            ? $"{Short(notLive.Host)} is away{left}"
            : $"{Short(notLive.Host)} is {notLive.State}{(notLive.Reason is null ? "" : $": {notLive.Reason}")}");
    }

    private static string Short(string host) => host.Length > 8 ? host[..8] : host;

    /// <summary>The disk sorted by what matters.</summary>
    private sealed class DiskSituation
    {
        private readonly Dictionary<string, HostView> _hosts;
        private readonly DiskIntent _intent;

        public DiskSituation(ClusterDiskJson disk, string self, IReadOnlyList<HostView> hosts, TimeSpan grace, DiskIntent intent)
        {
            (Disk, Self, Hosts, Grace, _intent) = (disk, self, hosts, grace, intent);
            _hosts = hosts.ToDictionary(host => host.Record.Id);
            Id = Id160.Parse(disk.Id);
            Data = [.. disk.Replicas.Where(replica => replica is { Joining: false, Witness: false })];
            Witnesses = [.. disk.Replicas.Where(replica => replica is { Joining: false, Witness: true })];
            Joining = [.. disk.Replicas.Where(replica => replica.Joining)];
            Wanted = intent.Replicas ?? WantedOf(disk);
            WantedWitnesses = Wanted == 2 && Witnesses.Count > 0 ? 1 : 0;
            Kept = [.. Data.Where(replica => !IsLost(replica) && !IsDraining(replica))];
        }

        public ClusterDiskJson Disk { get; }

        public Id160 Id { get; }

        public string Self { get; }

        public IReadOnlyList<HostView> Hosts { get; }

        public TimeSpan Grace { get; }

        public List<ClusterReplicaJson> Data { get; }

        public List<ClusterReplicaJson> Witnesses { get; }

        public List<ClusterReplicaJson> Joining { get; }

        /// <summary>Data replicas that stay: neither lost nor on a host that is being drained.</summary>
        public List<ClusterReplicaJson> Kept { get; }

        public int Wanted { get; }

        public int WantedWitnesses { get; }

        public string? MoveTo => _intent.MoveTo == Self ? null : _intent.MoveTo;

        public string? Former => _intent.Former;

        public TimeSpan FormerAway => _intent.FormerAway;

        public HostView? HostOf(string id) => _hosts.GetValueOrDefault(id);

        public bool IsLost(ClusterReplicaJson replica) =>
            replica.Host != Self && replica.State is "away" && replica.AwaySeconds > Grace.TotalSeconds;

        public bool IsDraining(ClusterReplicaJson replica) => HostOf(replica.Host) is { Draining: true };

        public bool IsLive(ClusterReplicaJson replica) => replica.State is "live" or "primary";
    }
}
