using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace CloudFs.Daemon.Http;

/// <summary>
/// Keeps the number of connections within a bound without locking anybody out: where there is no room, the connection
/// that has been silent for longest (no request yet, or none any more) makes place for the newest. So a flood of
/// half-open connections pushes out itself. Only when every connection is in the middle of a request is a new one
/// turned away. Thread-safe.
/// </summary>
internal sealed class ConnectionRoom(int capacity)
{
    private readonly Lock _gate = new();

    // Those without a request, the longest silent first. The others are only counted.
    private readonly LinkedList<Place> _silent = new();
    private int _open;
    private long _pushedOut;

    public int Open => Volatile.Read(ref _open);

    /// <summary>Connections that were closed for want of room; monotonic.</summary>
    public long PushedOut => Interlocked.Read(ref _pushedOut);

    /// <summary>As Kestrel's connection middleware: what runs for each connection, from its first byte to its last.</summary>
    public ConnectionDelegate Around(ConnectionDelegate next) => async connection =>
    {
        var place = Enter(connection);
        connection.Items[typeof(ConnectionRoom)] = place;
        try
        {
            await next(connection);
        }
        finally
        {
            Leave(place);
        }
    };

    /// <summary>Marks the connection of a request as busy until what is returned is disposed of.</summary>
    public IDisposable? Busy(HttpContext http)
    {
        if (http.Features.Get<IConnectionItemsFeature>()?.Items[typeof(ConnectionRoom)] is not Place place)
        {
            return null;
        }

        lock (_gate)
        {
            Unlink(place);
        }

        return new Request(this, place);
    }

    private Place Enter(ConnectionContext connection)
    {
        Place? pushedOut = null;
        var place = new Place(connection);
        lock (_gate)
        {
            _silent.AddLast(place.Node);
            if (++_open > capacity)
            {
                pushedOut = _silent.First!.Value;
                pushedOut.IsGone = true;
                _silent.RemoveFirst();
                _open--;
                _pushedOut++;
            }
        }

        pushedOut?.Connection.Abort(new ConnectionAbortedException("no room for a connection that says nothing"));
        return place;
    }

    private void Leave(Place place)
    {
        lock (_gate)
        {
            Unlink(place);
            _open -= place.IsGone ? 0 : 1;
            place.IsGone = true;
        }
    }

    private void FallSilent(Place place)
    {
        lock (_gate)
        {
            if (!place.IsGone && place.Node.List is null)
            {
                _silent.AddLast(place.Node);
            }
        }
    }

    private static void Unlink(Place place) => place.Node.List?.Remove(place.Node);

    /// <summary>A connection's place; changed only under the lock.</summary>
    private sealed class Place
    {
        public Place(ConnectionContext connection)
        {
            Connection = connection;
            Node = new LinkedListNode<Place>(this);
        }

        public ConnectionContext Connection { get; }

        public LinkedListNode<Place> Node { get; }

        /// <summary>Left, or pushed out: not counted any more.</summary>
        public bool IsGone { get; set; }
    }

    private sealed class Request(ConnectionRoom room, Place place) : IDisposable
    {
        public void Dispose() => room.FallSilent(place);
    }
}
