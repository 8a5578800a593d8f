using System.Security.Cryptography;
using CloudFs.Core.Engine;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Opens the engine and gives it what it takes from outside: the machine's clock, its randomness, threads, and a way into
/// the log. A loop of the engine that ends by an exception is logged and makes the process's health failed; it never just
/// falls silent.
/// </summary>
internal sealed partial class EngineHost(ILogger<EngineHost> logger, HealthBoard health)
{
    /// <summary>How the device was opened, as the engine told it; empty until then.</summary>
    public string Recovery { get; private set; } = string.Empty;

    public ValueTask<StorageEngine> OpenAsync(DaemonOptions options, CancellationToken cancellation)
    {
        var runtime = new EngineRuntime
        {
            Time = TimeProvider.System,
            FillRandom = RandomNumberGenerator.Fill,
            Spawn = Spawn,
            Report = Report,
        };
        _ = options;
        _ = runtime;
        cancellation.ThrowIfCancellationRequested();
        throw new NotImplementedException();
    }

    private async Task Spawn(Func<Task> loop)
    {
        try
        {
            await Task.Run(loop);
        }
        catch (Exception died) when (died is not OperationCanceledException)
        {
            health.Fail("loop-died", $"a background loop ended by an error: {died.Message}; start the daemon again");
            LoopDied(logger, died);
            throw;
        }
    }

    private void Report(EngineEvent told)
    {
        if (told.Code == "recovered")
        {
            Recovery = told.Message;
        }

        var level = told.Level switch
        {
            EventLevel.Error => LogLevel.Error,
            EventLevel.Warning => LogLevel.Warning,
            _ => LogLevel.Information,
        };
        EngineSaid(logger, level, told.Message, told.Code);
    }

    [LoggerMessage(LogLevel.Critical, "a background loop of the engine ended by an error")]
    private static partial void LoopDied(ILogger logger, Exception exception);

    [LoggerMessage("{Message}")]
    private static partial void EngineSaid(ILogger logger, LogLevel level, string message, string code);
}
