namespace CloudFs.Replicator.Membership;

/// <summary>Whom to talk to next. Pure: chance comes from outside.</summary>
internal static class GossipTargets
{
    public const int FanOut = 3;

    /// <summary>One in this many rounds tries a host that is down, or an address from the command line, besides.</summary>
    private const int RareEvery = 4;

    /// <param name="hosts">All that are known.</param>
    /// <param name="self">This host.</param>
    /// <param name="seeds">Addresses from the command line.</param>
    /// <param name="isDue">False for an address that failed lately and is left alone.</param>
    /// <param name="random">A number below the one given.</param>
    public static List<string> Choose(
        IReadOnlyList<HostView> hosts, string self, IReadOnlyList<string> seeds, Func<string, bool> isDue, Func<int, int> random)
    {
        var own = hosts.FirstOrDefault(host => host.Record.Id == self)?.Record.Address;
        var live = hosts.Where(host => host.Record.Id != self && host.State != HostState.Down).Select(host => host.Record.Address).ToList();
        var rare = hosts.Where(host => host.Record.Id != self && host.State == HostState.Down).Select(host => host.Record.Address)
            .Concat(seeds).Where(address => address != own && !live.Contains(address)).Distinct().Where(isDue).ToList();
        var chosen = Take(live.Distinct().Where(isDue).ToList(), FanOut, random);
        if (rare.Count > 0 && (chosen.Count == 0 || random(RareEvery) == 0))
        {
            chosen.AddRange(Take(rare, chosen.Count == 0 ? FanOut : 1, random));
        }

        return chosen;
    }

    private static List<string> Take(List<string> from, int count, Func<int, int> random)
    {
        List<string> taken = [];
        while (taken.Count < count && from.Count > 0)
        {
            var at = random(from.Count);
            taken.Add(from[at]);
            from.RemoveAt(at);
        }

        return taken;
    }
}

/// <summary>Addresses that failed are left alone for a while, longer each time, never for long. Safe from any thread.</summary>
internal sealed class Backoff(TimeProvider time, Func<int, int> random)
{
    private const int MaxAddresses = 4096;

    private const int MaxExponent = 5;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (int Failures, long At, TimeSpan Wait)> _failed = [];

    public bool IsDue(string address)
    {
        lock (_gate)
        {
            return !_failed.TryGetValue(address, out var last) || time.GetElapsedTime(last.At) >= last.Wait;
        }
    }

    /// <summary>Waits a second, two, four and so on up to half a minute, each between half and all of it.</summary>
    public void Failed(string address)
    {
        lock (_gate)
        {
            var failures = _failed.GetValueOrDefault(address).Failures + 1;
            if (failures == 1 && _failed.Count >= MaxAddresses)
            {
                return;
            }

            var milliseconds = 1000 << Math.Min(failures - 1, MaxExponent);
            _failed[address] = (failures, time.GetTimestamp(), TimeSpan.FromMilliseconds((milliseconds / 2) + random(milliseconds / 2)));
        }
    }

    public void Succeeded(string address)
    {
        lock (_gate)
        {
            _failed.Remove(address);
        }
    }
}
