namespace CloudFs.Daemon.Http;

/// <summary>One thing that the HTTP face does: a method on a path. GET stands for HEAD as well.</summary>
/// <param name="Method">GET, PUT, POST, PATCH or DELETE.</param>
/// <param name="Path">The path; its last segment may be <c>{disk}</c>.</param>
/// <param name="Query">How the query looks, for people; empty where there is none.</param>
/// <param name="Handler">What answers it.</param>
internal sealed record Route(string Method, string Path, string Query, Func<Exchange, Task> Handler)
{
    private const string Argument = "/{disk}";

    /// <summary>True when the path is this route's; the argument is what stands in place of <c>{disk}</c>.</summary>
    public bool Matches(string path, out string argument)
    {
        argument = string.Empty;
        if (!Path.EndsWith(Argument, StringComparison.Ordinal))
        {
            return path == Path;
        }

        var prefix = Path.AsSpan(0, Path.Length - Argument.Length + 1);
        if (!path.AsSpan().StartsWith(prefix, StringComparison.Ordinal) || path.Length == prefix.Length)
        {
            return false;
        }

        argument = path[prefix.Length..];
        return !argument.Contains('/', StringComparison.Ordinal);
    }
}
