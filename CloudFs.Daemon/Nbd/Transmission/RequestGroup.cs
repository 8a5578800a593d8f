using CloudFs.Core.Primitives;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// A request that is carried out in parts which may end in any order. The last part to end answers it; the first
/// failure is what it is answered with. Whoever hands out the parts counts as one, so that it can't end in between.
/// </summary>
internal sealed class RequestGroup
{
    private int _open;
    private int _status;

    public NbdRequest Request { get; private set; }

    /// <summary>Ok, or the first failure so far.</summary>
    public IoStatus Status => (IoStatus)Volatile.Read(ref _status);

    public void Begin(in NbdRequest request)
    {
        Request = request;
        _open = 1;
        _status = (int)IoStatus.Ok;
    }

    public void AddPart() => Interlocked.Increment(ref _open);

    /// <summary>Notes how a part ended, before its data are handed on.</summary>
    public void Note(IoStatus status)
    {
        if (status != IoStatus.Ok)
        {
            Interlocked.CompareExchange(ref _status, (int)status, (int)IoStatus.Ok);
        }
    }

    /// <summary>A part has ended; true for the last one, which must answer the request.</summary>
    public bool EndPart() => Interlocked.Decrement(ref _open) == 0;
}
