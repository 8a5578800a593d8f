using CloudFs.Core.Format;
using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>Who has something for a link's other end, and is asked for it when the link can take it.</summary>
internal abstract class LinkSource
{
    private int _queued;

    /// <summary>Adds frames; true when there is more, for the next turn. On the link's writing loop, one call at a time.</summary>
    public abstract bool Fill(FrameWriter into);

    /// <summary>True for the one who must put it into the queue.</summary>
    public bool TryQueue() => Interlocked.Exchange(ref _queued, 1) == 0;

    public void Unqueue() => Volatile.Write(ref _queued, 0);
}

/// <summary>What a link's owner does with what arrives. Called on the link's reading loop, one frame at a time.</summary>
internal interface ILinkOwner
{
    /// <summary>Both ends have said who they are.</summary>
    void OnOpen(PeerLink link);

    ValueTask OnFrameAsync(PeerLink link, FrameType type, ReadOnlyMemory<byte> payload);

    /// <summary>Answers a request; the answer's first byte is its status. Runs beside other frames.</summary>
    ValueTask<FrameWriter> AnswerAsync(PeerLink link, LinkRequest request, ReadOnlyMemory<byte> body);

    void OnClosed(PeerLink link);
}

/// <summary>
/// One connection to another host's daemon: hello, then frames in both directions, requests and their answers. The writing loop
/// collects from whoever has
/// something, in turn, so that no disk waits behind another for longer than one piece.
/// </summary>
internal sealed partial class PeerLink : IDisposable
{
    /// <summary>So much is collected for one send.</summary>
    public const int SendBytes = 256 << 10;

    private const uint Version = 1;
    private const int ControlBytesMax = 64 << 20;

    private readonly IPeerChannel _channel;
    private readonly ILinkOwner _owner;
    private readonly Id160 _host;
    private readonly Id160 _device;
    private readonly AsyncSignal _wake = new();
    private readonly Lock _lock = new();
    private readonly Queue<LinkSource> _ready = new();
    private readonly CancellationTokenSource _ended = new();
    private FrameWriter _control = new();
    private FrameWriter _spare = new();

    /// <summary>1 while somebody sends; what is collected is theirs.</summary>
    private int _turn;
    private readonly FrameWriter _sending = new();
    private bool _isClosed;

    public PeerLink(IPeerChannel channel, ILinkOwner owner, Id160 host, Id160 device, bool isDialler)
    {
        _channel = channel;
        _owner = owner;
        _host = host;
        _device = device;
        IsDialler = isDialler;
    }

    /// <summary>True at the end that dialled, and follows.</summary>
    public bool IsDialler { get; }

    public string Address => _channel.Address;

    /// <summary>Known once it is open.</summary>
    public Id160 PeerHost { get; private set; }

    public Id160 PeerDevice { get; private set; }

    /// <summary>Cancelled once it has ended.</summary>
    public CancellationToken Ended => _ended.Token;

    /// <summary>Heartbeats that went over it, and what was answered.</summary>
    public LinkLease Lease { get; } = new();

    /// <summary>What is put together of entries that arrive, on the reading loop.</summary>
    public byte[] Scratch { get; } = new byte[EntryLayout.MaxHeaderLength + EntryLayout.MaxBodyLength];

    /// <summary>What the hub saw of it last, to find out whether anything still comes.</summary>
    public (long Received, long At) Seen { get; set; }

    /// <summary>Bytes that were sent and received.</summary>
    public long SentBytes => Volatile.Read(ref _sent);

    public long ReceivedBytes => Volatile.Read(ref _received);

    private long _sent;
    private long _received;

    /// <summary>The reading loop, from hello to the end; <paramref name="expected"/> is who must be there, zero for anybody.</summary>
    /// <exception cref="IOException">Why it ended; none when the other end closed it in order.</exception>
    public async Task RunAsync(Id160 expected, Func<Func<Task>, Task> spawn, CancellationToken cancellation)
    {
        using var stop = cancellation.Register(Break);
        var writing = Task.CompletedTask;
        var isOpen = false;
        try
        {
            Say(FrameType.Hello, hello =>
            {
                hello.Put(Version);
                hello.Put(_host);
                hello.Put(_device);
            });
            writing = spawn(WriteAsync);
            await ReadAsync(async (type, payload) =>
            {
                if (!isOpen)
                {
                    Greet(type, payload.Span, expected);
                    isOpen = true;
                    _owner.OnOpen(this);
                    return;
                }

                await DispatchAsync(type, payload);
            });
        }
        finally
        {
            Break();
            await _channel.DisposeAsync();
            await writing;
            if (isOpen)
            {
                _owner.OnClosed(this);
            }

            FailRequests();
        }
    }

    public void Dispose() => _ended.Dispose();

    /// <summary>Ends the link. Any thread, any number of times.</summary>
    public void Break()
    {
        lock (_lock)
        {
            _isClosed = true;
        }

        _ended.Cancel();
        _wake.Set();
    }

