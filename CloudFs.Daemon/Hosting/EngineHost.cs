using System.Security.Cryptography;
using CloudFs.Core.Devices;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Daemon.Links;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Opens the engine and gives it what it takes from outside: device, write buffer, the machine's clock, its randomness,
/// threads, and a way into the log. A loop of the engine that ends by an exception is logged and makes the process's
/// health failed; it never just falls silent.
/// </summary>
internal sealed partial class EngineHost(DaemonOptions options, ILogger<EngineHost> logger, HealthBoard health)
    : IAsyncDisposable
{
    private readonly BufferPlace _buffer = new(options.BufferDirectory, options.DevicePath);
    private StorageEngine? _engine;

    /// <summary>Opens device and engine, once.</summary>
    /// <exception cref="DeviceRefusedException">One line that names the device and says what is wrong with
    /// it.</exception>
    public async Task<StorageEngine> OpenAsync()
    {
        var settings = new EngineSettings
        {
            Device = FileBlockDevice.Open(options.DevicePath, options.SizeBytes),
            OpenBuffer = _buffer.Open,
            Boot = MachineBoot.Id(),
            HostId = options.HostId,
            SizeBytes = options.SizeBytes,
            IndexCacheBytes = options.IndexCacheBytes,
            ReadCacheBytes = options.ReadCacheBytes,
            HistoryMin = options.HistoryMin,
            ScrubRate = options.ScrubRate,
            ScrubInterval = options.ScrubInterval,
            Dialer = new LinkDialler(),
            Lease = options.Lease,
        };
        var runtime = new EngineRuntime
        {
            Time = BootTimeProvider.Instance,
            FillRandom = RandomNumberGenerator.Fill,
            Spawn = SpawnAsync,
            Report = Report,
        };
        try
        {
            _engine = await StorageEngine.OpenAsync(settings, runtime);
            return _engine;
        }
        catch (DeviceRefusedException refused)
        {
            throw new DeviceRefusedException($"{options.DevicePath}: {refused.Message}", refused);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_engine is not null)
        {
            await _engine.DisposeAsync();
        }

        _buffer.Dispose();
    }

    private async Task SpawnAsync(Func<Task> loop)
    {
        try
        {
            await Task.Run(loop);
        }
        catch (Exception died)
        {
            health.Fail("loop-died", $"a background loop ended by an error: {died.Message}; start the daemon again");
            LoopDied(logger, died);
            throw;
        }
    }

    private void Report(EngineEvent told)
    {
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
