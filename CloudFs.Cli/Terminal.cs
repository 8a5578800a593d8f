namespace CloudFs.Cli;

/// <summary>The terminal that standard output is.</summary>
/// <param name="Size">Its columns and lines, as of now.</param>
/// <param name="Key">A key that was pressed and not asked for yet; null for none. Never waits.</param>
internal sealed record Terminal(Func<(int Width, int Height)> Size, Func<char?> Key)
{
    // As terminals were, where one does not tell.
    private const int UsualWidth = 80;
    private const int UsualHeight = 24;

    /// <summary>The terminal of this process; null when its standard output is none.</summary>
    public static Terminal? Standard() => Console.IsOutputRedirected
        ? null
        : new Terminal(
            () => (Known(Console.WindowWidth, UsualWidth), Known(Console.WindowHeight, UsualHeight)),
            () => !Console.IsInputRedirected && Console.KeyAvailable ? Console.ReadKey(intercept: true).KeyChar : null);

    private static int Known(int told, int usual) => told > 0 ? told : usual;
}
