using System.Runtime.InteropServices;

namespace CloudFs.Replicator.Hosting;

/// <summary>From the command line to the exit status. SIGTERM and SIGINT end the replicator cleanly, a second one at once.</summary>
internal static class ReplicatorMain
{
    private const int Failed = 1;

    public static async Task<int> RunAsync(string[] arguments)
    {
        var outcome = ReplicatorCommandLine.Read(arguments, Environment.GetEnvironmentVariable);
        if (outcome.Options is null)
        {
            await (outcome.ExitCode == 0
                ? Console.Out.WriteLineAsync(outcome.Text) : Console.Error.WriteLineAsync($"replicator: {outcome.Text}"));
            return outcome.ExitCode;
        }

        using var log = new EventLog(Console.Error, TimeProvider.System);
        using var stop = new CancellationTokenSource();
        using var terminate = OnSignal(PosixSignal.SIGTERM, stop);
        using var interrupt = OnSignal(PosixSignal.SIGINT, stop);
        try
        {
            await using (await ReplicatorProcess.StartAsync(outcome.Options, log, stop.Token))
            {
                var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                await using var registration = stop.Token.Register(stopped.SetResult);
                await stopped.Task;
                log.Info("stopping");
            }

            log.Info("stopped");
            return 0;
        }
        catch (StartRefusedException refused)
        {
            log.Dispose();
            await Console.Error.WriteLineAsync($"replicator: {refused.Message}");
            return Failed;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 0;
        }
    }

    private static PosixSignalRegistration OnSignal(PosixSignal signal, CancellationTokenSource stop) =>
        PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            if (stop.IsCancellationRequested)
            {
                Environment.Exit(Failed);
            }

            stop.Cancel();
        });
}
