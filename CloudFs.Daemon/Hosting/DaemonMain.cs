using System.Runtime.InteropServices;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// From the command line to the exit status. SIGTERM and SIGINT end the daemon cleanly; a second one ends it at once,
/// which a log-structured store survives like any other death.
/// </summary>
internal sealed partial class DaemonMain
{
    private const int Failed = 1;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var outcome = DaemonCommandLine.Read(arguments, Environment.GetEnvironmentVariable);
        if (outcome.Options is null)
        {
            await (outcome.ExitCode == 0
                ? Console.Out.WriteLineAsync(outcome.Text)
                : Console.Error.WriteLineAsync($"cloudfsd: {outcome.Text}"));
            return outcome.ExitCode;
        }

        var journal = Environment.GetEnvironmentVariable("JOURNAL_STREAM") is not null;
        var lines = new LogLines(outcome.Options.LogFormat, journal, TimeProvider.System);
        using var log = new DaemonLog(lines, Console.Error);
        var logger = log.For<DaemonMain>();
        WatchForTheUnexpected(logger);
        using var stop = new CancellationTokenSource();
        using var terminate = OnSignal(PosixSignal.SIGTERM, stop, logger);
        using var interrupt = OnSignal(PosixSignal.SIGINT, stop, logger);
        return await ServeAsync(outcome.Options, log, logger, stop.Token);
    }

    private static async Task<int> ServeAsync(
        DaemonOptions options, DaemonLog log, ILogger logger, CancellationToken stop)
    {
        try
        {
            await using (await DaemonProcess.StartAsync(options, log, stop))
            {
                var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                await using var registration = stop.Register(stopped.SetResult);
                await stopped.Task;
            }

            Stopped(logger);
            return 0;
        }
        catch (StartRefusedException refused)
        {
            log.Dispose();
            await Console.Error.WriteLineAsync($"cloudfsd: {refused.Message}");
            return Failed;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Stopped(logger);
            return 0;
        }
    }

    private static PosixSignalRegistration OnSignal(
        PosixSignal signal, CancellationTokenSource stop, ILogger logger) =>
        PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            if (stop.IsCancellationRequested)
            {
                Environment.Exit(Failed);
            }

            Stopping(logger, signal.ToString());
            stop.Cancel();
        });

    private static void WatchForTheUnexpected(ILogger logger)
    {
        AppDomain.CurrentDomain.UnhandledException += (_, thrown) =>
            Unexpected(logger, thrown.ExceptionObject as Exception);
        TaskScheduler.UnobservedTaskException += (_, thrown) =>
        {
            thrown.SetObserved();
            Unexpected(logger, thrown.Exception);
        };
    }

    [LoggerMessage(LogLevel.Information, "stopping")]
    private static partial void Stopping(ILogger logger, string signal);

    [LoggerMessage(LogLevel.Information, "stopped")]
    private static partial void Stopped(ILogger logger);

    [LoggerMessage(LogLevel.Critical, "an error that nobody expected")]
    private static partial void Unexpected(ILogger logger, Exception? exception);
}
