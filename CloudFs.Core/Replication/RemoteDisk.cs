using CloudFs.Core.Disks;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// One client's session with a disk whose primary is another host. What was acknowledged is remembered by its newest version; a
/// primary that comes back without it ends the session: every call then gives <see cref="IoStatus.Stopped"/> (PROTOCOL.md, 15). While
/// the primary can't be
/// reached, requests wait, up to the disk's patience, then fail with <see cref="IoStatus.Unreachable"/>. Any thread.
/// </summary>
public sealed class RemoteDisk : IAsyncDisposable
{
    private const int PieceMax = 1 << 20;

    /// <summary>What one session may have under way, in places: a link has room for several, so that none stops the others.</summary>
    private const int PlacesMax = 64;

    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(0.25);

    private readonly ReplicationHub _hub;
    private readonly Func<CancellationToken, ValueTask<PeerAddress>> _findPrimary;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private readonly PlaceQueue _opening = new(1);
    private readonly PlaceQueue _places = new(PlacesMax);
    private readonly CancellationTokenSource _ending;
    private readonly CancellationToken _ended;
    private PeerLink? _link;
    private DiskVersion _acknowledged;
    private bool _isBroken;
    private TimeSpan _patience = ReplicationHub.DefaultPatience;
    private long _size;
    private int _isDisposed;

    internal RemoteDisk(
        ReplicationHub hub, TimeProvider time, Id160 id, Func<CancellationToken, ValueTask<PeerAddress>> findPrimary)
    {
        _hub = hub;
        _time = time;
        _findPrimary = findPrimary;
        _ending = CancellationTokenSource.CreateLinkedTokenSource(hub.Stopping);
        _ended = _ending.Token;
        Id = id;
    }

    public Id160 Id { get; }

    public string? Name { get; private set; }

    /// <summary>As it was when the session was last opened.</summary>
    public ulong SizeBytes => (ulong)Volatile.Read(ref _size);

    /// <summary>The primary's address, for people.</summary>
    public string Through => Volatile.Read(ref _link)?.Address ?? "";

    /// <summary>True once the session has ended for good.</summary>
    public bool IsBroken => Volatile.Read(ref _isBroken);

    public async ValueTask<IoStatus> ReadAsync(ulong offset, Memory<byte> destination, CancellationToken cancellation)
    {
        for (var done = 0; done < destination.Length;)
        {
            var (at, piece) = (offset + (ulong)done, Math.Min(PieceMax, destination.Length - done));
            var (status, bytes) = await AskAsync(
                LinkRequest.Read,
                frame =>
                {
                    frame.Put(at);
                    frame.Put((uint)piece);
                },
                cancellation,
                piece);
            if (status != IoStatus.Ok)
            {
                return status;
            }

            if (bytes.Length != piece)
            {
                return IoStatus.Damaged;
            }

            bytes.CopyTo(destination[done..]);
            done += piece;
        }

        return IoStatus.Ok;
    }

    public async ValueTask<IoStatus> WriteAsync(ulong offset, ReadOnlyMemory<byte> data, bool fua, CancellationToken cancellation)
    {
        while (!data.IsEmpty)
        {
            var (at, piece) = (offset, data[..Math.Min(PieceMax, data.Length)]);
            var (status, _) = await AskAsync(
                LinkRequest.Write,
                frame =>
                {
                    frame.Put(at);
                    frame.Put((uint)piece.Length);
                    frame.Put(fua);
                    frame.Put(piece.Span);
                },
                cancellation,
                piece.Length);
            if (status != IoStatus.Ok)
            {
                return status;
            }

            offset += (ulong)piece.Length;
            data = data[piece.Length..];
        }

        return IoStatus.Ok;
    }

    public async ValueTask<IoStatus> ZeroAsync(ulong offset, ulong length, bool fua, CancellationToken cancellation) => (await AskAsync(
        LinkRequest.Zero,
        frame =>
        {
            frame.Put(offset);
            frame.Put(length);
            frame.Put(fua);
        },
        cancellation)).Status;

    public async ValueTask<IoStatus> FlushAsync(CancellationToken cancellation) =>
        (await AskAsync(LinkRequest.Flush, _ => { }, cancellation)).Status;

    public async ValueTask<IoStatus> DescribeAsync(ulong offset, ulong length, int maxRanges, List<DiskRange> into)
    {
        var (status, bytes) = await AskAsync(
            LinkRequest.Describe,
            frame =>
            {
                frame.Put(offset);
                frame.Put(length);
                frame.Put((uint)maxRanges);
            },
            CancellationToken.None);
        if (status == IoStatus.Ok)
        {
            Add(bytes.Span, into);
        }

        return status;

        static void Add(ReadOnlySpan<byte> bytes, List<DiskRange> into)
        {
            var reader = new FrameReader(bytes);
            while (!reader.IsEmpty)
            {
                into.Add(new DiskRange(reader.UInt64(), reader.UInt64(), (RangeContent)reader.Byte()));
            }
        }
    }

