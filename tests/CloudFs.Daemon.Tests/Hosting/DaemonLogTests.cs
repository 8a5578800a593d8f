using CloudFs.Daemon.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace CloudFs.Daemon.Tests.Hosting;

public sealed class DaemonLogTests
{
    [Fact]
    public void A_reader_that_stalls_holds_nobody_up_and_is_told_what_it_missed()
    {
        using var stalled = new StalledWriter();
        using (var log = new DaemonLog(new LogLines(LogFormat.Text, journal: true, TimeProvider.System), stalled))
        {
            var logger = log.CreateLogger("test");
            for (var i = 0; i < 10_000; i++)
            {
                logger.LogInformation("line");
            }

            stalled.LetGo();
        }

        Assert.Contains("lines were dropped", stalled.Text, StringComparison.Ordinal);
        Assert.InRange(stalled.Text.Count(c => c == '\n'), 2, 5_000);
    }

    [Fact]
    public void The_frameworks_own_chatter_stays_out()
    {
        using var output = new StringWriter();
        using (var log = new DaemonLog(new LogLines(LogFormat.Text, journal: true, TimeProvider.System), output))
        {
            log.CreateLogger("Microsoft.AspNetCore.Hosting").LogInformation("request starting");
            log.CreateLogger("Microsoft.AspNetCore.Server.Kestrel").LogWarning("slow");
            log.CreateLogger("CloudFs.Daemon").LogDebug("detail");
            log.CreateLogger("CloudFs.Daemon").LogInformation("ready");
        }

        Assert.Equal("<4>slow\n<6>ready\n", output.ToString());
    }

    private sealed class StalledWriter : StringWriter
    {
        private readonly ManualResetEventSlim _open = new();

        public string Text => ToString();

        public void LetGo() => _open.Set();

        public override void Write(string? value)
        {
            _open.Wait();
            base.Write(value);
        }

        protected override void Dispose(bool disposing)
        {
            _open.Dispose();
            base.Dispose(disposing);
        }
    }
}
