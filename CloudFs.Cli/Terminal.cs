namespace CloudFs.Cli;

/// <summary>The terminal that standard output is.</summary>
/// <param name="Size">Its columns and lines, as of now.</param>
/// <param name="Key">A key that was pressed and not asked for yet; null for none. Never waits.</param>
internal sealed record Terminal(Func<(int Width, int Height)> Size, Func<char?> Key)
{
    /// <summary>The terminal of this process; null when its standard output is none.</summary>
    public static Terminal? Standard() => Console.IsOutputRedirected
        ? null
        : new Terminal(
            () => (Console.WindowWidth, Console.WindowHeight),
            () => !Console.IsInputRedirected && Console.KeyAvailable ? Console.ReadKey(intercept: true).KeyChar : null);
}
