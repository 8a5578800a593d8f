using CloudFs.Daemon.Nbd.Sockets;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// What has been received and not parsed yet. One receive brings as many requests as have arrived; the payload of a
/// short write is handed to the disk right from here.
/// <code>
///  | parsed, perhaps still being written to disk | unparsed | room |
///                                            _start       _end
/// </code>
/// While a write from here is under way its buffer is held, and receiving goes on in the room that is left. When that
/// is used up, the unparsed bytes move to a new buffer and the old one is freed by the last such write.
/// </summary>
internal sealed class InputBuffer : IDisposable
{
    // Less room than this is not worth a receive.
    private const int LeastRoom = 16 << 10;

    private readonly PeerSocket _socket;
    private readonly BufferPool _pool;
    private readonly InFlightWindow _window;
    private readonly Func<int, long, bool> _enter;
    private PooledBuffer _buffer;
    private int _start = PooledBuffer.Headroom;
    private int _end = PooledBuffer.Headroom;

    /// <param name="socket">Where from.</param>
    /// <param name="pool">For the buffers.</param>
    /// <param name="window">What a buffer that is left behind is charged to.</param>
    /// <param name="size">Bytes of the buffer.</param>
    /// <param name="enter">Waits for room in the window; false at the connection's end.</param>
    public InputBuffer(
        PeerSocket socket, BufferPool pool, InFlightWindow window, int size, Func<int, long, bool> enter)
    {
        _socket = socket;
        _pool = pool;
        _window = window;
        _enter = enter;
        _buffer = pool.Rent(size);
    }

    /// <summary>Bytes that are here.</summary>
    public int Count => _end - _start;

    /// <summary>The bytes that are here.</summary>
    public ReadOnlySpan<byte> Unparsed => _buffer.Span(_start, Count);

    /// <summary>The largest request that can be had in one piece.</summary>
    public int Capacity => _buffer.Capacity;

    /// <summary>All of the buffer, which stays as it is while it is held; <see cref="PlaceOf"/> tells where in it something lies.</summary>
    public ReadOnlyMemory<byte> Whole => _buffer.Array;

    /// <summary>Where in <see cref="Whole"/> a byte lies that is here; until the next <see cref="Fill"/>.</summary>
    public int PlaceOf(int start) => _start + start;

    /// <summary>Holds the buffer for a write from it; the caller releases it.</summary>
    public PooledBuffer Hold()
    {
        _buffer.AddUser();
        return _buffer;
    }

    public void Skip(int count) => _start += count;

    /// <summary>Receives until that many bytes are here; false when the stream ends before.</summary>
    public bool Fill(int needed)
    {
        if (!TryMakeRoom(needed))
        {
            return false;
        }

        while (Count < needed)
        {
            var received = _socket.Receive(_buffer.Span(_end, PooledBuffer.Headroom + Capacity - _end));
            if (received == 0)
            {
                return false;
            }

            _end += received;
        }

        return true;
    }

    /// <summary>
    /// Takes bytes out, receiving what is not here yet right to its place; false when the stream ends.
    /// </summary>
    public bool TakeAll(Span<byte> into)
    {
        var here = Math.Min(Count, into.Length);
        Unparsed[..here].CopyTo(into);
        Skip(here);
        return _socket.ReceiveAll(into[here..]);
    }

    public void Dispose() => _buffer.Release();

    private bool TryMakeRoom(int needed)
    {
        var isExclusive = _buffer.IsExclusive;
        if (Count == 0 && isExclusive)
        {
            _start = _end = PooledBuffer.Headroom;
        }

        var room = PooledBuffer.Headroom + Capacity - _end;
        if (room >= Math.Max(needed - Count, LeastRoom))
        {
            return true;
        }

        var count = Count;
        if (isExclusive)
        {
            Unparsed.CopyTo(_buffer.Span(PooledBuffer.Headroom, count));
        }
        else
        {
            if (!_enter(0, Capacity))
            {
                return false;
            }

            var next = _pool.Rent(Capacity);
            Unparsed.CopyTo(next.Span(PooledBuffer.Headroom, count));
            _buffer.Charge(_window, Capacity);
            _buffer.Release();
            _buffer = next;
        }

        _start = PooledBuffer.Headroom;
        _end = _start + count;
        return true;
    }
}
