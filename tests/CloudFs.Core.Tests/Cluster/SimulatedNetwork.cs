using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;

namespace CloudFs.Core.Tests.Cluster;

/// <summary>
/// What lies between the hosts of one simulation, from a seed: each connection has its own delays, so that what is sent over one may overtake
/// what was sent before over another; connections are cut at any byte; between two hosts nothing may pass, in one direction or both.
/// </summary>
internal sealed class SimulatedNetwork(Simulation simulation, Random random)
{
    private readonly Dictionary<Id160, (HostContext Context, Func<IPeerChannel, Task> Serve)> _listening = [];
    private readonly HashSet<(Id160 From, Id160 To)> _blocked = [];
    private readonly List<Connection> _open = [];

    /// <summary>Connections that were made so far.</summary>
    public int Dialled { get; private set; }

    /// <summary>Connections that are open now.</summary>
    public int OpenCount => _open.Count;

    /// <summary>From now on a host's process takes connections.</summary>
    public void Listen(Id160 host, HostContext context, Func<IPeerChannel, Task> serve) => _listening[host] = (context, serve);

    /// <summary>A host's process is gone: its connections break, and nobody answers.</summary>
    public void Silence(Id160 host)
    {
        _listening.Remove(host);
        Break(open => open.Near == host || open.Far == host);
    }

    /// <summary>Nothing passes any more from one host to the other; what is sent waits.</summary>
    public void Block(Id160 from, Id160 to) => _blocked.Add((from, to));

    /// <summary>True when what either host sends comes to the other.</summary>
    public bool Passes(Id160 one, Id160 other) => !_blocked.Contains((one, other)) && !_blocked.Contains((other, one));

    /// <summary>All pass again. Of the connections that waited some go on, and some were given up meanwhile.</summary>
    public void Heal()
    {
        var blocked = _blocked.ToArray();
        _blocked.Clear();
        Break(open => blocked.Any(pair => open.IsBetween(pair.From, pair.To)) && random.Next(2) == 0);
    }

    /// <summary>One of the open connections is cut, now or within what is sent next.</summary>
    public void CutOne()
    {
        if (_open.Count == 0)
        {
            return;
        }

        var open = _open[random.Next(_open.Count)];
        var pipe = random.Next(2) == 0 ? open.There : open.Back;
        if (random.Next(3) == 0)
        {
            Break(other => other == open);
        }
        else
        {
            pipe.CutAfter = random.Next(2) == 0 ? random.Next(200) : random.Next(40_000);
        }
    }

    public IPeerDialer DialerOf(Id160 host) => new Dialer(this, host);

    private void Break(Func<Connection, bool> which)
    {
        foreach (var open in _open.Where(which).ToList())
        {
            Drop(open);
        }
    }

    private void Drop(Connection open)
    {
        _open.Remove(open);
        open.There.Break();
        open.Back.Break();
    }

    private async ValueTask<IPeerChannel> DialAsync(Id160 from, PeerAddress peer, CancellationToken cancellation)
    {
        await Task.Delay(TimeSpan.FromMicroseconds(random.Next(50, 2000)), simulation.Time, cancellation);
        while (_blocked.Contains((from, peer.Host)) || _blocked.Contains((peer.Host, from)))
        {
            // Nobody says no either.
            await Task.Delay(TimeSpan.FromMilliseconds(100), simulation.Time, cancellation);
        }

        if (!_listening.TryGetValue(peer.Host, out var listener))
        {
            throw new IOException("nobody answers");
        }

        // Some connections are quick, some slow; each has its hiccups.
        var typical = random.Next(4) == 0 ? random.Next(1000, 20_000) : random.Next(20, 600);
        var there = new NetworkPipe(simulation.Time, Delay, () => _blocked.Contains((from, peer.Host)));
        var back = new NetworkPipe(simulation.Time, Delay, () => _blocked.Contains((peer.Host, from)));
        var open = new Connection(from, peer.Host, there, back);
        there.OnCut = back.OnCut = () => Drop(open);
        _open.Add(open);
        Dialled++;
        var far = new NetworkChannel($"host {from}", there, back);
        _ = listener.Context.Spawn(() => listener.Serve(far));
        return new NetworkChannel(peer.Address, back, there);

        TimeSpan Delay() => TimeSpan.FromMicroseconds(
            random.Next(50) == 0 ? random.Next(1000, 60_000) : random.Next(typical / 2, typical * 2));
    }

    private sealed record Connection(Id160 Near, Id160 Far, NetworkPipe There, NetworkPipe Back)
    {
        public bool IsBetween(Id160 one, Id160 other) => (Near == one && Far == other) || (Near == other && Far == one);
    }

    private sealed class Dialer(SimulatedNetwork network, Id160 host) : IPeerDialer
    {
        public ValueTask<IPeerChannel> DialAsync(PeerAddress peer, CancellationToken cancellation) =>
            network.DialAsync(host, peer, cancellation);
    }
}
