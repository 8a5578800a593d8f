namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// A pinned array out of a <see cref="BufferPool"/> with a count of its users; the last one's <see cref="Release"/>
/// gives it back. Payload begins at <see cref="Headroom"/>, so that a reply's header can be put right before it and
/// both leave in one send.
/// </summary>
internal sealed class PooledBuffer(BufferPool pool, int sizeClass, byte[] array)
{
    /// <summary>Room before the payload: more than any header, and a cache line.</summary>
    public const int Headroom = 64;

    private int _users;
    private InFlightWindow? _window;
    private long _charge;

    public byte[] Array { get; } = array;

    /// <summary>Bytes of payload that fit.</summary>
    public int Capacity => Array.Length - Headroom;

    internal int SizeClass { get; } = sizeClass;

    /// <summary>True while nobody but the owner uses it. Only the owner may ask: nobody else can add a user.</summary>
    public bool IsExclusive => Volatile.Read(ref _users) == 1;

    public Memory<byte> Payload(int length) => Array.AsMemory(Headroom, length);

    public Span<byte> Span(int start, int length) => Array.AsSpan(start, length);

    /// <summary>Binds bytes that a window granted to this buffer: they go back when it does.</summary>
    public void Charge(InFlightWindow window, long bytes)
    {
        _window = window;
        _charge = bytes;
    }

    public void AddUser() => Interlocked.Increment(ref _users);

    public void Release()
    {
        if (Interlocked.Decrement(ref _users) > 0)
        {
            return;
        }

        // Read first: once returned, the buffer may be another request's.
        var (window, charge) = (_window, _charge);
        _window = null;
        pool.Return(this);
        window?.Leave(0, charge);
    }

    internal void Start() => _users = 1;
}
