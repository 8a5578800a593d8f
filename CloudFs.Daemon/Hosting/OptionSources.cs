using System.Text.Json;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Lays the three sources of options over one another: what the command line left open comes from the environment, what
/// that left open from the JSON file. One table names each option once, so that no source can know one more or less.
/// </summary>
internal static class OptionSources
{
    /// <summary>
    /// Every option but <c>--config</c>, which says where the file is, and the switch <c>--insecure</c>.
    /// </summary>
    private static readonly (string Name, Func<DaemonArguments, string?> Get, Action<DaemonArguments, string> Set)[]
        Texts =
        [
            ("device", a => a.Device, (a, v) => a.Device = v),
            ("size", a => a.Size, (a, v) => a.Size = v),
            ("http", a => a.Http, (a, v) => a.Http = v),
            ("nbd", a => a.Nbd, (a, v) => a.Nbd = v),
            ("nbd-socket", a => a.NbdSocket, (a, v) => a.NbdSocket = v),
            ("host-id", a => a.HostId, (a, v) => a.HostId = v),
            ("buffer-dir", a => a.BufferDir, (a, v) => a.BufferDir = v),
            ("index-cache", a => a.IndexCache, (a, v) => a.IndexCache = v),
            ("read-cache", a => a.ReadCache, (a, v) => a.ReadCache = v),
            ("history-min", a => a.HistoryMin, (a, v) => a.HistoryMin = v),
            ("lease", a => a.Lease, (a, v) => a.Lease = v),
            ("scrub-rate", a => a.ScrubRate, (a, v) => a.ScrubRate = v),
            ("scrub-interval", a => a.ScrubInterval, (a, v) => a.ScrubInterval = v),
            ("log-format", a => a.LogFormat, (a, v) => a.LogFormat = v),
        ];

    private const string ConfigName = "config";

    private const string InsecureName = "insecure";

    /// <summary>The options that want a value, by their long names.</summary>
    public static IReadOnlySet<string> ValuedNames { get; } =
        Texts.Select(option => option.Name).Append(ConfigName).ToHashSet();

    /// <summary>The name of an option's environment variable: <c>nbd-socket</c> is <c>CLOUDFS_NBD_SOCKET</c>.</summary>
    public static string VariableFor(string option) => "CLOUDFS_" + option.Replace('-', '_').ToUpperInvariant();

    /// <summary>Fills in what the command line left open. Null, or one line that says what is wrong.</summary>
    public static string? Fill(DaemonArguments arguments, Func<string, string?> environment)
    {
        arguments.Config ??= Variable(environment, ConfigName);
        foreach (var (name, get, set) in Texts)
        {
            if (get(arguments) is null && Variable(environment, name) is { } value)
            {
                set(arguments, value);
            }
        }

        var insecure = Variable(environment, InsecureName);
        if (insecure is not null)
        {
            if (!TryParseSwitch(insecure, out var on))
            {
                return $"{VariableFor(InsecureName)} is '{insecure}': expected true or false";
            }

            arguments.Insecure |= on;
        }

        return arguments.Config is null ? null : FillFromFile(arguments, switchIsOpen: insecure is null);
    }

    private static string? Variable(Func<string, string?> environment, string option) =>
        environment(VariableFor(option)) is { Length: > 0 } value ? value : null;

    private static string? FillFromFile(DaemonArguments arguments, bool switchIsOpen)
    {
        try
        {
            using var document = JsonDocument.Parse(
                File.ReadAllBytes(arguments.Config!),
                new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? FillFromObject(arguments, document.RootElement, switchIsOpen)
                : $"{arguments.Config}: expected a JSON object with options as keys";
        }
        catch (JsonException broken)
        {
            return $"{arguments.Config}: not JSON, at line {broken.LineNumber + 1}";
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            return $"--config {arguments.Config} can't be read: {failed.Message}";
        }
    }

    private static string? FillFromObject(DaemonArguments arguments, JsonElement root, bool switchIsOpen)
    {
        foreach (var property in root.EnumerateObject())
        {
            if (property.Name == InsecureName)
            {
                if (property.Value.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
                {
                    return $"{arguments.Config}: '{InsecureName}' is true or false";
                }

                arguments.Insecure |= switchIsOpen && property.Value.GetBoolean();
                continue;
            }

            var known = Array.FindIndex(Texts, option => option.Name == property.Name);
            if (known < 0)
            {
                var names = string.Join(", ", Texts.Select(option => option.Name));
                return $"{arguments.Config}: there is no option '{property.Name}'; there are {names}, {InsecureName}";
            }

            if (property.Value.ValueKind is not (JsonValueKind.String or JsonValueKind.Number))
            {
                return $"{arguments.Config}: '{property.Name}' is a string";
            }

            if (Texts[known].Get(arguments) is null)
            {
                Texts[known].Set(arguments, property.Value.ToString());
            }
        }

        return null;
    }

    private static bool TryParseSwitch(string text, out bool value)
    {
        value = text is "1" or "true" or "yes";
        return value || text is "0" or "false" or "no";
    }
}
