using CloudFs.Core.Primitives;

namespace CloudFs.Core.Replication;

/// <summary>
/// A pipe of bytes to another host's daemon, in both directions: an upgraded connection, or one of a simulated network. One reader and
/// one writer at a time, beside each other. Bytes arrive whole and in order, or the channel breaks.
/// </summary>
public interface IPeerChannel : IAsyncDisposable
{
    /// <summary>The other end's address, for lines in the log.</summary>
    string Address { get; }

    /// <summary>Waits for bytes; gives how many came, 0 at the end.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation);

    /// <summary>Sends all of it; waits while the other end takes nothing.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation);
}

/// <summary>Connects to other daemons.</summary>
public interface IPeerDialer
{
    /// <exception cref="IOException">It can't be reached, or does not speak the protocol; one line says which.</exception>
    ValueTask<IPeerChannel> DialAsync(PeerAddress peer, CancellationToken cancellation);
}

/// <summary>A host of the cluster and where its daemon listens.</summary>
public readonly record struct PeerAddress(Id160 Host, string Address);
