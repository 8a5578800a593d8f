using CloudFs.Core.Format;
using CloudFs.Core.Primitives;
using CloudFs.Replicator.Membership;
using CloudFs.Replicator.Placement;

namespace CloudFs.Replicator.Creation;

/// <summary>What a new disk is to be like.</summary>
internal sealed record DiskWish(int Replicas, AttributesBody Attributes);

/// <summary>A first entry that is ready to be sent.</summary>
/// <param name="Entry">The entry.</param>
/// <param name="Hosts">Data hosts and witness, the primary first.</param>
/// <param name="Witness">The witness among them; null for none.</param>
/// <param name="Overlap">How many of the data hosts are those that the id calls for.</param>
/// <param name="Tries">How many ids were tried.</param>
internal sealed record CreationPlan(FirstEntry Entry, IReadOnlyList<HostView> Hosts, HostView? Witness, int Overlap, int Tries);

/// <summary>
/// A disk's id is the hash of its first entry, and the first entry names the hosts, which follow from the id: so ids are tried, each
/// with a fresh secret, until the hosts that an id calls for are the ones that it names (docs/adr/0023-search-for-an-id.md).
/// </summary>
internal static class CreationSearch
{
    public const int MaxTries = 1 << 20;

    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>One line why there can be no such disk now; null when there can.</summary>
    public static string? FindRefusal(int replicas, IReadOnlyList<HostView> hosts)
    {
        if (replicas is < 1 or > 7)
        {
            return $"{replicas} replicas were asked for; a disk has 1 to 7";
        }

        var data = hosts.Where(host => host.TakesData).ToList();
        if (data.Count >= replicas)
        {
            return null;
        }

        var names = data.Count == 0 ? "" : $": {string.Join(", ", data.Select(host => host.Name))}";
        var others = hosts.Where(host => !host.TakesData).Select(host => $"{host.Name} {WhyNot(host)}").ToList();
        var rest = others.Count == 0 ? "" : $" (not {string.Join("; not ", others)})";
        var advice = data.Count == 0 ? "start one with its replicator" : $"ask for fewer: cloudfs newdisk {data.Count}";
        var many = replicas == 1 ? "1 replica was asked for" : $"{replicas} replicas were asked for";
        var count = data.Count == 1 ? "there is 1 host" : $"there are {data.Count} hosts";
        return $"{many}, but {count}{names}{rest}; {advice}";
    }

    /// <summary>Why a host takes no new replica, for people.</summary>
    public static string WhyNot(HostView host) =>
        host.Record.Witness ? "which is a witness"
        : host.State != HostState.Up ? $"which is {(host.State == HostState.Down ? "down" : "suspect")}"
        : host.Draining ? "which is drained"
        : !host.Record.Ready || host.Record.Device.Length == 0 ? "whose daemon does not answer"
        : host.IsFull ? "which is full" : "which is up";

    /// <summary>The witness for two replicas: a host meant for it first, else any that is up and holds no data of the disk.</summary>
    public static HostView? ChooseWitness(Id160 disk, IReadOnlyList<HostView> hosts, IEnumerable<Id160> taken)
    {
        var free = hosts.Where(host => host.TakesVotes && !taken.Contains(host.Id)).ToList();
        var meant = free.Where(host => host.Record.Witness).ToList();
        var best = Rendezvous.Rank(disk, (meant.Count > 0 ? meant : free).Select(host => host.ForPlacement)).FirstOrDefault();
        return best is null ? null : free.First(host => host.Id == best.Id);
    }

    /// <summary>Searches. There must be enough hosts (<see cref="FindRefusal"/>).</summary>
    /// <param name="wish">The disk.</param>
    /// <param name="hosts">All hosts.</param>
    /// <param name="local">The host that is asked: its primary where it is among the chosen.</param>
    /// <param name="newSecret">Chance from outside.</param>
    /// <param name="time">For the entry's time, and the end of patience.</param>
    public static CreationPlan Search(
        DiskWish wish, IReadOnlyList<HostView> hosts, Id160 local, Func<Id160> newSecret, TimeProvider time)
    {
        var started = time.GetTimestamp();
        var candidates = hosts.Where(host => host.TakesData).ToDictionary(host => host.Id);
        var places = candidates.Values.Select(host => host.ForPlacement).ToList();

        // Any id will do to begin with: the hosts that it calls for are the set that is then held fast.
        var seed = newSecret();
        var set = Rendezvous.Place(seed, places, wish.Replicas).Select(host => candidates[host.Id]).ToList();
        var primary = set.FirstOrDefault(host => host.Id == local) ?? set[0];
        var witness = wish.Replicas == 2 ? ChooseWitness(seed, hosts, set.Select(host => host.Id)) : null;
        List<HostView> named = [primary, .. set.Where(host => host != primary)];
        if (witness is not null)
        {
            named.Add(witness);
        }

        var replicas = named
            .Select(host => new Replica(host.Id, Id160.Parse(host.Record.Device), Witness: host == witness)).ToList();
        var micros = (ulong)(time.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / 10;
        CreationPlan? best = null;
        for (var tries = 1; ; tries++)
        {
            var entry = FirstEntry.Seal(newSecret(), primary.Id, replicas, wish.Attributes, micros);
            var called = Rendezvous.Place(entry.Id, places, wish.Replicas);
            var overlap = called.Count(host => set.Exists(chosen => chosen.Id == host.Id));
            if (best is null || overlap > best.Overlap)
            {
                best = new CreationPlan(entry, named, witness, overlap, tries);
            }

            if (overlap == wish.Replicas || tries == MaxTries || time.GetElapsedTime(started) >= Patience)
            {
                return best with { Tries = tries };
            }
        }
    }
}
