using CloudFs.Daemon.Nbd.Exports;
using CloudFs.Daemon.Nbd.Handshake;
using CloudFs.Daemon.Nbd.Sockets;
using CloudFs.Daemon.Nbd.Transmission;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd;

/// <summary>
/// One client from accept to close, on a thread of its own: that thread blocks in the kernel while the client is quiet,
/// and carries out its requests without handing them to another. Ends by itself; <see cref="Stop"/> and
/// <see cref="Abort"/> hurry it.
/// </summary>
internal sealed class NbdConnection : IHandshakeHost
{
    // The engine's synchronous paths run on this stack.
    private const int StackBytes = 1 << 20;

    // After the goodbye: how long to read what the client still sends, so that its last replies aren't reset away.
    private static readonly TimeSpan MaxLinger = TimeSpan.FromSeconds(1);

    private readonly PeerSocket _socket;
    private readonly IExportCatalog _catalog;
    private readonly ConnectionTable _table;
    private readonly ServerServices _services;
    private bool _isStopping;
    private string? _abortReason;
    private RequestLoop? _requests;

    public NbdConnection(
        PeerSocket socket, IExportCatalog catalog, ConnectionTable table, ServerServices services)
    {
        _socket = socket;
        _catalog = catalog;
        _table = table;
        _services = services;
    }

    public NbdCounters Counters { get; } = new();

    /// <summary>Requests that were taken and whose reply has not left yet.</summary>
    public int InFlight => Volatile.Read(ref _requests)?.InFlight ?? 0;

    /// <summary>When it was accepted, on the clock of Environment.TickCount64. The table's.</summary>
    public long AcceptedAt { get; } = Environment.TickCount64;

    /// <summary>The place in the table's list of handshakes; the table's.</summary>
    internal LinkedListNode<NbdConnection>? Place { get; set; }

    bool IHandshakeHost.IsStopping => IsStopping;

    private bool IsStopping => Volatile.Read(ref _isStopping);

    /// <summary>
    /// Starts the thread. Throws where there is none to be had; the caller then disposes of everything.
    /// </summary>
    public void Start() => new Thread(Run, StackBytes) { IsBackground = true, Name = "nbd" }.Start();

    /// <summary>No more requests are taken; those under way end and are answered, then it closes.</summary>
    public void Stop()
    {
        Volatile.Write(ref _isStopping, true);
        _socket.EndReceiving();
    }

    /// <summary>Breaks the connection off; <paramref name="reason"/> is for the log, null for none.</summary>
    public void Abort(string? reason)
    {
        Volatile.Write(ref _abortReason, reason);
        _socket.Abort();
    }

    void IHandshakeHost.HasSpoken() => _table.NoteSpoken(this);

    bool IHandshakeHost.TryEnterTransmission() => _table.TryPromote(this);

    private void Run()
    {
        NegotiatedExport? export = null;
        try
        {
            export = new HandshakePhase(_socket, _catalog, this).Negotiate();
            if (export is null)
            {
                NoteRefusal();
                return;
            }

            Serve(export);
        }
        catch (NbdProtocolException e)
        {
            _services.NoteProtocolError(_socket.Peer, e.Message, isHandshake: export is null);
        }
        catch (Exception e)
        {
            _services.Log.ConnectionFailed(e, _socket.Peer);
        }
        finally
        {
            _socket.Dispose();
            _table.Remove(this);
        }
    }

    private void NoteRefusal()
    {
        // A client that looked around and left was not refused anything.
        if (Volatile.Read(ref _abortReason) is { } reason)
        {
            _services.NoteProtocolError(_socket.Peer, reason, isHandshake: true);
        }
    }

    private void Serve(NegotiatedExport export)
    {
        var disk = export.Target.Id;
        _services.Log.Attached(_socket.Peer, disk);
        var target = new GuardedTarget(export.Target, _services.Log, _services.Defects);
        var loop = new LoopServices(
            _services.Options, _services.Pool, _services.Shared, Counters, _services.Latencies, () => IsStopping,
            _services.Log);
        using (var requests = new RequestLoop(_socket, target, export.Session, loop))
        {
            try
            {
                Volatile.Write(ref _requests, requests);
                requests.Run();
            }
            finally
            {
                if (requests.Finish(_services.Options.FarewellTimeout))
                {
                    SayGoodbye();
                }
            }
        }

        _services.Log.Left(_socket.Peer, disk, Counters.TotalRequests);
    }

    // Closing with unread bytes resets the connection, and a reset may overtake the last replies.
    private void SayGoodbye()
    {
        _socket.EndSending();
        var end = Environment.TickCount64 + (long)MaxLinger.TotalMilliseconds;
        var waste = new byte[4096];
        while (Environment.TickCount64 < end && _socket.WaitForBytes(MaxLinger) && _socket.Receive(waste) > 0)
        {
        }
    }
}
