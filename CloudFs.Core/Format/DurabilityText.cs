namespace CloudFs.Core.Format;

/// <summary>The words for <see cref="Durability"/> in bodies, commands and configuration.</summary>
public static class DurabilityText
{
    /// <summary>The word.</summary>
    public static string Text(this Durability durability) => durability switch
    {
        Durability.Write => "write",
        Durability.Async => "async",
        _ => "flush",
    };

    /// <summary>Reads the word; anything else is false.</summary>
    public static bool TryParse(string? text, out Durability durability)
    {
        (var known, durability) = text switch
        {
            "flush" => (true, Durability.Flush),
            "write" => (true, Durability.Write),
            "async" => (true, Durability.Async),
            _ => (false, Durability.Flush),
        };
        return known;
    }
}