    /// <summary>Sends one frame as soon as the link can take it.</summary>
    public void Say(FrameType type, Action<FrameWriter> fill)
    {
        lock (_lock)
        {
            if (_isClosed)
            {
                return;
            }

            _control.Begin(type);
            fill(_control);
            _control.End();
            if (_control.Count > ControlBytesMax)
            {
                _isClosed = true;
                _ended.Cancel();
            }
        }

        _wake.Set();
    }

    /// <summary>
    /// A source has something. With <paramref name="isSentSoon"/> the caller, or who comes behind it, calls <see cref="SendNow"/>.
    /// </summary>
    public void Ready(LinkSource source, bool isSentSoon = false)
    {
        if (source.TryQueue())
        {
            lock (_lock)
            {
                _ready.Enqueue(source);
            }
        }

        if (!isSentSoon)
        {
            _wake.Set();
        }
    }

    private void Greet(FrameType type, ReadOnlySpan<byte> payload, Id160 expected)
    {
        var hello = new FrameReader(payload);
        if (type != FrameType.Hello || hello.UInt32() is var version && version != Version)
        {
            throw new LinkProtocolException($"{Address} does not begin with a hello of version {Version}");
        }

        PeerHost = hello.Id();
        PeerDevice = hello.Id();
        if (PeerHost == _host)
        {
            throw new LinkProtocolException($"{Address} says that it is host {_host}, which is this one: two hosts can't have one id");
        }

        if (!expected.IsZero && PeerHost != expected)
        {
            throw new LinkProtocolException($"{Address} is host {PeerHost}, expected {expected}");
        }
    }

    private async ValueTask DispatchAsync(FrameType type, ReadOnlyMemory<byte> payload)
    {
        switch (type)
        {
            case FrameType.Request:
                BeginServing(payload.ToArray());
                break;
            case FrameType.Response:
                TakeAnswer(payload.Span);
                break;
            case FrameType.Hello:
                throw new LinkProtocolException($"host {PeerHost} says hello twice");
            default:
                await _owner.OnFrameAsync(this, type, payload);
                break;
        }
    }

    private async Task ReadAsync(Func<FrameType, ReadOnlyMemory<byte>, ValueTask> take)
    {
        var buffer = new byte[64 << 10];
        var count = 0;
        while (true)
        {
            var got = await _channel.ReceiveAsync(buffer.AsMemory(count), _ended.Token);
            if (got == 0)
            {
                return;
            }

            count += got;
            Volatile.Write(ref _received, _received + got);
            var from = 0;
            int needed;
            while (Frames.TryRead(buffer.AsMemory(from, count - from), out var type, out var payload, out needed))
            {
                await take(type, payload);
                from += needed;
            }

            count -= from;
            if (needed > buffer.Length - 4096)
            {
                // Room for the frame and for what follows it: the next receive then brings both.
                var larger = new byte[Math.Max(needed + (64 << 10), buffer.Length)];
                buffer.AsSpan(from, count).CopyTo(larger);
                buffer = larger;
            }
            else if (from > 0)
            {
                buffer.AsSpan(from, count).CopyTo(buffer);
            }
        }
    }

    /// <summary>
    /// Sends what there is on this thread, where nobody else is at it: for who has just put something in, and waits for the answer
    /// next. Never throws, and does not wait for the other end: what it does not take at once goes on by itself.
    /// </summary>
    public void SendNow()
    {
        if (Interlocked.CompareExchange(ref _turn, 1, 0) == 0)
        {
            _ = SendTurnAsync();
        }
    }

    private async Task WriteAsync()
    {
        try
        {
            while (!_ended.IsCancellationRequested)
            {
                await _wake.WaitAsync(_ended.Token);
                if (Interlocked.CompareExchange(ref _turn, 1, 0) == 0)
                {
                    await SendTurnAsync();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The reading loop meets the same, and tells.
            Break();
        }
    }

    /// <summary>Sends until nothing is left, and passes the turn on. Ends the link where it can't; never throws.</summary>
    private async Task SendTurnAsync()
    {
        try
        {
            while (Collect(_sending))
            {
                await _channel.SendAsync(_sending.Written, _ended.Token);
                Volatile.Write(ref _sent, _sent + _sending.Count);
                _sending.Clear();
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The reading loop meets the same, and tells. Nobody gets the turn any more.
            Break();
            return;
        }

        Volatile.Write(ref _turn, 0);
        if (HasWork())
        {
            // It came when the turn was still taken.
            _wake.Set();
        }
    }

    private bool HasWork()
    {
        lock (_lock)
        {
            return _ready.Count > 0 || _control.Count > 0;
        }
    }

    private bool Collect(FrameWriter into)
    {
        FrameWriter control;
        lock (_lock)
        {
            control = _control;
            (_control, _spare) = (_spare, _control);
        }

        into.Put(control.Written.Span);
        control.Clear();
        while (into.Count < SendBytes)
        {
            LinkSource? source;
            lock (_lock)
            {
                if (!_ready.TryDequeue(out source))
                {
                    break;
                }
            }

            source.Unqueue();
            if (source.Fill(into))
            {
                Ready(source);
            }
        }

        return into.Count > 0;
    }
}
