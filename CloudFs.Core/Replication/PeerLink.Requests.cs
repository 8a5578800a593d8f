namespace CloudFs.Core.Replication;

/// <content>Requests and their answers, in either direction.</content>
internal sealed partial class PeerLink
{
    /// <summary>
    /// What one end may have asked for and not had answered, in places of <see cref="LinkRequests.PlaceBytes"/>: for clients, and for
    /// hosts themselves. Whoever asks waits at its own end: at the other acknowledgements and heartbeats come behind requests, over
    /// the same connection, and must not wait for them.
    /// </summary>
    private const int SessionPlaces = 512;
    private const int OtherPlaces = 64;

    private readonly Dictionary<uint, TaskCompletionSource<byte[]>> _requests = [];
    private readonly PlaceQueue _sessionPlaces = new(SessionPlaces);
    private readonly PlaceQueue _otherPlaces = new(OtherPlaces);
    private uint _nextRequest;
    private int _serving;

    /// <summary>Asks the other end; gives its answer. <paramref name="bytes"/>: what the request or its answer carries at most.</summary>
    /// <exception cref="IOException">The link ended before.</exception>
    public async ValueTask<byte[]> AskAsync(
        LinkRequest request, Action<FrameWriter> fill, CancellationToken cancellation, int bytes = 0)
    {
        var (places, count) = (request.IsOfSession() ? _sessionPlaces : _otherPlaces, LinkRequests.PlacesOf(bytes));
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _ended.Token);
        try
        {
            await places.EnterAsync(count, either.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new IOException($"the link to host {PeerHost} has ended");
        }

        try
        {
            return await AskNowAsync(request, fill, cancellation);
        }
        finally
        {
            places.Leave(count);
        }
    }

    private async ValueTask<byte[]> AskNowAsync(LinkRequest request, Action<FrameWriter> fill, CancellationToken cancellation)
    {
        // Who waits goes on on the reading loop: it does little before it waits again.
        var answer = new TaskCompletionSource<byte[]>();
        uint id;
        lock (_lock)
        {
            if (_isClosed)
            {
                throw new IOException($"the link to host {PeerHost} has ended");
            }

            id = _nextRequest++;
            _requests.Add(id, answer);
        }

        Say(FrameType.Request, frame =>
        {
            frame.Put(id);
            frame.Put((byte)request);
            fill(frame);
        });
        try
        {
            return await answer.Task.WaitAsync(cancellation);
        }
        finally
        {
            lock (_lock)
            {
                _requests.Remove(id);
            }
        }
    }

    /// <exception cref="LinkProtocolException">The other end does not keep to its places.</exception>
    private void BeginServing(byte[] request)
    {
        if (Interlocked.Increment(ref _serving) > SessionPlaces + OtherPlaces)
        {
            throw new LinkProtocolException($"host {PeerHost} asks for more than {SessionPlaces + OtherPlaces} things at once");
        }

        _ = ServeAsync(request);
    }

    private async Task ServeAsync(byte[] request)
    {
        try
        {
            if (request.Length < 5)
            {
                throw new LinkProtocolException($"host {PeerHost} sends a request of {request.Length} bytes");
            }

            var id = BitConverter.ToUInt32(request);
            var answer = await _owner.AnswerAsync(this, (LinkRequest)request[4], request.AsMemory(5));

            // Before it is said: whoever hears it may ask for the next thing at once.
            Interlocked.Decrement(ref _serving);
            Say(FrameType.Response, frame =>
            {
                frame.Put(id);
                frame.Put(answer.Written.Span);
            });
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // The other end may ask again over a new link; nothing here depends on its having an answer.
            Break();
        }
    }

    private void TakeAnswer(ReadOnlySpan<byte> payload)
    {
        var reader = new FrameReader(payload);
        var id = reader.UInt32();
        TaskCompletionSource<byte[]>? waiting;
        lock (_lock)
        {
            waiting = _requests.GetValueOrDefault(id);
        }

        waiting?.TrySetResult(reader.Take(reader.Left).ToArray());
    }

    private void FailRequests()
    {
        TaskCompletionSource<byte[]>[] waiting;
        lock (_lock)
        {
            waiting = [.. _requests.Values];
        }

        foreach (var one in waiting)
        {
            one.TrySetException(new IOException($"the link to host {PeerHost} ended"));
        }
    }
}
