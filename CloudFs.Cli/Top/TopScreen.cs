using System.Text;

namespace CloudFs.Cli.Top;

/// <summary>
/// Where frames go: on a terminal each takes the place of the one before, and the last stays; elsewhere they follow one
/// another with an empty line between them.
/// </summary>
internal sealed class TopScreen(CommandIo io) : IDisposable
{
    private const string HideCursor = "\x1b[?25l";
    private const string ShowCursor = "\x1b[?25h";
    private const string Wipe = "\x1b[2J";
    private const string Home = "\x1b[H";
    private const string WipeLine = "\x1b[K";
    private const string WipeBelow = "\x1b[J";

    private static readonly TimeSpan KeysEvery = TimeSpan.FromMilliseconds(50);

    private bool _isBegun;

    /// <summary>Shows a frame.</summary>
    public void Show(IReadOnlyList<string> lines)
    {
        var text = new StringBuilder();
        if (io.Terminal is { } terminal)
        {
            // The last line stays free: to end there would scroll.
            var (width, height) = terminal.Size();
            text.Append(_isBegun ? "" : HideCursor + Wipe).Append(Home);
            foreach (var line in lines.Take(Math.Max(1, height - 1)))
            {
                text.Append(line.Length > width ? line[..Math.Max(0, width)] : line).Append(WipeLine).Append('\n');
            }

            text.Append(WipeBelow);
        }
        else
        {
            text.AppendJoin('\n', lines.Select(line => line.TrimEnd())).Append('\n').Insert(0, _isBegun ? "\n" : "");
        }

        _isBegun = true;
        io.Out.Write(text.ToString());
        io.Out.Flush();
    }

    /// <summary>Waits; false when a person pressed q meanwhile.</summary>
    public async Task<bool> WaitAsync(TimeSpan time, CancellationToken cancellation)
    {
        if (io.Terminal is not { } terminal)
        {
            await Task.Delay(time, cancellation);
            return true;
        }

        for (var left = time; left > TimeSpan.Zero; left -= KeysEvery)
        {
            await Task.Delay(left < KeysEvery ? left : KeysEvery, cancellation);
            while (terminal.Key() is { } key)
            {
                if (key is 'q' or 'Q')
                {
                    return false;
                }
            }
        }

        return true;
    }

    public void Dispose()
    {
        if (_isBegun && io.Terminal is not null)
        {
            io.Out.Write(ShowCursor);
            io.Out.Flush();
        }
    }
}
