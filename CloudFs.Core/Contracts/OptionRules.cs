namespace CloudFs.Core.Contracts;

/// <summary>
/// A rule of command lines that the parser of options leaves to its users: an option at the end of the line, or before
/// another option, that should have had a value is dropped by it without a word.
/// </summary>
public static class OptionRules
{
    private const string Dashes = "--";

    /// <summary>The first option that wants a value and has none, with its dashes; null when all is well.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="valued">The long names of the options that want a value, without dashes.</param>
    public static string? FindWithoutValue(IReadOnlyList<string> arguments, IReadOnlySet<string> valued)
    {
        for (var i = 0; i < arguments.Count && arguments[i] != Dashes; i++)
        {
            if (!arguments[i].StartsWith(Dashes, StringComparison.Ordinal)
                || !valued.Contains(arguments[i][Dashes.Length..]))
            {
                continue;
            }

            if (i + 1 == arguments.Count || arguments[i + 1].StartsWith(Dashes, StringComparison.Ordinal))
            {
                return arguments[i];
            }

            i++;
        }

        return null;
    }
}
