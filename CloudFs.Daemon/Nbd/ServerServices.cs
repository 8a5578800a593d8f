using CloudFs.Daemon.Nbd.Transmission;

namespace CloudFs.Daemon.Nbd;

/// <summary>What all connections of a server share.</summary>
internal sealed class ServerServices(NbdServerOptions options, ILogger log)
{
    private readonly LogThrottle _refusals = new();
    private readonly LogThrottle _errors = new();
    private long _refused;
    private long _protocolErrors;

    public NbdServerOptions Options { get; } = options;

    public ILogger Log { get; } = log;

    /// <summary>For defects behind requests: one that all requests run into must not fill the log.</summary>
    public LogThrottle Defects { get; } = new();

    public BufferPool Pool { get; } = new(options.MaxKeptBytes);

    public SharedBudget Shared { get; } = new(options.MaxBytes);

    public NbdLatencies Latencies { get; } = new();

    public long Refused => Interlocked.Read(ref _refused);

    public long ProtocolErrors => Interlocked.Read(ref _protocolErrors);

    /// <summary>
    /// Counts a connection that was ended for what its peer did, and logs it if that was not just done.
    /// </summary>
    public void NoteProtocolError(string peer, string reason, bool isHandshake)
    {
        if (isHandshake)
        {
            Interlocked.Increment(ref _refused);
            if (_refusals.TryPass(out var untold))
            {
                Log.Refused(peer, reason, LogThrottle.Tell(untold));
            }

            return;
        }

        Interlocked.Increment(ref _protocolErrors);
        if (_errors.TryPass(out var held))
        {
            Log.ProtocolError(peer, reason, LogThrottle.Tell(held));
        }
    }
}
