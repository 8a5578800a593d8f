using System.Diagnostics;

namespace CloudFs.SystemTests.Harness;

/// <summary>
/// A client that writes, zeroes, trims and flushes within its own part of a disk, several requests under way, never two on
/// the same sectors, until the server goes away. Then it knows what was acknowledged and what was merely sent.
/// </summary>
/// <param name="pause">Milliseconds between requests, for a history that is quickly read.</param>
internal sealed class Writer(SectorModel model, int firstSector, int sectors, int seed, int pause = 0)
{
    private const int Window = 12;
    private const int MaxSectors = 64;
    private const int LargeSectors = 512;

    private readonly Random _random = new(seed);
    private readonly Dictionary<ulong, Request> _underWay = [];
    private ulong _cookie;

    /// <summary>Writes, zeroes and trims that were acknowledged.</summary>
    public int Acknowledged { get; private set; }

    /// <summary>Flushes, and requests with FUA, that were acknowledged.</summary>
    public int Durable { get; private set; }

    /// <summary>Requests that were sent and never answered.</summary>
    public IReadOnlyList<Request> Unanswered => [.. _underWay.Values];

    public sealed record Request(ushort Type, int First, int Count, long Sequence, ushort Flags);

    /// <summary>Works until the connection breaks, for a time, or until stopped; an error that is told fails the test.</summary>
    public void Run(string socket, string disk, TimeSpan? time = null, CancellationToken stop = default)
    {
        _underWay.Clear();
        var clock = Stopwatch.StartNew();
        try
        {
            using var peer = NbdPeer.Connect(socket, disk);
            while ((time is null || clock.Elapsed < time) && !stop.IsCancellationRequested)
            {
                if (_underWay.Count < Window)
                {
                    Submit(peer);
                    continue;
                }

                Take(peer);
            }

            while (_underWay.Count > 0)
            {
                Take(peer);
            }
        }
        catch (Exception broken) when (broken is IOException or System.Net.Sockets.SocketException)
        {
            // Killed; what is under way stays so.
        }
    }

    /// <summary>
    /// Settles what was sent and never answered: each such request must have happened whole, or not at all. From then on
    /// the model says what is there.
    /// </summary>
    public string? Settle(ReadOnlySpan<byte> disk)
    {
        foreach (var request in _underWay.Values.Where(request => request.Type != NbdPeer.Flush))
        {
            var (done, kept) = (0, 0);
            for (var sector = request.First; sector < request.First + request.Count; sector++)
            {
                var found = disk.Slice(sector * SectorModel.Sector, SectorModel.Sector);
                var isNew = SectorModel.Holds(found, sector, request.Sequence);
                var isOld = SectorModel.Holds(found, sector, model[sector]);
                if (!isNew && !isOld)
                {
                    return $"sector {sector} should be of write {model[sector]} or {request.Sequence}, and "
                        + SectorModel.Describe(found, sector);
                }

                done += isNew && !isOld ? 1 : 0;
                kept += isOld && !isNew ? 1 : 0;
            }

            if (done > 0 && kept > 0)
            {
                return $"{request} was never answered and is there in part: {done} sectors of it, {kept} from before";
            }

            if (done > 0)
            {
                model.Set(request.First, request.Count, request.Sequence);
            }
        }

        return null;
    }

    private void Submit(NbdPeer peer)
    {
        var request = Choose();
        if (request is null)
        {
            Take(peer);
            return;
        }

        if (pause > 0)
        {
            Thread.Sleep(pause);
        }

        _underWay.Add(++_cookie, request);
        var bytes = request.Type == NbdPeer.Write
            ? SectorModel.Contents(request.First, request.Count, request.Sequence) : [];
        peer.Send(
            request.Type, request.Flags, _cookie, (long)request.First * SectorModel.Sector, request.Count * SectorModel.Sector, bytes);
    }

    private Request? Choose()
    {
        var dice = _random.Next(100);
        if (dice < 4)
        {
            return new Request(NbdPeer.Flush, 0, 0, 0, 0);
        }

        var count = _random.Next(20) == 0 ? _random.Next(1, LargeSectors) : _random.Next(1, MaxSectors);
        var first = firstSector + _random.Next(sectors - count);
        if (_underWay.Values.Any(other => first < other.First + other.Count && other.First < first + count))
        {
            return null;
        }

        var flags = _random.Next(25) == 0 ? NbdPeer.Fua : (ushort)0;
        return dice switch
        {
            < 10 => new Request(NbdPeer.WriteZeroes, first, count, 0, flags),
            < 14 => new Request(NbdPeer.Trim, first, count, 0, flags),
            _ => new Request(NbdPeer.Write, first, count, model.Next(), flags),
        };
    }

    private void Take(NbdPeer peer)
    {
        const uint ShuttingDown = 108;
        var (cookie, error) = peer.Receive();
        var request = _underWay[cookie];
        if (error == ShuttingDown)
        {
            throw new IOException("the server says goodbye: this request, and what is under way, may or may not have happened");
        }

        if (error != 0)
        {
            throw new InvalidOperationException($"{request} was answered with error {error}");
        }

        _underWay.Remove(cookie);
        if (request.Type != NbdPeer.Flush)
        {
            model.Set(request.First, request.Count, request.Sequence);
            Acknowledged++;
        }

        Durable += request.Type == NbdPeer.Flush || request.Flags != 0 ? 1 : 0;
    }
}