    /// <summary>Ends the session; requests that wait end with <see cref="IoStatus.Stopped"/>.</summary>
    public ValueTask DisposeAsync()
    {
        Volatile.Write(ref _isBroken, true);
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            EndRequests();
            _ending.Dispose();
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Opens the session, or opens it again.</summary>
    /// <exception cref="IOException">The primary can't be reached.</exception>
    internal async ValueTask<PeerLink> OpenAsync(CancellationToken cancellation)
    {
        await _opening.EnterAsync(1, cancellation);
        try
        {
            if (Volatile.Read(ref _link) is { } known)
            {
                return known;
            }

            var primary = await _findPrimary(cancellation);
            var link = await _hub.LinkToAsync(primary.Host, primary.Address, cancellation);
            var acknowledged = Acknowledged;
            var answer = await link.AskAsync(
                LinkRequest.Open,
                frame =>
                {
                    frame.Put(Id);
                    frame.Put(acknowledged.Lsn);
                    frame.Put(acknowledged.Id);
                },
                cancellation);
            if (answer[0] != (byte)LinkAnswer.Ok)
            {
                throw new IOException($"host {primary.Host} does not serve disk {Id} (now)");
            }

            var reader = new FrameReader(answer.AsSpan(1));
            if (!reader.Bool())
            {
                // A write that was acknowledged in this session is not in the chain any more: nothing may go on over that.
                Volatile.Write(ref _isBroken, true);
            }

            Volatile.Write(ref _size, (long)reader.UInt64());
            _patience = TimeSpan.FromSeconds(reader.UInt32());
            Name = reader.Text() is { Length: > 0 } name ? name : null;
            Volatile.Write(ref _link, link);
            return link;
        }
        finally
        {
            _opening.Leave(1);
        }
    }

    /// <summary>On this thread: those who wait go on where they are told of it.</summary>
    private void EndRequests() => _ending.Cancel();

    private DiskVersion Acknowledged
    {
        get
        {
            lock (_lock)
            {
                return _acknowledged;
            }
        }
    }

    private async ValueTask<(IoStatus Status, ReadOnlyMemory<byte> Bytes)> AskAsync(
        LinkRequest request, Action<FrameWriter> fill, CancellationToken cancellation, int size = 0)
    {
        var places = LinkRequests.PlacesOf(size);
        await _places.EnterAsync(places, cancellation);
        try
        {
            return await AskUntilAnsweredAsync(request, fill, size, cancellation);
        }
        finally
        {
            _places.Leave(places);
        }
    }

    private async ValueTask<(IoStatus Status, ReadOnlyMemory<byte> Bytes)> AskUntilAnsweredAsync(
        LinkRequest request, Action<FrameWriter> fill, int size, CancellationToken cancellation)
    {
        var began = _time.GetTimestamp();
        while (!IsBroken)
        {
            PeerLink? link = null;
            try
            {
                link = Volatile.Read(ref _link) ?? await OpenAsync(_ended);
                if (!IsBroken)
                {
                    var answer = await link.AskAsync(
                        request,
                        frame =>
                        {
                            frame.Put(Id);
                            fill(frame);
                        },
                        _ended,
                        size).AsTask().WaitAsync(cancellation);
                    if (Take(answer, out var status, out var bytes))
                    {
                        return (status, bytes);
                    }
                }
            }
            catch (IOException) when (!_ended.IsCancellationRequested)
            {
                // The primary went away, or is another: it is looked for again, below.
                link ??= Volatile.Read(ref _link);
            }
            catch (OperationCanceledException) when (_ended.IsCancellationRequested)
            {
                break;
            }

            Interlocked.CompareExchange(ref _link, null, link);
            if (_patience > TimeSpan.Zero && _time.GetElapsedTime(began) > _patience)
            {
                return (IoStatus.Unreachable, default);
            }

            await Task.Delay(Retry, _time, cancellation);
        }

        return (IoStatus.Stopped, default);
    }

    /// <summary>False where the other host is not the primary (any more).</summary>
    private bool Take(byte[] answer, out IoStatus status, out ReadOnlyMemory<byte> bytes)
    {
        (status, bytes) = (IoStatus.Unreachable, default);
        var reader = new FrameReader(answer);
        switch ((LinkAnswer)reader.Byte())
        {
            case LinkAnswer.Ok:
                reader.Byte();
                var version = new DiskVersion(reader.UInt64(), reader.Id());
                lock (_lock)
                {
                    _acknowledged = version.Lsn > _acknowledged.Lsn ? version : _acknowledged;
                }

                status = IoStatus.Ok;
                bytes = answer.AsMemory(answer.Length - reader.Left);
                return true;
            case LinkAnswer.Status:
                status = (IoStatus)reader.Byte();

                // A primary that stops is looked for again, as one that is gone is.
                return status is not (IoStatus.Stopped or IoStatus.Unreachable);
            default:
                return false;
        }
    }
}
