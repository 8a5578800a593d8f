using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <content>The links: whom this host dials, who dialled it, and what goes over them.</content>
public sealed partial class ReplicationHub : ILinkOwner
{
    private static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan RetryMost = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan DialPatience = TimeSpan.FromSeconds(3);

    /// <summary>Hosts by id: where they are, and the link that this host dialled.</summary>
    private readonly Dictionary<Id160, Peer> _peers = [];

    /// <summary>Links that others dialled.</summary>
    private readonly Dictionary<Id160, PeerLink> _dialled = [];

    /// <summary>Until when an answer to a primary's heartbeat holds this host back, by primary.</summary>
    private readonly Dictionary<Id160, long> _restrained = [];

    /// <summary>Links that are open now, in either direction.</summary>
    public int LinkCount
    {
        get
        {
            lock (_lock)
            {
                return _dialled.Count + _peers.Values.Count(peer => peer.Link is not null);
            }
        }
    }

    /// <summary>Bytes over all links, those that are open now included.</summary>
    public (long Sent, long Received) GetTraffic()
    {
        lock (_lock)
        {
            var open = _dialled.Values.Concat(_peers.Values.Where(peer => peer.Link is not null).Select(peer => peer.Link!)).ToList();
            return (Counters.SentBytes + open.Sum(link => link.SentBytes), Counters.ReceivedBytes + open.Sum(link => link.ReceivedBytes));
        }
    }

    /// <summary>Requests that wait for replicas now.</summary>
    public int GetWaiting() => AllGroups().Sum(group => group.WaitingCount);

    /// <summary>Replaces what is known of other hosts: whom this one may dial, and where.</summary>
    public void SetPeers(IReadOnlyList<PeerAddress> peers)
    {
        var moved = new List<PeerLink>();
        lock (_lock)
        {
            foreach (var (host, peer) in _peers.ToArray())
            {
                var known = peers.FirstOrDefault(known => known.Host == host);
                if (known.Host != host || known.Address != peer.Address)
                {
                    if (peer.Link is { } link)
                    {
                        moved.Add(link);
                    }

                    _peers.Remove(host);
                }
            }

            foreach (var peer in peers.Where(peer => peer.Host != HostId))
            {
                _peers.TryAdd(peer.Host, new Peer { Address = peer.Address });
            }
        }

        // What was dialled elsewhere is dialled anew.
        moved.ForEach(link => link.Break());
        Changed();
        Tick();
    }

    /// <summary>Serves a link that another host dialled, until it ends. It owns the channel.</summary>
    public Task ServeAsync(IPeerChannel channel, CancellationToken cancellation) =>
        RunLinkAsync(new PeerLink(channel, this, HostId, DeviceId, isDialler: false), default, cancellation);

    /// <summary>The address of a host, where it is known.</summary>
    public string? AddressOf(Id160 host)
    {
        lock (_lock)
        {
            return _peers.GetValueOrDefault(host)?.Address;
        }
    }

    void ILinkOwner.OnOpen(PeerLink link)
    {
        PeerLink? before = null;
        lock (_lock)
        {
            if (link.IsDialler)
            {
                if (_peers.TryGetValue(link.PeerHost, out var peer))
                {
                    peer.Link = link;
                    peer.Failures = 0;
                    peer.Opened.TrySetResult(link);
                }
            }
            else
            {
                before = _dialled.GetValueOrDefault(link.PeerHost);
                if (before is not null && before.PeerDevice != link.PeerDevice)
                {
                    throw new LinkProtocolException(
                        $"{link.Address} says that it is host {link.PeerHost} with device {link.PeerDevice}, but {before.Address} is, with "
                        + $"device {before.PeerDevice}: two hosts can't have one id");
                }

                _dialled[link.PeerHost] = link;
            }
        }

        before?.Break();
        if (link.IsDialler)
        {
            foreach (var group in AllGroups().Where(group => group.PrimaryHost == link.PeerHost))
            {
                BeginFollowing(group, link);
            }
        }
    }

    async ValueTask ILinkOwner.OnFrameAsync(PeerLink link, FrameType type, ReadOnlyMemory<byte> payload)
    {
        if (type == FrameType.Unfollow)
        {
            OnUnfollow(link, payload.Span);
        }
        else if (link.IsDialler)
        {
            switch (type)
            {
                case FrameType.Entries:
                    await OnEntriesAsync(link, payload);
                    break;
                case FrameType.FollowAnswer:
                    OnFollowAnswer(link, payload.Span);
                    break;
                case FrameType.Heartbeat:
                    OnHeartbeat(link, payload.Span);
                    break;
                default:
                    throw new LinkProtocolException($"host {link.PeerHost} sends a {type}, which only the one who dialled may");
            }
        }
        else
        {
            switch (type)
            {
                case FrameType.Follow:
                    OnFollow(link, payload.Span);
                    break;
                case FrameType.Ack:
                    OnAck(link, payload.Span);
                    break;
                case FrameType.HeartbeatAnswer:
                    OnHeartbeatAnswer(link, payload.Span);
                    break;
                default:
                    throw new LinkProtocolException($"host {link.PeerHost} sends a {type}, which only the one who was dialled may");
            }
        }
    }

