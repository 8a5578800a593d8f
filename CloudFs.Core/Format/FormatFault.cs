namespace CloudFs.Core.Format;

/// <summary>A <see cref="FormatError"/> and where it was found, for messages.</summary>
/// <param name="Error">Why the entry is not well made; None if it is.</param>
/// <param name="Where">The page or the JSON key, such as <c>replicas[1].host</c>; empty where that says
/// nothing.</param>
public readonly record struct FormatFault(FormatError Error, string Where)
{
    /// <summary>The fault's text, with the place before it where there is one.</summary>
    public override string ToString() =>
        string.IsNullOrEmpty(Where) ? Error.Text() : $"{Where}: {Error.Text()}";
}
