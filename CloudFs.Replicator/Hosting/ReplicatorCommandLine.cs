using System.Globalization;
using System.Net;
using CloudFs.Core.Contracts;
using CloudFs.Core.Primitives;
using CommandLine;
using CommandLine.Text;

namespace CloudFs.Replicator.Hosting;

/// <summary>Makes checked <see cref="ReplicatorOptions"/> of a command line and an environment, or says in one line why not.</summary>
internal static class ReplicatorCommandLine
{
    private const string Prefix = "CLOUDFS_REPLICATOR_";

    /// <summary>Every option that wants a value, once, for both sources.</summary>
    private static readonly (string Name, Func<ReplicatorArguments, string?> Get, Action<ReplicatorArguments, string> Set)[] Texts =
    [
        ("daemon", a => a.Daemon, (a, v) => a.Daemon = v),
        ("listen", a => a.Listen, (a, v) => a.Listen = v),
        ("db", a => a.Db, (a, v) => a.Db = v),
        ("zone", a => a.Zone, (a, v) => a.Zone = v),
        ("weight", a => a.Weight, (a, v) => a.Weight = v),
        ("advertise", a => a.Advertise, (a, v) => a.Advertise = v),
        ("advertise-daemon", a => a.AdvertiseDaemon, (a, v) => a.AdvertiseDaemon = v),
        ("grace", a => a.Grace, (a, v) => a.Grace = v),
    ];

    /// <summary>What became of a command line.</summary>
    /// <param name="Options">The options, or null when the process should print and end.</param>
    /// <param name="Text">What to print: help or version (exit 0), else the refusal.</param>
    /// <param name="ExitCode">0, or 2 for a command line that is wrong.</param>
    public sealed record Outcome(ReplicatorOptions? Options, string Text, int ExitCode);

