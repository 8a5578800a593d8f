using System.Text;
using CloudFs.Tests.Shared;

namespace CloudFs.Cli.Tests;

/// <summary>Standard streams that a test can look at. Nobody is there to be asked unless answers are given.</summary>
internal sealed class TestIo
{
    private readonly LogText _out = new();
    private readonly LogText _error = new();
    private readonly MemoryStream _data = new();

    private TestIo(byte[] input, string? answers, IReadOnlyDictionary<string, string>? environment, Terminal? terminal)
    {
        Io = new CommandIo
        {
            Out = _out,
            Error = _error,
            OpenInput = () => new MemoryStream(input),
            OpenOutput = () => _data,
            Answers = new StringReader(answers ?? string.Empty),
            IsInteractive = answers is not null,
            ShowsProgress = false,
            Terminal = terminal,
            Environment = name => environment?.GetValueOrDefault(name),
        };
    }

    public CommandIo Io { get; }

    public string Out => _out.ToString();

    public string Error => _error.ToString();

    public byte[] Data => _data.ToArray();

    public static TestIo Create(
        byte[]? input = null, string? answers = null, IReadOnlyDictionary<string, string>? environment = null,
        Terminal? terminal = null) =>
        new(input ?? [], answers, environment, terminal);

    public static TestIo WithInput(string text) => Create(Encoding.UTF8.GetBytes(text));

    public Task<int> RunAsync(params string[] arguments) => CliMain.RunAsync(arguments, Io, CancellationToken.None);
}
