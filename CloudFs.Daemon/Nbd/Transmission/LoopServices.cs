namespace CloudFs.Daemon.Nbd.Transmission;

/// <summary>What a connection's loop shares with the server.</summary>
internal sealed record LoopServices(
    NbdServerOptions Options,
    BufferPool Pool,
    SharedBudget Shared,
    NbdCounters Counters,
    NbdLatencies Latencies,
    Func<bool> IsStopping,
    ILogger Log);
