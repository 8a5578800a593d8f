using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// What is being done now for other hosts' clients, by host and disk. A request that was not answered over a link that broke is sent
/// again over the next, and clients go on from that answer: the first one, should it still run, must not write after them. So what
/// comes over a host's new link waits until nothing that came over an old one is under way, disk by disk; what still waits
/// for something itself ends with its link. Any thread.
/// </summary>
internal sealed class ServedSessions
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(Id160 Host, Id160 Disk), Served> _served = [];

    /// <summary>Begins a request; the link's owner has broken the host's older links before.</summary>
    /// <exception cref="OperationCanceledException">Its link has ended.</exception>
    public async ValueTask BeginAsync(PeerLink link, Id160 disk)
    {
        while (true)
        {
            Task ended;
            lock (_lock)
            {
                // A link that ends from here on ends with this request counted.
                link.Ended.ThrowIfCancellationRequested();
                var key = (link.PeerHost, disk);
                if (!_served.TryGetValue(key, out var served))
                {
                    _served.Add(key, served = new Served(link));
                }

                if (served.Link == link)
                {
                    served.Running++;
                    return;
                }

                ended = served.Ended.Task;
            }

            await ended.WaitAsync(link.Ended);
        }
    }

    /// <summary>Ends a request that was begun.</summary>
    public void End(PeerLink link, Id160 disk)
    {
        Served served;
        lock (_lock)
        {
            var key = (link.PeerHost, disk);
            served = _served[key];
            if (--served.Running > 0)
            {
                return;
            }

            _served.Remove(key);
        }

        served.Ended.TrySetResult();
    }

    private sealed class Served(PeerLink link)
    {
        public PeerLink Link => link;

        public int Running { get; set; }

        public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
