using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>
/// The form that all JSON bodies share: one object from the first byte on, in UTF-8, no key twice, padded with spaces
/// to whole sectors. By hand on JsonNode and Utf8JsonWriter: nothing here needs reflection.
/// </summary>
internal static class BodyJson
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    private static readonly JsonDocumentOptions KeysTwiceAllowed = new() { AllowDuplicateProperties = true };

    // Relaxed: bodies are never put into HTML, and base64 must stay as it is.
    private static readonly JsonWriterOptions WriterOptions =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Takes a padded body apart.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out JsonObject root, out FormatFault fault)
    {
        root = [];
        var json = body.TrimEnd((byte)' ');
        if (!Utf8.IsValid(json))
        {
            fault = new(FormatError.JsonEncoding, "");
            return false;
        }

        if (json.Length < 2 || json[0] != (byte)'{' || json[^1] != (byte)'}')
        {
            fault = new(FormatError.JsonPadding, "");
            return false;
        }

        var error = ReadObject(json, out root);
        fault = new(error, "");
        return error == FormatError.None;
    }

    /// <summary>JSON bytes of what <paramref name="write"/> puts out, padded to whole sectors.</summary>
    /// <exception cref="ArgumentException">It is more than a body holds.</exception>
    public static byte[] ToPaddedBytes(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(EntryLayout.SectorSize);
        using (var writer = new Utf8JsonWriter(buffer, WriterOptions))
        {
            write(writer);
        }

        if (buffer.WrittenCount > EntryLayout.MaxBodyLength)
        {
            throw new ArgumentException(
                $"expected at most {EntryLayout.MaxBodyLength} bytes of JSON, found {buffer.WrittenCount}");
        }

        var sectors = (buffer.WrittenCount + EntryLayout.SectorSize - 1) / EntryLayout.SectorSize;
        var body = new byte[sectors * EntryLayout.SectorSize];
        buffer.WrittenSpan.CopyTo(body);
        body.AsSpan(buffer.WrittenCount).Fill((byte)' ');
        return body;
    }

    /// <summary>The same, as a string and unpadded.</summary>
    public static string ToText(JsonObject root)
    {
        var buffer = new ArrayBufferWriter<byte>(EntryLayout.SectorSize);
        using (var writer = new Utf8JsonWriter(buffer, WriterOptions))
        {
            root.WriteTo(writer);
        }

        return System.Text.Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    public static bool TryGetString(JsonNode? node, out string value)
    {
        value = "";
        return node is JsonValue json && json.GetValueKind() == JsonValueKind.String
            && json.TryGetValue(out value!);
    }

    public static bool TryGetBoolean(JsonNode? node, out bool value)
    {
        value = false;
        return node is JsonValue json && json.TryGetValue(out value);
    }

    /// <summary>An integer from 0 to 2^64-1 in plain digits.</summary>
    public static bool TryGetNumber(JsonNode? node, out ulong value)
    {
        value = 0;
        return node is JsonValue json && json.GetValueKind() == JsonValueKind.Number && json.TryGetValue(out value);
    }

    /// <summary>Exactly 40 lower-case hex digits: one id has one text, or comparing texts would go wrong
    /// somewhere.</summary>
    public static bool TryGetId(JsonNode? node, out Id160 value)
    {
        value = default;
        return TryGetString(node, out var text) && !text.AsSpan().ContainsAnyInRange('A', 'F')
            && Id160.TryParse(text, out value);
    }

    private static FormatError ReadObject(ReadOnlySpan<byte> json, out JsonObject root)
    {
        root = [];
        try
        {
            if (!HasSoundStrings(json))
            {
                return FormatError.JsonEncoding;
            }

            root = (JsonObject)JsonNode.Parse(json, null, Strict)!;
            return FormatError.None;
        }
        catch (JsonException)
        {
            return IsSyntax(json) ? FormatError.JsonKeyTwice : FormatError.JsonSyntax;
        }
    }

    // What is sound once keys may stand twice was refused for a key that does.
    private static bool IsSyntax(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonNode.Parse(json, null, KeysTwiceAllowed) is JsonObject;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    // Escapes can spell half a surrogate pair, which no string can hold: find them here, not where a value is used.
    private static bool HasSoundStrings(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName) || !reader.ValueIsEscaped)
            {
                continue;
            }

            try
            {
                _ = reader.GetString();
            }
            catch (InvalidOperationException)
            {
                return false;
            }
        }

        return true;
    }
}
