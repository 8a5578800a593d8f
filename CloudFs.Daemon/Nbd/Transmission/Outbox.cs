using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// The replies of one connection on their way out. Anybody adds; whoever flushes while nobody sends becomes the sender
/// and takes along what others add meanwhile, so that replies share sends without anybody waiting for company.
/// A flush never waits for the peer: when the socket is full, the rest is handed to the connection's own sender
/// thread, the only one that such a peer can hold up.
/// </summary>
internal sealed class Outbox : IThreadPoolWorkItem, IDisposable
{
    // Deep enough for a send and a log line; there may be one such thread for each connection.
    private const int SenderStack = 256 << 10;

    // More than that in one send keeps the client waiting for longer than a send costs.
    private const int LongPayload = 64 << 10;

    // How often a sender that waits looks whether others want for the memory that it holds.
    private static readonly TimeSpan StallTick = TimeSpan.FromSeconds(1);

    private readonly PeerSocket _socket;
    private readonly InFlightWindow _window;
    private readonly Func<TimeSpan, bool> _mayWaitOn;
    private readonly ILogger _log;
    private readonly WakeUp _handOver = new();
    private readonly Lock _gate = new();

    // Under the gate.
    private OutBatch _filling;
    private Thread? _sender;
    private bool _isSending;
    private bool _isHandedOver;
    private bool _isFlushDue;
    private bool _isClosed;

    // Belongs to whoever made _isSending true.
    private OutBatch _leaving;

    /// <param name="socket">Where to.</param>
    /// <param name="window">What is told that replies have left.</param>
    /// <param name="pool">For small replies.</param>
    /// <param name="latencies">Told when replies have left that are measured.</param>
    /// <param name="mayWaitOn">
    /// Asked about once a second while the peer takes nothing, with the time for which it has not; false breaks the
    /// connection.
    /// </param>
    /// <param name="log">For defects.</param>
    public Outbox(
        PeerSocket socket, InFlightWindow window, BufferPool pool, NbdLatencies latencies, Func<TimeSpan, bool> mayWaitOn,
        ILogger log)
    {
        _socket = socket;
        _window = window;
        _mayWaitOn = mayWaitOn;
        _log = log;
        _filling = new OutBatch(pool, latencies);
        _leaving = new OutBatch(pool, latencies);
    }

    private enum SendResult
    {
        Done,
        Full,
        Broken,
    }

    public void AddSimple(NbdError error, ulong cookie, in ReplyMark mark)
    {
        lock (_gate)
        {
            ReplyWriter.WriteSimple(_filling.Reserve(ReplyWriter.SimpleSize, 1), error, cookie);
            _filling.Note(mark);
        }
    }

    /// <summary>Ends a structured reply without an error.</summary>
    public void AddEnd(ulong cookie, in ReplyMark mark)
    {
        lock (_gate)
        {
            ReplyWriter.WriteChunk(
                _filling.Reserve(ReplyWriter.ChunkSize, 1), ChunkFlags.Done, ChunkType.None, cookie, 0);
            _filling.Note(mark);
        }
    }

    /// <summary>Ends a structured reply with an error.</summary>
    public void AddError(NbdFailure failure, ulong cookie, in ReplyMark mark)
    {
        lock (_gate)
        {
            var room = _filling.Reserve(ReplyWriter.ErrorHeaderSize + failure.Text.Length, 1);
            ReplyWriter.WriteError(room, failure.Error, cookie, failure.Text);
            _filling.Note(mark);
        }
    }

    /// <summary>A part of a structured reply that is a hole.</summary>
    public void AddHole(ulong cookie, ulong offset, uint length)
    {
        lock (_gate)
        {
            ReplyWriter.WriteHole(
                _filling.Reserve(ReplyWriter.HoleSize, 0), ChunkFlags.None, cookie, offset, length);
        }
    }

    /// <summary>Header and payload in one buffer, which is given back once it has left.</summary>
    public void Add(PooledBuffer buffer, int start, int length, bool endsRequest, in ReplyMark mark)
    {
        lock (_gate)
        {
            _filling.Add(buffer, start, length, endsRequest ? 1 : 0);
            _filling.Note(mark);
        }
    }

