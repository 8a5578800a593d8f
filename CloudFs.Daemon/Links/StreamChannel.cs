using CloudFs.Core.Replication;

namespace CloudFs.Daemon.Links;

/// <summary>
/// A link over the stream that the HTTP server gives after an upgrade. It serves every connection that <see cref="LinkDoor"/> could not
/// take before
/// the server did; it is slower, and nothing else.
/// </summary>
internal sealed class StreamChannel(Stream stream, string address) : IPeerChannel
{
    public string Address => address;

    public async ValueTask<int> ReceiveAsync(Memory<byte> destination, CancellationToken cancellation)
    {
        try
        {
            return await stream.ReadAsync(destination, cancellation);
        }
        catch (Exception broke) when (broke is ObjectDisposedException or InvalidOperationException)
        {
            throw new IOException($"the connection to {address} was closed", broke);
        }
    }

    public async ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        try
        {
            await stream.WriteAsync(bytes, cancellation);
            await stream.FlushAsync(cancellation);
        }
        catch (Exception broke) when (broke is ObjectDisposedException or InvalidOperationException)
        {
            throw new IOException($"the connection to {address} was closed", broke);
        }
    }

    public ValueTask DisposeAsync() => stream.DisposeAsync();
}