    void ILinkOwner.OnClosed(PeerLink link)
    {
        lock (_lock)
        {
            if (link.IsDialler && _peers.TryGetValue(link.PeerHost, out var peer) && peer.Link == link)
            {
                peer.Link = null;
                peer.Opened = NewOpened();
                peer.NextDial = Now + Ticks(RetryFirst);
            }
            else if (!link.IsDialler && _dialled.GetValueOrDefault(link.PeerHost) == link)
            {
                _dialled.Remove(link.PeerHost);
            }
        }

        foreach (var group in AllGroups())
        {
            if (group.Following is { } following && following.Link == link)
            {
                following.Close();
                group.Following = null;
                group.FollowState = GroupState.Disconnected;
                group.Reason = $"the link to host {link.PeerHost} ended: it is dialled again";
            }

            group.Detach(link, "its link ended");
        }

        Counters.AddLink(link.SentBytes, link.ReceivedBytes);
        Changed();
    }

    /// <summary>A link that this host dialled, once it is open.</summary>
    /// <exception cref="IOException">The host is not known, or could not be reached in time.</exception>
    internal async ValueTask<PeerLink> LinkToAsync(Id160 host, string? address, CancellationToken cancellation)
    {
        Task<PeerLink> opened;
        lock (_lock)
        {
            if (!_peers.TryGetValue(host, out var peer))
            {
                if (address is null)
                {
                    throw new IOException($"where host {host} is reached is not known here (yet)");
                }

                _peers.Add(host, peer = new Peer { Address = address });
            }

            peer.IsWanted = true;
            opened = peer.Opened.Task;
        }

        Tick();
        try
        {
            return await opened.WaitAsync(DialPatience, _services.Runtime.Time, cancellation);
        }
        catch (TimeoutException)
        {
            throw new IOException($"host {host} can't be reached");
        }
    }

    /// <summary>Asks a host; its answer is waited for so long.</summary>
    /// <exception cref="IOException">There was none, or the link ended.</exception>
    private async ValueTask<byte[]> AskWithinAsync(
        TimeSpan patience, PeerLink link, LinkRequest request, Action<FrameWriter> fill, int bytes = 0)
    {
        using var enough = new CancellationTokenSource(patience, _services.Runtime.Time);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(enough.Token, _stop);
        try
        {
            return await link.AskAsync(request, fill, any.Token, bytes);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            throw new IOException($"host {link.PeerHost} did not answer within {patience.TotalSeconds} s");
        }
    }

    private async Task RunLinkAsync(PeerLink link, Id160 expected, CancellationToken cancellation)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _stopping.Token);
        try
        {
            await link.RunAsync(expected, _services.Runtime.Spawn, both.Token);
        }
        catch (LinkProtocolException wrong)
        {
            TellOnce($"{link.Address} {wrong.Message}", "peer-refused", wrong.Message);
        }
        catch (IOException broke)
        {
            // Hosts come and go: how each disk stands says what that means.
            TellOnce(
                $"{link.PeerHost} {broke.Message}", "link-ended", $"the link to {link.Address} ended: {broke.Message}", EventLevel.Info);
        }
        catch (OperationCanceledException) when (both.IsCancellationRequested || link.PeerHost.IsZero)
        {
            Counters.AddStopped();
        }
        catch (OperationCanceledException)
        {
            // This end broke it, and said why where it did.
            Counters.AddStopped();
        }
    }

    private void DialWhereWanted()
    {
        var now = Now;
        var wanted = AllGroups().Where(group => group.Role is not (GroupRole.Primary or GroupRole.Removed))
            .Select(group => group.PrimaryHost).ToHashSet();
        List<(Id160 Host, Peer Peer)> due = [];
        lock (_lock)
        {
            foreach (var (host, peer) in _peers)
            {
                if (peer.Link is null && !peer.IsDialling && peer.NextDial <= now && (peer.IsWanted || wanted.Contains(host)))
                {
                    peer.IsDialling = true;
                    due.Add((host, peer));
                }
            }
        }

        foreach (var (host, peer) in due)
        {
            Spawn(() => DialAsync(host, peer));
        }
    }

    private async Task DialAsync(Id160 host, Peer peer)
    {
        try
        {
            IPeerChannel channel;
            using (var patience = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token))
            {
                channel = _dialer is null ? throw new IOException("this daemon dials nobody")
                    : await _dialer.DialAsync(new PeerAddress(host, peer.Address), patience.Token)
                        .AsTask().WaitAsync(DialPatience, _services.Runtime.Time, _stopping.Token);
            }

            await RunLinkAsync(new PeerLink(channel, this, HostId, DeviceId, isDialler: true), host, _stopping.Token);
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            var line = $"host {host} at {peer.Address} can't be reached: {e.Message}";
            TellOnce($"dial {host} {e.Message}", "dial-failed", line, EventLevel.Info);
        }
        finally
        {
            lock (_lock)
            {
                peer.IsDialling = false;
                peer.IsWanted = false;
                peer.Failures = Math.Min(peer.Failures + 1, 10);
                peer.NextDial = Now + Ticks(Delay(peer.Failures));
            }
        }
    }

    /// <summary>Longer each time, and by chance, so that many do not come at once.</summary>
    private TimeSpan Delay(int failures)
    {
        Span<byte> chance = stackalloc byte[1];
        _services.Runtime.FillRandom(chance);
        var most = Math.Min(RetryFirst.TotalSeconds * (1 << Math.Min(failures, 6)), RetryMost.TotalSeconds);
        return TimeSpan.FromSeconds(most * (0.5 + (chance[0] / 512.0)));
    }

    private static TaskCompletionSource<PeerLink> NewOpened() => new();

    private sealed class Peer
    {
        public required string Address { get; init; }

        public PeerLink? Link { get; set; }

        public bool IsDialling { get; set; }

        public bool IsWanted { get; set; }

        public long NextDial { get; set; }

        public int Failures { get; set; }

        public TaskCompletionSource<PeerLink> Opened { get; set; } = NewOpened();
    }
}
