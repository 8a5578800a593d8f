using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Replies in the order in which they leave: runs of small ones written one after the other into buffers of the
/// batch's own, and buffers with payload. Filled under the outbox's lock, then sent by whoever owns the socket.
/// </summary>
internal sealed class OutBatch(BufferPool pool, NbdLatencies latencies)
{
    // A gathering send may carry 1,024 pieces; beyond some dozens a call costs less than the copying in it.
    private const int MaxPieces = 64;

    // 250 small replies. More are chained.
    private const int SmallBufferSize = 4096;

    private readonly List<Segment> _segments = [];
    private readonly IoVector[] _pieces = new IoVector[MaxPieces];
    private readonly List<(int Segment, ReplyMark Mark)> _marks = [];
    private PooledBuffer? _small;
    private int _smallEnd;
    private int _sentSegments;
    private int _sentInFirst;
    private int _sentMarks;

    public bool IsEmpty => _segments.Count == 0;

    /// <summary>Bytes of buffers with payload in it.</summary>
    public long Payload { get; private set; }

    /// <summary>Room for a small reply, at the end of the batch.</summary>
    public Span<byte> Reserve(int length, int requests)
    {
        if (_small is null || PooledBuffer.Headroom + _small.Capacity - _smallEnd < length)
        {
            _small?.Release();
            _small = pool.Rent(SmallBufferSize);
            _smallEnd = PooledBuffer.Headroom;
        }

        var start = _smallEnd;
        _smallEnd += length;
        if (_segments.Count > 0 && _segments[^1] is var last && last.Buffer == _small)
        {
            _segments[^1] = last with { Length = last.Length + length, Requests = last.Requests + requests };
        }
        else
        {
            _small.AddUser();
            _segments.Add(new Segment(_small, start, length, requests));
        }

        return _small.Span(start, length);
    }

    /// <summary>A buffer with header and payload; the batch takes over the caller's use of it.</summary>
    public void Add(PooledBuffer buffer, int start, int length, int requests)
    {
        _segments.Add(new Segment(buffer, start, length, requests));
        Payload += length;
    }

    /// <summary>The reply that was added last is measured, unless the mark is empty.</summary>
    public void Note(in ReplyMark mark)
    {
        if (mark.ParsedAt != 0)
        {
            _marks.Add((_segments.Count - 1, mark));
        }
    }

    /// <summary>
    /// Sends what the socket takes without waiting. True when all is sent; otherwise <paramref name="error"/> is an
    /// errno. <paramref name="requests"/> is how many requests have had all of their reply sent by this call.
    /// </summary>
    public bool TrySend(PeerSocket socket, out int requests, out int error)
    {
        requests = 0;
        error = 0;
        while (_sentSegments < _segments.Count)
        {
            var count = Math.Min(MaxPieces, _segments.Count - _sentSegments);
            for (var i = 0; i < count; i++)
            {
                var segment = _segments[_sentSegments + i];
                var skip = i == 0 ? _sentInFirst : 0;
                _pieces[i] = new IoVector(segment.Buffer.Array, segment.Start + skip, segment.Length - skip);
            }

            var sent = socket.TrySend(_pieces.AsSpan(0, count));
            if (sent < 0)
            {
                error = (int)-sent;
                return false;
            }

            requests += Advance(sent);
        }

        Reset();
        return true;
    }

    /// <summary>Gives everything back unsent; the number of requests whose reply was in it.</summary>
    public int Drop()
    {
        var requests = 0;
        for (; _sentSegments < _segments.Count; _sentSegments++)
        {
            requests += _segments[_sentSegments].Requests;
            _segments[_sentSegments].Buffer.Release();
        }

        Reset();
        return requests;
    }

    private int Advance(nint sent)
    {
        var requests = 0;
        var left = sent + _sentInFirst;
        while (_sentSegments < _segments.Count && left >= _segments[_sentSegments].Length)
        {
            var segment = _segments[_sentSegments++];
            left -= segment.Length;
            requests += segment.Requests;
            segment.Buffer.Release();
        }

        _sentInFirst = (int)left;
        while (_sentMarks < _marks.Count && _marks[_sentMarks].Segment < _sentSegments)
        {
            latencies.Sent(_marks[_sentMarks++].Mark);
        }

        return requests;
    }

    private void Reset()
    {
        _segments.Clear();
        Payload = 0;
        _sentSegments = 0;
        _sentInFirst = 0;
        _marks.Clear();
        _sentMarks = 0;
        _small?.Release();
        _small = null;
    }

    private readonly record struct Segment(PooledBuffer Buffer, int Start, int Length, int Requests);
}
