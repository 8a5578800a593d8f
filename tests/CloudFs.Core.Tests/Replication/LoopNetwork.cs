using CloudFs.Core.Primitives;
using CloudFs.Core.Replication;
using CloudFs.Core.Tests.Engine;

namespace CloudFs.Core.Tests.Replication;

/// <summary>
/// A network between the hosts of one simulation: bytes arrive after a while, in order within a channel; channels break, hosts are cut off from each
/// other, each by the test's word.
/// </summary>
internal sealed class LoopNetwork(Simulation simulation, Random random)
{
    private readonly Dictionary<Id160, Func<IPeerChannel, Task>> _listening = [];
    private readonly HashSet<(Id160 From, Id160 To)> _cut = [];
    private readonly List<(Id160 From, Id160 To, LoopChannel Near, LoopChannel Far)> _open = [];

    public List<Task> Served { get; } = [];

    public void Listen(Id160 host, Func<IPeerChannel, Task> serve) => _listening[host] = serve;

    /// <summary>The host's process is gone: its connections break.</summary>
    public void Silence(Id160 host)
    {
        _listening.Remove(host);
        Break(link => link.From == host || link.To == host);
    }

    /// <summary>Nothing passes between two hosts any more; connections between them break.</summary>
    public void Cut(Id160 one, Id160 other)
    {
        _cut.Add((one, other));
        _cut.Add((other, one));
        Break(link => (link.From == one && link.To == other) || (link.From == other && link.To == one));
    }

    public void Heal(Id160 one, Id160 other)
    {
        _cut.Remove((one, other));
        _cut.Remove((other, one));
    }

    public IPeerDialer DialerOf(Id160 host) => new Dialer(this, host);

    private void Break(Func<(Id160 From, Id160 To), bool> which)
    {
        foreach (var link in _open.Where(link => which((link.From, link.To))).ToList())
        {
            link.Near.Break();
            link.Far.Break();
            _open.Remove(link);
        }
    }

    private async ValueTask<IPeerChannel> DialAsync(Id160 from, PeerAddress peer)
    {
        await DelayAsync();
        if (_cut.Contains((from, peer.Host)) || !_listening.TryGetValue(peer.Host, out var serve))
        {
            throw new IOException("nobody answers");
        }

        var (there, back) = (new LoopPipe(DelayAsync), new LoopPipe(DelayAsync));
        var near = new LoopChannel($"host {peer.Host}", back, there);
        var far = new LoopChannel($"host {from}", there, back);
        _open.Add((from, peer.Host, near, far));
        Served.Add(simulation.Spawn(() => serve(far)));
        return near;
    }

    private async ValueTask DelayAsync()
    {
        // Delays are whole milliseconds: most messages take none, and some a few.
        await simulation.PauseAsync();
        if (random.Next(8) == 0)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(1, 5)), simulation.Time);
        }
    }

    private sealed class Dialer(LoopNetwork network, Id160 host) : IPeerDialer
    {
        public ValueTask<IPeerChannel> DialAsync(PeerAddress peer, CancellationToken cancellation) => network.DialAsync(host, peer);
    }
}

/// <summary>Bytes in one direction; at most 256 KiB are on their way.</summary>
internal sealed class LoopPipe(Func<ValueTask> delay)
{
    private const int BytesMax = 256 << 10;

    private readonly Queue<byte[]> _pieces = new();
    private byte[] _rest = [];
    private int _bytes;
    private bool _isBroken;
    private bool _isEnded;
    private TaskCompletionSource _changed = New();

    public async ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        await delay();
        while (_bytes >= BytesMax && !_isBroken)
        {
            await _changed.Task.WaitAsync(cancellation);
        }

        if (_isBroken || _isEnded)
        {
            throw new IOException("the connection broke");
        }

        _pieces.Enqueue(bytes.ToArray());
        _bytes += bytes.Length;
        Pulse();
    }

    public async ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation)
    {
        while (_rest.Length == 0 && _pieces.Count == 0 && !_isBroken && !_isEnded)
        {
            await _changed.Task.WaitAsync(cancellation);
        }

        if (_isBroken)
        {
            throw new IOException("the connection broke");
        }

        if (_rest.Length == 0 && !_pieces.TryDequeue(out _rest!))
        {
            _rest = [];
            return 0;
        }

        var taken = Math.Min(destination.Length, _rest.Length);
        _rest.AsSpan(0, taken).CopyTo(destination.Span);
        _rest = _rest[taken..];
        _bytes -= taken;
        Pulse();
        return taken;
    }

    public void Break()
    {
        _isBroken = true;
        Pulse();
    }

    public void End()
    {
        _isEnded = true;
        Pulse();
    }

    private void Pulse()
    {
        var changed = _changed;
        _changed = New();
        changed.TrySetResult();
    }

    private static TaskCompletionSource New() => new();
}

/// <summary>One end of a connection.</summary>
internal sealed class LoopChannel(string address, LoopPipe receives, LoopPipe sends) : IPeerChannel
{
    public string Address => address;

    public ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation) =>
        receives.ReceiveAsync(destination, cancellation);

    public ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation) => sends.SendAsync(bytes, cancellation);

    public void Break()
    {
        receives.Break();
        sends.Break();
    }

    public ValueTask DisposeAsync()
    {
        receives.Break();
        sends.End();
        return ValueTask.CompletedTask;
    }
}
