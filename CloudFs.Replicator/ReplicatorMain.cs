using System.Globalization;
using CloudFs.Core.Contracts;
using CommandLine;
using CommandLine.Text;

namespace CloudFs.Replicator;

/// <summary>
/// The replicator's command line. There is no replicator yet: it says what it is, and refuses everything else.
/// </summary>
internal static class ReplicatorMain
{
    private const int Usage = 2;

    public static int Run(string[] arguments, TextWriter output, TextWriter error)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.CaseSensitive = true;
            settings.ParsingCulture = CultureInfo.InvariantCulture;
        });
        var parsed = parser.ParseArguments<NoOptions>(arguments);
        switch (parsed.Errors.FirstOrDefault())
        {
            case HelpRequestedError:
                output.WriteLine(Help(parsed));
                return 0;
            case VersionRequestedError:
                output.WriteLine($"replicator {ProductVersion.Text}");
                return 0;
            default:
                error.WriteLine(
                    "replicator: not there yet: this version keeps each disk on one host, without a replicator");
                return Usage;
        }
    }

    private static string Help(ParserResult<NoOptions> parsed)
    {
        var help = new HelpText
        {
            Heading = $"replicator {ProductVersion.Text}: will decide which hosts hold a disk and who may write it.",
            Copyright = string.Empty,
            AddDashesToOption = true,
            MaximumDisplayWidth = 100,
            AdditionalNewLineAfterOption = false,
        };
        help.AddPreOptionsLine(
            "It is not there yet: in this version a disk lives on one host, which needs no replicator.");
        help.AddOptions(parsed);
        help.AddPostOptionsLine("Exit status: 0 for --help and --version, 2 for anything else.");
        return help.ToString().TrimEnd();
    }

    /// <summary>No option but --help and --version.</summary>
    private sealed class NoOptions;
}
