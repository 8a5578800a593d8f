using CloudFs.Cli.Options;
using CloudFs.Cli.Transfer;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli.Verbs;

/// <summary>
/// <c>scrub</c>: begins one, or joins the one that is under way. Findings go to standard output, what becomes of it to
/// standard error; findings make the exit status 1.
/// </summary>
internal static class ScrubVerb
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(250);

    public static async Task RunAsync(ScrubCommand command, CommandIo io, CancellationToken cancellation)
    {
        using var daemon = DaemonClient.For(command.Daemon, io);
        var status = await BeginAsync(daemon, cancellation);
        if (command.Wait)
        {
            status = await FollowAsync(daemon, status, io, cancellation);
        }

        if (command.Json)
        {
            Listing.Json(io.Out, status, HttpContractsJson.Plain.ScrubJson);
        }
        else
        {
            Listing.Scrub(io.Out, status);
            io.Say(Summary(status));
        }

        if (status.FindingCount > 0)
        {
            throw new CommandException($"{status.FindingCount} finding{(status.FindingCount == 1 ? "" : "s")}");
        }
    }

    private static async Task<ScrubJson> BeginAsync(DaemonClient daemon, CancellationToken cancellation)
    {
        var now = await daemon.GetAsync("/scrub", HttpContractsJson.Default.ScrubJson, cancellation);
        if (now.Running)
        {
            return now;
        }

        try
        {
            return await daemon.PostAsync("/scrub", HttpContractsJson.Default.ScrubJson, cancellation);
        }
        catch (CommandException)
        {
            // Somebody else may have begun one in between: that one is as good.
            now = await daemon.GetAsync("/scrub", HttpContractsJson.Default.ScrubJson, cancellation);
            if (!now.Running)
            {
                throw;
            }

            return now;
        }
    }

    private static async Task<ScrubJson> FollowAsync(
        DaemonClient daemon, ScrubJson status, CommandIo io, CancellationToken cancellation)
    {
        var pass = status.Pass;
        using var progress = new Progress(io, null, TimeProvider.System);
        while (status.Running && status.Pass == pass)
        {
            await Task.Delay(LookEvery, cancellation);
            status = await daemon.GetAsync("/scrub", HttpContractsJson.Default.ScrubJson, cancellation);
            progress.Reach(status.BytesDone, status.BytesTotal);
        }

        return status;
    }

    private static string Summary(ScrubJson status)
    {
        var all = SizeText.Format(status.BytesTotal);
        if (!status.Running)
        {
            return $"{all} scrubbed";
        }

        var left = status.Rate == 0 ? 0 : (status.BytesTotal - Math.Min(status.BytesDone, status.BytesTotal)) / status.Rate;
        return $"scrubbing: {SizeText.Format(status.BytesDone)} of {all}, at most {SizeText.Format(status.Rate)}/s, "
            + $"about {DurationText.Format(TimeSpan.FromSeconds(left))} left; cloudfs scrub --wait shows how far it is";
    }
}
