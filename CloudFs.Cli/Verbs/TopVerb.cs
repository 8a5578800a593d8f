using CloudFs.Cli.Options;
using CloudFs.Cli.Top;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>
/// <c>top</c>: scrapes <c>/metrics</c> at each interval and shows what has changed. A daemon that goes away while it is
/// looked at is waited for; one that is not there at first is an error.
/// </summary>
internal static class TopVerb
{
    private static readonly TimeSpan IntervalMax = TimeSpan.FromHours(1);

    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(5);

    public static async Task RunAsync(TopCommand command, CommandIo io, CancellationToken cancellation)
    {
        if (!DurationText.TryParse(command.Interval, out var interval) || interval <= TimeSpan.Zero || interval > IntervalMax)
        {
            throw new CommandException($"--interval '{command.Interval}': expected 1s to 1h", ExitStatus.Usage);
        }

        if (command.Count < 1)
        {
            throw new CommandException($"--count {command.Count}: expected 1 or more", ExitStatus.Usage);
        }

        using var daemon = DaemonClient.For(command.Daemon, io);
        try
        {
            await WatchAsync(daemon, interval, command.Count ?? long.MaxValue, io, cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // That is how it ends: nothing was left undone.
        }
    }

    private static async Task WatchAsync(
        DaemonClient daemon, TimeSpan interval, long count, CommandIo io, CancellationToken cancellation)
    {
        var before = await ScrapeAsync(daemon, cancellation);
        CommandException? away = null;
        using var screen = new TopScreen(io);
        for (; count > 0; count--)
        {
            if (!await screen.WaitAsync(interval, cancellation))
            {
                return;
            }

            try
            {
                var after = await ScrapeAsync(daemon, cancellation);
                screen.Show(TopText.Lines(daemon.Where, new TopFrame(before, after)));
                (before, away) = (after, null);
            }
            catch (CommandException e)
            {
                Tell(e, isNew: away is null, screen, io);
                away = e;
            }
        }

        if (away is not null)
        {
            throw away;
        }
    }

    // On a terminal in the frame's place, as long as it lasts; elsewhere once.
    private static void Tell(CommandException away, bool isNew, TopScreen screen, CommandIo io)
    {
        var line = $"{away.Message}; trying again";
        if (io.Terminal is not null)
        {
            screen.Show([line]);
        }
        else if (isNew)
        {
            io.Say($"cloudfs: {line}");
        }
    }

    private static async Task<MetricsScrape> ScrapeAsync(DaemonClient daemon, CancellationToken cancellation)
    {
        var time = TimeProvider.System;
        var asked = time.GetTimestamp();
        var text = await daemon.GetTextAsync("/metrics", AnswerWithin, cancellation);

        // It was made at some moment between asking and having.
        var scrape = MetricsScrape.Parse(text, (time.GetElapsedTime(0, asked) + time.GetElapsedTime(0)) / 2);
        return TopFrame.IsTold(scrape)
            ? scrape
            : throw new CommandException($"{daemon.Where} tells no latencies: is it a CloudFS daemon of this version?");
    }
}
