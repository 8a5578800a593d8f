using System.Runtime.InteropServices;
using CloudFs.Cli;

using var interrupted = new CancellationTokenSource();
using var registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal =>
{
    // The first asks the command to end as it can; the second finds the default back in place.
    signal.Cancel = !interrupted.IsCancellationRequested;
    interrupted.Cancel();
});
return await CliMain.RunAsync(args, CommandIo.Standard(), interrupted.Token);
