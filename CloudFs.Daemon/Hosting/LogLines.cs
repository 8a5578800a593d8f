using System.Globalization;
using System.Text;
using System.Text.Json;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// Makes one line of one event. As text: time, level, the message, then <c>key=value</c> for each property that the
/// message does not name already; under systemd (<c>JOURNAL_STREAM</c> is set) the journal's <c>&lt;6&gt;</c> stands in
/// place of the time, which the journal keeps itself. As JSON: an object with every property.
/// </summary>
internal sealed class LogLines(LogFormat format, bool journal, TimeProvider time)
{
    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    // The template itself, which the framework adds to the properties of every event.
    private const string TemplateKey = "{OriginalFormat}";

    private static readonly JsonWriterOptions JsonOptions = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public string Format(
        LogLevel level, string category, string message, IReadOnlyList<KeyValuePair<string, object?>>? properties,
        Exception? exception) =>
        format == LogFormat.Json
            ? Json(level, category, message, properties, exception)
            : Text(level, message, properties, exception);

    private string Text(
        LogLevel level, string message, IReadOnlyList<KeyValuePair<string, object?>>? properties, Exception? exception)
    {
        var line = new StringBuilder(128);
        if (journal)
        {
            line.Append('<').Append(Severity(level)).Append('>');
        }
        else
        {
            line.Append(Now()).Append(' ').Append(Name(level)).Append(' ');
        }

        AppendOneLine(line, message);
        var template = TemplateOf(properties);
        foreach (var (key, value) in properties ?? [])
        {
            if (key != TemplateKey && !template.Contains('{' + key, StringComparison.OrdinalIgnoreCase))
            {
                line.Append(' ').Append(Key(key)).Append('=');
                AppendValue(line, Text(value));
            }
        }

        if (exception is not null)
        {
            line.Append(" exception=");
            AppendValue(line, exception.ToString());
        }

        return line.Append('\n').ToString();
    }

    private string Json(
        LogLevel level, string category, string message, IReadOnlyList<KeyValuePair<string, object?>>? properties,
        Exception? exception)
    {
        using var buffer = new MemoryStream(256);
        using (var json = new Utf8JsonWriter(buffer, JsonOptions))
        {
            json.WriteStartObject();
            json.WriteString("time", Now());
            json.WriteString("level", Name(level));
            json.WriteString("category", category);
            json.WriteString("message", message);
            foreach (var (key, value) in properties ?? [])
            {
                if (key != TemplateKey)
                {
                    json.WriteString(Key(key), Text(value));
                }
            }

            if (exception is not null)
            {
                json.WriteString("exception", exception.ToString());
            }

            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private string Now() => time.GetUtcNow().ToString(TimeFormat, CultureInfo.InvariantCulture);

    private static string TemplateOf(IReadOnlyList<KeyValuePair<string, object?>>? properties)
    {
        foreach (var (key, value) in properties ?? [])
        {
            if (key == TemplateKey)
            {
                return value as string ?? string.Empty;
            }
        }

        return string.Empty;
    }

    private static string Text(object? value) => value switch
    {
        null => string.Empty,
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    // Properties are named after C# parameters; in the line they read as in the metrics: device_id.
    private static string Key(string name)
    {
        var key = new StringBuilder(name.Length + 4);
        for (var i = 0; i < name.Length; i++)
        {
            if (i > 0 && char.IsAsciiLetterUpper(name[i]) && !char.IsAsciiLetterUpper(name[i - 1]))
            {
                key.Append('_');
            }

            key.Append(char.ToLowerInvariant(name[i]));
        }

        return key.ToString();
    }

    private static void AppendValue(StringBuilder line, string value)
    {
        var plain = value.Length > 0;
        foreach (var c in value)
        {
            plain &= c > ' ' && c is not ('"' or '=' or '\\');
        }

        if (plain)
        {
            line.Append(value);
            return;
        }

        line.Append('"');
        foreach (var c in value)
        {
            if (c is '"' or '\\')
            {
                line.Append('\\');
            }

            AppendChar(line, c);
        }

        line.Append('"');
    }

    private static void AppendOneLine(StringBuilder line, string message)
    {
        foreach (var c in message)
        {
            AppendChar(line, c);
        }
    }

    /// <summary>What came from outside (a name, a header) must not be able to forge a line of its own.</summary>
    private static void AppendChar(StringBuilder line, char c)
    {
        if (c == '\n')
        {
            line.Append("\\n");
        }
        else
        {
            line.Append(char.IsControl(c) ? '?' : c);
        }
    }

    private static string Name(LogLevel level) => level switch
    {
        LogLevel.Critical => "critical",
        LogLevel.Error => "error",
        LogLevel.Warning => "warning",
        LogLevel.Information => "info",
        _ => "debug",
    };

    private static char Severity(LogLevel level) => level switch
    {
        LogLevel.Critical => '2',
        LogLevel.Error => '3',
        LogLevel.Warning => '4',
        LogLevel.Information => '6',
        _ => '7',
    };
}
