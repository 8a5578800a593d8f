using System.Globalization;
using CloudFs.Core.Contracts;
using CloudFs.Core.Engine;
using CloudFs.Core.Primitives;
using CloudFs.Core.Scrub;
using CommandLine;
using CommandLine.Text;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Makes checked <see cref="DaemonOptions"/> of a command line, an environment and a file, or says in one line why not.
/// </summary>
internal static class DaemonCommandLine
{
    /// <summary>What became of a command line.</summary>
    /// <param name="Options">The options, or null when the process should print and end.</param>
    /// <param name="Text">What to print: help or version (exit 0, standard output), else the refusal.</param>
    /// <param name="ExitCode">0, or 2 for a command line that is wrong.</param>
    public sealed record Outcome(DaemonOptions? Options, string Text, int ExitCode);

    public static Outcome Read(string[] arguments, Func<string, string?> environment)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.AutoHelp = true;
            settings.AutoVersion = true;
            settings.CaseSensitive = true;
            settings.ParsingCulture = CultureInfo.InvariantCulture;
        });
        var parsed = parser.ParseArguments<DaemonArguments>(arguments);
        if (parsed.Value is null || parsed.Errors.Any())
        {
            return Explain(parsed);
        }

        if (parsed.Value.Strays.FirstOrDefault() is { } stray)
        {
            return Refused($"'{stray}' belongs to no option; see cloudfsd --help");
        }

        if (OptionRules.FindWithoutValue(arguments, OptionSources.ValuedNames) is { } missing)
        {
            return Refused($"{missing} wants a value");
        }

        return OptionSources.Fill(parsed.Value, environment) is { } wrong ? Refused(wrong) : Check(parsed.Value);
    }

    /// <summary>A refusal of the command line: exit 2.</summary>
    private static Outcome Refused(string line) => new(null, line, 2);

    private static Outcome Explain(ParserResult<DaemonArguments> parsed)
    {
        var error = parsed.Errors.First();
        return error switch
        {
            HelpRequestedError => new Outcome(null, Help(parsed), 0),
            VersionRequestedError => new Outcome(null, $"cloudfsd {ProductVersion.Text}", 0),
            UnknownOptionError unknown => Refused($"there is no option '{unknown.Token}'; see cloudfsd --help"),
            MissingValueOptionError missing => Refused($"--{missing.NameInfo.LongName} wants a value"),
            RepeatedOptionError repeated => Refused($"--{repeated.NameInfo.LongName} is given more than once"),
            NamedError named => Refused($"--{named.NameInfo.LongName} can't be understood; see cloudfsd --help"),
            TokenError token => Refused($"'{token.Token}' can't be understood; see cloudfsd --help"),
            _ => Refused("the command line can't be understood; see cloudfsd --help"),
        };
    }

    private static string Help(ParserResult<DaemonArguments> parsed)
    {
        var help = new HelpText
        {
            Heading = $"cloudfsd {ProductVersion.Text}: serves the disks of one device over NBD and HTTP.",
            Copyright = string.Empty,
            AddDashesToOption = true,
            MaximumDisplayWidth = 100,
            AdditionalNewLineAfterOption = false,
        };
        help.AddPreOptionsLine("cloudfsd --device PATH [--size 64G] [options]");
        help.AddOptions(parsed);
        help.AddPostOptionsLine(
            "Each option is also an environment variable (--nbd-socket is CLOUDFS_NBD_SOCKET) and a");
        help.AddPostOptionsLine("key of the --config file. Exit status: 0 ended as asked, 1 failed, 2 wrong usage.");
        return help.ToString().TrimEnd();
    }

    private static Outcome Check(DaemonArguments given)
    {
        if (string.IsNullOrEmpty(given.Device))
        {
            return Refused("--device PATH is missing: the block device or file that holds the log");
        }

        ulong size = 0;
        if (given.Size is not null && (!SizeText.TryParse(given.Size, out size) || size == 0))
        {
            return Refused($"--size {given.Size}: expected a size such as 512M, 64G or 1T");
        }

        if (!TryReadHostId(given.HostId, out var hostId))
        {
            return Refused($"--host-id {given.HostId}: expected 40 hex digits, not all zero");
        }

        if (given.LogFormat is not (null or "text" or "json"))
        {
            return Refused($"--log-format {given.LogFormat}: expected text or json");
        }

        var options = new DaemonOptions
        {
            DevicePath = given.Device,
            SizeBytes = given.Size is null ? null : size,
            NbdSocket = string.IsNullOrEmpty(given.NbdSocket) ? null : Path.GetFullPath(given.NbdSocket),
            HostId = hostId,
            BufferDirectory = given.BufferDir,
            Insecure = given.Insecure,
            LogFormat = given.LogFormat == "json" ? LogFormat.Json : LogFormat.Text,
        };
        return (CheckBounds(given, ref options) ?? CheckScrub(given, ref options)) is { } refusal
            ? Refused(refusal) : CheckAddresses(given, options);
    }

    private static string? CheckBounds(DaemonArguments given, ref DaemonOptions options)
    {
        var indexCache = options.IndexCacheBytes;
        if (given.IndexCache is not null && !TryReadMemory(given.IndexCache, EngineSettings.MinIndexCacheBytes, out indexCache))
        {
            return $"--index-cache {given.IndexCache}: expected a size of at least "
                + $"{SizeText.Format((ulong)EngineSettings.MinIndexCacheBytes)}, such as 64M or 1G";
        }

        var readCache = options.ReadCacheBytes;
        if (given.ReadCache is not null
            && !TryReadMemory(given.ReadCache, EngineSettings.MinReadCacheBytes, out readCache) && readCache != 0)
        {
            return $"--read-cache {given.ReadCache}: expected a size of at least "
                + $"{SizeText.Format((ulong)EngineSettings.MinReadCacheBytes)}, such as 256M or 4G, or 0 for none";
        }

        var historyMin = options.HistoryMin;
        if (given.HistoryMin is not null && !DurationText.TryParse(given.HistoryMin, out historyMin))
        {
            return $"--history-min {given.HistoryMin}: expected a length of time such as 30m, 1h or 2d, or 0";
        }

        var lease = options.Lease;
        if (given.Lease is not null
            && (!DurationText.TryParse(given.Lease, out lease) || lease < TimeSpan.FromSeconds(1) || lease > TimeSpan.FromMinutes(1)))
        {
            return $"--lease {given.Lease}: expected a length of time from 1s to 60s";
        }

        options = options with
        {
            IndexCacheBytes = indexCache,
            ReadCacheBytes = readCache,
            HistoryMin = historyMin,
            Lease = lease,
        };
        return null;
    }

    /// <summary>Reads a size of memory; true when it is at least the smallest one. What is no size at all reads as -1.</summary>
    private static bool TryReadMemory(string text, long least, out long bytes)
    {
        bytes = SizeText.TryParse(text, out var size) && size <= long.MaxValue ? (long)size : -1;
        return bytes >= least;
    }

    private static bool TryReadHostId(string? text, out Id160? id)
    {
        id = null;
        if (text is null)
        {
            return true;
        }

        if (!Id160.TryParse(text, out var parsed) || parsed.IsZero)
        {
            return false;
        }

        id = parsed;
        return true;
    }

    private static string? CheckScrub(DaemonArguments given, ref DaemonOptions options)
    {
        var rate = options.ScrubRate;
        if (given.ScrubRate is not null
            && (!SizeText.TryParse(given.ScrubRate, out rate) || rate is > 0 and < Scrubber.MinRate))
        {
            return $"--scrub-rate {given.ScrubRate}: expected bytes a second, such as 8M, at least 64K, or 0 for none";
        }

        var interval = options.ScrubInterval;
        if (given.ScrubInterval is not null && !DurationText.TryParse(given.ScrubInterval, out interval))
        {
            return $"--scrub-interval {given.ScrubInterval}: expected a length of time such as 12h or 7d, or 0";
        }

        options = options with { ScrubRate = rate, ScrubInterval = interval };
        return null;
    }

    private static Outcome CheckAddresses(DaemonArguments given, DaemonOptions options)
    {
        if (given.Http is not null)
        {
            if (!ListenAddress.TryParse(given.Http, out var http))
            {
                return Refused($"--http {given.Http}: expected an address and a port, such as 127.0.0.1:8090");
            }

            options = options with { Http = http };
        }

        if (given.Nbd is "none")
        {
            options = options with { Nbd = null };
        }
        else if (given.Nbd is not null)
        {
            if (!ListenAddress.TryParse(given.Nbd, out var nbd))
            {
                return Refused($"--nbd {given.Nbd}: expected an address and a port, such as 127.0.0.1:10809, or none");
            }

            options = options with { Nbd = nbd };
        }

        if (!options.Insecure)
        {
            var open = !options.Http.IsLoopback ? $"--http {options.Http}"
                : options.Nbd is { IsLoopback: false } ? $"--nbd {options.Nbd}" : null;
            if (open is not null)
            {
                return Refused($"{open} would let everybody in who reaches it: listen on loopback, or add --insecure");
            }
        }

        return new Outcome(options, string.Empty, 0);
    }
}
