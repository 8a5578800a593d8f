using CloudFs.Core.Metrics;
using CloudFs.Daemon.Nbd.Wire;

namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>How long the requests of all connections took, and their stages on this side of the engine. Any thread.</summary>
internal sealed class NbdLatencies
{
    private static readonly (NbdCommand Command, string Name)[] Measured =
    [
        (NbdCommand.Read, "read"), (NbdCommand.Write, "write"), (NbdCommand.Flush, "flush"), (NbdCommand.Trim, "trim"),
        (NbdCommand.WriteZeroes, "write_zeroes"),
    ];

    private readonly LatencyClock _clock = new(TimeProvider.System);
    private readonly LatencyHistogram?[] _requests = new LatencyHistogram?[NbdCounters.Kinds];

    public NbdLatencies()
    {
        foreach (var (command, _) in Measured)
        {
            _requests[(int)command] = new LatencyHistogram();
        }
    }

    /// <summary>From a request's header to its place in the window, without waiting for a payload.</summary>
    public LatencyHistogram Parse { get; } = new();

    /// <summary>From a request's result to the last byte of its reply in the socket.</summary>
    public LatencyHistogram Reply { get; } = new();

    /// <summary>Now, in nanoseconds; for differences alone.</summary>
    public long Now => _clock.Now;

    /// <summary>True for what is measured by command; the rest moves no data.</summary>
    public bool Measures(int kind) => _requests[kind] is not null;

    /// <summary>A request's result is known: what is to be counted when its reply has left; nothing for most.</summary>
    public ReplyMark Known(in NbdRequest request) =>
        request.ParsedAt == 0 ? default : new ReplyMark(request.Command, request.ParsedAt, Now);

    /// <summary>The reply has left.</summary>
    public void Sent(in ReplyMark mark)
    {
        var now = Now;
        Reply.Add(now - mark.KnownAt);
        _requests[(int)mark.Command]!.Add(now - mark.ParsedAt);
    }

    /// <summary>How long requests took, by command.</summary>
    public IReadOnlyList<(string Command, LatencySnapshot Latency)> Requests() =>
        [.. Measured.Select(m => (m.Name, _requests[(int)m.Command]!.Read()))];
}

/// <summary>A reply that is measured: its request's command, when it was parsed, and when its result was known.</summary>
internal readonly record struct ReplyMark(NbdCommand Command, long ParsedAt, long KnownAt);