    /// <summary>Sends what there is if it is worth a send of its own: the client takes it while this thread goes on.</summary>
    public void FlushIfLong()
    {
        lock (_gate)
        {
            if (_filling.Payload < LongPayload)
            {
                return;
            }
        }

        Flush();
    }

    /// <summary>Sends what there is, as far as the socket takes it now. Returns without waiting for the peer.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            _isFlushDue = false;
            if (_isSending || !TryTakeLocked())
            {
                return;
            }

            _isSending = true;
        }

        Send(canWait: false);
    }

    /// <summary>
    /// Has a flush done by a thread of the pool, soon. For completions: the thread that completes a request is the
    /// engine's, it has more of them to complete, and they then share one send.
    /// </summary>
    public void FlushSoon()
    {
        lock (_gate)
        {
            // Whoever sends looks again before it stops.
            if (_isFlushDue || _isSending)
            {
                return;
            }

            _isFlushDue = true;
        }

        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    /// <inheritdoc/>
    void IThreadPoolWorkItem.Execute() => Flush();

    /// <summary>Breaks the connection; what is in here and what is still added is dropped.</summary>
    public void Dispose()
    {
        Break();
        _handOver.Set();
        Flush();
    }

    private bool TryTakeLocked()
    {
        if (_filling.IsEmpty)
        {
            return false;
        }

        (_filling, _leaving) = (_leaving, _filling);
        return true;
    }

    // Runs while _isSending is this thread's; ends by letting go of it or by handing it over.
    private void Send(bool canWait)
    {
        try
        {
            while (true)
            {
                var result = SendLeaving();
                if (result == SendResult.Full && !canWait)
                {
                    HandOver();
                    return;
                }

                if (result == SendResult.Full)
                {
                    WaitForRoom();
                    continue;
                }

                if (result == SendResult.Broken)
                {
                    Break();
                    continue;
                }

                lock (_gate)
                {
                    if (!TryTakeLocked())
                    {
                        _isSending = false;
                        return;
                    }
                }
            }
        }
        catch (Exception e)
        {
            // No thread to be had, or a defect: the stream can't be gone on with, the rest of the server can.
            _log.ConnectionFailed(e, _socket.Peer);
            Break();
            _window.Leave(_leaving.Drop(), 0);
            lock (_gate)
            {
                _isSending = false;
            }
        }
    }

    private SendResult SendLeaving()
    {
        if (Volatile.Read(ref _isClosed))
        {
            _window.Leave(_leaving.Drop(), 0);
            return SendResult.Done;
        }

        var isDone = _leaving.TrySend(_socket, out var requests, out var error);
        if (requests > 0)
        {
            _window.Leave(requests, 0);
        }

        return isDone ? SendResult.Done : error == SocketCalls.WouldBlock ? SendResult.Full : SendResult.Broken;
    }

    private void HandOver()
    {
        lock (_gate)
        {
            _isHandedOver = true;
            if (_sender is null)
            {
                _sender = new Thread(RunSender, SenderStack) { IsBackground = true, Name = "nbd-send" };
                _sender.Start();
            }
        }

        _handOver.Set();
    }

    private void RunSender()
    {
        while (true)
        {
            _handOver.Wait(Timeout.InfiniteTimeSpan);
            bool isDue;
            lock (_gate)
            {
                isDue = _isHandedOver;
                _isHandedOver = false;
                if (!isDue && _isClosed)
                {
                    return;
                }
            }

            if (isDue)
            {
                Send(canWait: true);
            }
        }
    }

    private void WaitForRoom()
    {
        var since = Environment.TickCount64;
        while (!_socket.WaitForRoom(StallTick))
        {
            if (!_mayWaitOn(TimeSpan.FromMilliseconds(Environment.TickCount64 - since)))
            {
                Break();
                return;
            }
        }
    }

    private void Break()
    {
        lock (_gate)
        {
            _isClosed = true;
        }

        _socket.Abort();
        _window.Close();
    }
}
