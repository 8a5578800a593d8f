namespace CloudFs.Cli;

/// <summary>
/// The standard streams of a command. Data and what scripts read go to standard output, everything else to standard
/// error.
/// </summary>
internal sealed class CommandIo
{
    public required TextWriter Out { get; init; }

    public required TextWriter Error { get; init; }

    public required Func<Stream> OpenInput { get; init; }

    public required Func<Stream> OpenOutput { get; init; }

    public required TextReader Answers { get; init; }

    /// <summary>True when a person can be asked.</summary>
    public required bool IsInteractive { get; init; }

    /// <summary>True when standard error is a terminal: progress is shown there.</summary>
    public required bool ShowsProgress { get; init; }

    /// <summary>The terminal that standard output is; null when it is none.</summary>
    public Terminal? Terminal { get; init; }

    public Func<string, string?> Environment { get; init; } = System.Environment.GetEnvironmentVariable;

    public static CommandIo Standard() => new()
    {
        Out = Console.Out,
        Error = Console.Error,
        OpenInput = Console.OpenStandardInput,
        OpenOutput = Console.OpenStandardOutput,
        Answers = Console.In,
        IsInteractive = !Console.IsInputRedirected && !Console.IsErrorRedirected,
        ShowsProgress = !Console.IsErrorRedirected,
        Terminal = Terminal.Standard(),
    };

    /// <summary>A line of the result, on standard output.</summary>
    public void Print(string line) => Out.WriteLine(line);

    /// <summary>A line for people, on standard error.</summary>
    public void Say(string line) => Error.WriteLine(line);

    /// <summary>
    /// Before something is destroyed: a person is asked, a script must have said <c>--yes</c>. Throws unless it may go
    /// on.
    /// </summary>
    public void Confirm(string whatIsLost, bool yes)
    {
        if (yes)
        {
            return;
        }

        if (!IsInteractive)
        {
            throw new CommandException($"{whatIsLost}: add --yes to go on");
        }

        Error.Write($"{whatIsLost}. Go on? [y/N] ");
        if (Answers.ReadLine()?.Trim().ToLowerInvariant() is not ("y" or "yes"))
        {
            throw new CommandException("nothing was changed");
        }
    }
}
