using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// The transmission phase of one connection, on the connection's own thread:
/// <code>
///  1  receive what has arrived, often many requests
///  2  for each request: check it, enter it in the window, hand it to the disk
///     - finished at the call: its reply joins the batch
///     - not finished: whoever finishes it sends its reply
///     - a short write: it is collected, with those that can share its entry
///     - a flush: it is kept for 3
///  3  hand over the writes, send the batch of replies; one flush for all that came; go to 1
/// </code>
/// The thread waits in four places only: for bytes (1, and within a long payload), for room in the window (2), for the device
/// when the client waits for nothing but flushes, or is known to flush next (3), and at the end for what is under way.
/// </summary>
internal sealed class RequestLoop : IDisposable
{
    private readonly NbdSession _session;
    private readonly NbdCounters _counters;
    private readonly Func<bool> _isStopping;
    private readonly GuardedTarget _target;
    private readonly InFlightWindow _window;
    private readonly Outbox _outbox;
    private readonly InputBuffer _input;
    private readonly Replies _replies;
    private readonly OperationRunner _runner;
    private readonly ReadPath _reads;
    private readonly WritePath _writes;
    private readonly RequestWatch _watch;
    private readonly FlushHabit _habit = new();

    /// <summary>Flushes of the batch: what they must make durable, one that is begun later does.</summary>
    private readonly List<NbdRequest> _flushes = [];

    public RequestLoop(PeerSocket socket, GuardedTarget target, in NbdSession session, LoopServices services)
    {
        _session = session;
        _target = target;
        _counters = services.Counters;
        _isStopping = services.IsStopping;
        var (pool, options) = (services.Pool, services.Options);
        _window = new InFlightWindow(
            services.Shared, NbdLimits.Piece, options.MaxBytesPerConnection, options.MaxRequestsPerConnection);
        _outbox = new Outbox(
            socket, _window, pool, services.Latencies, stalled => MayWaitOn(stalled, socket, services), services.Log);
        _watch = new RequestWatch(services.Latencies);
        Func<int, long, bool> enter = Enter;
        _input = new InputBuffer(socket, pool, _window, options.ReceiveBufferBytes, enter);
        _replies = new Replies(_outbox, session, _counters, services.Latencies);
        _runner = new OperationRunner(target, _replies, _outbox, _counters);
        _reads = new ReadPath(target, session, pool, _window, _replies, _runner, _outbox, enter);
        _writes = new WritePath(target, _input, pool, _window, _runner, _watch, Settle, enter);
    }

    /// <summary>Requests that were taken and whose reply has not left yet.</summary>
    public int InFlight => _window.Requests;

    /// <summary>Serves requests until the client disconnects, breaks off, or the server stops.</summary>
    /// <exception cref="NbdProtocolException">The stream can't be understood any more.</exception>
    public void Run()
    {
        try
        {
            do
            {
                while (_input.Count >= NbdRequest.Size)
                {
                    var request = NbdRequest.Read(_input.Unparsed);
                    if (!TryServe(request))
                    {
                        return;
                    }
                }

                Settle();
            }
            while (!_isStopping() && _input.Fill(NbdRequest.Size));
        }
        finally
        {
            Settle();
        }
    }

    /// <summary>Lets what is under way end and its replies leave; false when the time was over before.</summary>
    public bool Finish(TimeSpan limit)
    {
        _outbox.Flush();
        return _window.WaitIdle(limit);
    }

    /// <summary>
    /// Breaks the connection and waits for what the disk still does in its buffers; replies go nowhere.
    /// </summary>
    public void Dispose()
    {
        _outbox.Dispose();
        _input.Dispose();
        _window.WaitIdle(TimeSpan.MaxValue);
    }

    // False ends the loop: the client asked for it, or the stream has ended.
    private bool TryServe(in NbdRequest request)
    {
        _counters.AddRequest(request.Command);
        _watch.Begin(request.Command);
        if (request.Command == NbdCommand.Disconnect)
        {
            return false;
        }

        var fault = _isStopping() ? RequestFault.Stopping : RequestRules.Check(request, _session);
        if (request.Command == NbdCommand.Write)
        {
            var isOpen = fault == RequestFault.None ? _writes.Write(request) : TryRefuseWrite(request, fault);

            // Not before: while its payload is waited for, the flush is not next.
            _habit.NoteWrite();
            return isOpen;
        }

        _input.Skip(NbdRequest.Size);
        if (!Enter(1, 0))
        {
            return false;
        }

        if (fault != RequestFault.None)
        {
            _replies.Refuse(request, fault);
            return true;
        }

        return TryCarryOut(_watch.Parsed(request));
    }

    private bool TryCarryOut(in NbdRequest request)
    {
        switch (request.Command)
        {
            case NbdCommand.Read:
                return _reads.Read(request);
            case NbdCommand.Trim:
            case NbdCommand.WriteZeroes:
                _writes.Submit();
                _habit.NoteWrite();

                // A hole is what the log makes of zeroes either way; NO_HOLE asks for room that a log can't set aside.
                _runner.Run(_target.ZeroAsync(request.Offset, request.Length, request.IsFua), request, null);
                return true;
            case NbdCommand.Flush:
                _habit.NoteFlush();
                _flushes.Add(request);
                return true;
            case NbdCommand.BlockStatus:
                return _reads.BlockStatus(request);
            default:
                // CACHE is a hint; the disk's read cache goes by what is really read.
                _replies.Finish(request, IoStatus.Ok);
                return true;
        }
    }

    // The reply waits until the payload is here: clients don't expect one to a request that they are still sending.
    private bool TryRefuseWrite(in NbdRequest request, RequestFault fault)
    {
        if (request.Length > NbdLimits.MaxDiscard)
        {
            throw new NbdProtocolException($"a write announces {request.Length} bytes");
        }

        _input.Skip(NbdRequest.Size);
        for (var left = (int)request.Length; left > 0;)
        {
            if (_input.Count == 0)
            {
                Settle();
                if (!_input.Fill(1))
                {
                    return false;
                }
            }

            var here = Math.Min(left, _input.Count);
            _input.Skip(here);
            left -= here;
        }

        if (!Enter(1, 0))
        {
            return false;
        }

        _replies.Refuse(request, fault);
        return true;
    }

    private bool Enter(int requests, long bytes)
    {
        if (_window.TryEnter(requests, bytes))
        {
            return true;
        }

        // What is waited for may be replies that nobody has sent yet.
        Settle();
        return _window.Enter(requests, bytes);
    }

    /// <summary>Before this thread waits: writes are carried out, replies leave, and flushes begin.</summary>
    private void Settle()
    {
        _writes.Submit();
        _outbox.Flush();
        if (_flushes.Count == 0)
        {
            if (_habit.IsFlushNext && _window.Requests == 0)
            {
                _target.PrepareFlush();
            }

            return;
        }

        // When the client waits for nothing else, this thread has nothing else to do: no other one need be woken.
        var isAlone = _window.Requests == _flushes.Count;
        _runner.RunFlushes(isAlone ? _target.FlushHereAsync() : _target.FlushAsync(), _flushes);
        _flushes.Clear();
        _outbox.Flush();
    }

    // A peer that takes nothing may keep what it holds as long as nobody else wants it.
    private bool MayWaitOn(TimeSpan stalled, PeerSocket socket, LoopServices services)
    {
        if (stalled < services.Options.StallLimit || !_window.HoldsShared || !services.Shared.IsShort)
        {
            return true;
        }

        services.Log.PeerStalled(socket.Peer, stalled.TotalSeconds, _window.Bytes);
        return false;
    }
}
