using CloudFs.Core.Metrics;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>
/// Chooses which requests of a connection are measured: the first of each command, then one in
/// <see cref="StageLatencies.Every"/>. By command, so that a client that flushes after each write has both measured. The
/// connection's own thread alone.
/// </summary>
internal sealed class RequestWatch(NbdLatencies latencies)
{
    private readonly int[] _left = new int[NbdCounters.Kinds];
    private long _began;

    /// <summary>A request's header is here.</summary>
    public void Begin(NbdCommand command)
    {
        var kind = NbdCounters.KindOf(command);
        if (--_left[kind] > 0 || !latencies.Measures(kind))
        {
            _began = 0;
            return;
        }

        _left[kind] = StageLatencies.Every;
        _began = latencies.Now;
    }

    /// <summary>The client's payload was waited for: that is not its server's time.</summary>
    public void BeginAgain()
    {
        if (_began != 0)
        {
            _began = latencies.Now;
        }
    }

    /// <summary>The request is in the window; if it is measured, it knows since when.</summary>
    public NbdRequest Parsed(in NbdRequest request)
    {
        if (_began == 0)
        {
            return request;
        }

        var now = latencies.Now;
        latencies.Parse.Add(now - _began);
        _began = 0;
        return request with { ParsedAt = now };
    }
}
