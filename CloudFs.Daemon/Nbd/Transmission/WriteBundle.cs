using CloudFs.Core.Disks;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>Writes that arrived together and are carried out as one, with the requests that they answer. Reused.</summary>
internal sealed class WriteBundle
{
    private readonly List<NbdRequest> _requests = [];

    public WriteBatch Batch { get; } = new();

    public List<NbdRequest> Requests => _requests;

    public bool IsEmpty => _requests.Count == 0;

    /// <summary>True when they are answered once they are durable.</summary>
    public bool IsFua { get; private set; }

    /// <summary>Adds a write whose payload begins at <paramref name="start"/>; false when it can't go with those that are there.</summary>
    public bool TryAdd(in NbdRequest request, ReadOnlyMemory<byte> data, int start)
    {
        if ((!IsEmpty && request.IsFua != IsFua) || !Batch.TryAdd(data, request.Offset, start, (int)request.Length))
        {
            return false;
        }

        IsFua = request.IsFua;
        _requests.Add(request);
        return true;
    }

    public void Clear()
    {
        _requests.Clear();
        Batch.Clear();
    }
}