    public static Outcome Read(string[] arguments, Func<string, string?> environment)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.CaseSensitive = true;
            settings.ParsingCulture = CultureInfo.InvariantCulture;
        });
        var parsed = parser.ParseArguments<ReplicatorArguments>(arguments);
        if (parsed.Value is null || parsed.Errors.Any())
        {
            return Explain(parsed);
        }

        if (OptionRules.FindWithoutValue(arguments, Texts.Select(option => option.Name).ToHashSet()) is { } missing)
        {
            return Refused($"{missing} wants a value");
        }

        return Fill(parsed.Value, environment) is { } wrong ? Refused(wrong) : Check(parsed.Value);
    }

    private static Outcome Refused(string line) => new(null, line, 2);

    private static Outcome Explain(ParserResult<ReplicatorArguments> parsed) => parsed.Errors.First() switch
    {
        HelpRequestedError => new Outcome(null, Help(parsed), 0),
        VersionRequestedError => new Outcome(null, $"replicator {ProductVersion.Text}", 0),
        UnknownOptionError unknown => Refused($"there is no option '{unknown.Token}'; see replicator --help"),
        MissingValueOptionError missing => Refused($"--{missing.NameInfo.LongName} wants a value"),
        RepeatedOptionError repeated => Refused($"--{repeated.NameInfo.LongName} is given more than once"),
        _ => Refused("the command line can't be understood; see replicator --help"),
    };

    private static string Help(ParserResult<ReplicatorArguments> parsed)
    {
        var help = new HelpText
        {
            Heading = $"replicator {ProductVersion.Text}: decides which hosts hold a disk, and sees to it that they do.",
            Copyright = string.Empty,
            AddDashesToOption = true,
            MaximumDisplayWidth = 100,
            AdditionalNewLineAfterOption = false,
        };
        help.AddPreOptionsLine("replicator HOST-ID|auto [peer[:port] ...] [options]");
        help.AddOptions(parsed);
        help.AddPostOptionsLine("Each option is also an environment variable (--db is CLOUDFS_REPLICATOR_DB; the words are");
        help.AddPostOptionsLine("CLOUDFS_REPLICATOR_HOST_ID and _PEERS). Exit status: 0 ended as asked, 1 failed, 2 wrong usage.");
        return help.ToString().TrimEnd();
    }

    private static string? Fill(ReplicatorArguments given, Func<string, string?> environment)
    {
        string? Variable(string name) =>
            environment(Prefix + name.Replace('-', '_').ToUpperInvariant()) is { Length: > 0 } value ? value : null;
        foreach (var (name, get, set) in Texts)
        {
            if (get(given) is null && Variable(name) is { } value)
            {
                set(given, value);
            }
        }

        List<string> words = [.. given.Words];
        if (words.Count == 0 && Variable("host-id") is { } id)
        {
            words.Add(id);
        }

        if (words.Count == 1 && Variable("peers") is { } peers)
        {
            words.AddRange(peers.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries));
        }

        given.Words = words;
        return Switch(Variable("witness"), "WITNESS", on => given.Witness |= on)
            ?? Switch(Variable("insecure"), "INSECURE", on => given.Insecure |= on);
    }

    private static string? Switch(string? text, string name, Action<bool> set)
    {
        switch (text)
        {
            case null or "0" or "false" or "no":
                return null;
            case "1" or "true" or "yes":
                set(true);
                return null;
            default:
                return $"{Prefix}{name} is '{text}': expected true or false";
        }
    }

    private static Outcome Check(ReplicatorArguments given)
    {
        List<string> words = [.. given.Words];
        if (words.Count == 0)
        {
            return Refused("the host id is missing: 40 hex digits, or auto for the daemon's own");
        }

        Id160? id = null;
        if (words[0] != "auto")
        {
            if (!Id160.TryParse(words[0], out var parsed) || parsed.IsZero)
            {
                return Refused($"host id '{words[0]}': expected 40 hex digits that are not all zero, or auto");
            }

            id = parsed;
        }

        List<string> seeds = [];
        foreach (var word in words.Skip(1))
        {
            if (!HostAddress.TryParse(word, ReplicatorOptions.DefaultPort, out var seed))
            {
                return Refused($"peer '{word}': expected an address such as 10.0.0.2 or 10.0.0.2:8091");
            }

            seeds.Add(seed);
        }

        var options = new ReplicatorOptions
        {
            HostId = id, Seeds = seeds, Database = given.Db, Zone = given.Zone ?? string.Empty,
                Witness = given.Witness, Insecure = given.Insecure,
        };
        return (CheckNumbers(given, ref options) ?? CheckAddresses(given, ref options)) is { } wrong
            ? Refused(wrong) : new Outcome(options, string.Empty, 0);
    }

    private static string? CheckNumbers(ReplicatorArguments given, ref ReplicatorOptions options)
    {
        if (options.Zone.Length > 64 || options.Zone.Any(c => char.IsControl(c) || c == ' '))
        {
            return "--zone: expected a word of at most 64 characters";
        }

        if (given.Weight is not null)
        {
            if (!double.TryParse(given.Weight, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var weight)
                || weight is not (> 0 and <= 1e9))
            {
                return $"--weight {given.Weight}: expected a number above 0, such as 1 or 2.5";
            }

            options = options with { Weight = weight };
        }

        if (given.Grace is not null)
        {
            if (!DurationText.TryParse(given.Grace, out var grace))
            {
                return $"--grace {given.Grace}: expected a length of time such as 30s, 10m or 1h";
            }

            options = options with { Grace = grace };
        }

        return null;
    }

    private static string? CheckAddresses(ReplicatorArguments given, ref ReplicatorOptions options)
    {
        if (given.Daemon is not null)
        {
            if (!Uri.TryCreate(given.Daemon, UriKind.Absolute, out var url) || url.Scheme != "http" || url.PathAndQuery != "/")
            {
                return $"--daemon {given.Daemon}: expected a URL such as http://127.0.0.1:8090";
            }

            options = options with { Daemon = url };
        }

        if (given.Listen is not null)
        {
            var text = given.Listen.StartsWith("localhost:", StringComparison.Ordinal) ? $"127.0.0.1{given.Listen[9..]}" : given.Listen;
            if (!text.Contains(':', StringComparison.Ordinal) || !IPEndPoint.TryParse(text, out var listen))
            {
                return $"--listen {given.Listen}: expected an address and a port, such as 127.0.0.1:8091";
            }

            options = options with { Listen = listen };
        }

        if (!options.Insecure && !IPAddress.IsLoopback(options.Listen.Address))
        {
            return $"--listen {options.Listen} would let everybody in who reaches it: listen on loopback, or add --insecure";
        }

        return CheckAdvertised(given, ref options);
    }

    private static string? CheckAdvertised(ReplicatorArguments given, ref ReplicatorOptions options)
    {
        var port = options.Listen.Port;
        if (given.Advertise is not null)
        {
            if (!HostAddress.TryParse(given.Advertise, port, out var own))
            {
                return $"--advertise {given.Advertise}: expected an address such as 10.0.0.1 or 10.0.0.1:8091";
            }

            options = options with { Advertise = own };
        }
        else if (options.Listen.Address.Equals(IPAddress.Any) || options.Listen.Address.Equals(IPAddress.IPv6Any))
        {
            return $"--listen {options.Listen} is no address that others can reach: say with --advertise where this host is";
        }

        if (given.AdvertiseDaemon is not null)
        {
            if (!HostAddress.TryParse(given.AdvertiseDaemon, options.Daemon.Port, out var daemon))
            {
                return $"--advertise-daemon {given.AdvertiseDaemon}: expected an address such as 10.0.0.1 or 10.0.0.1:8090";
            }

            options = options with { AdvertiseDaemon = daemon };
        }

        return null;
    }
}
