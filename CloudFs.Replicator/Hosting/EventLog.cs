using System.Collections.Concurrent;

namespace CloudFs.Replicator.Hosting;

/// <summary>
/// The log: each event one line on standard error, in the daemon's manner. A thread of its own writes, so that a reader that stalls
/// holds up nothing; what is more than it can take is dropped and counted. Safe from any thread.
/// </summary>
internal sealed class EventLog : IDisposable
{
    private const int MaxWaiting = 1024;

    /// <summary>States that are told once and again when they end; more are not told apart.</summary>
    private const int MaxStates = 4096;

    private static readonly TimeSpan FlushPatience = TimeSpan.FromSeconds(2);

    private readonly TextWriter _output;
    private readonly TimeProvider _time;
    private readonly Thread _thread;
    private readonly BlockingCollection<string> _waiting = new(MaxWaiting);
    private readonly ConcurrentDictionary<string, string> _states = new();
    private long _dropped;

    public EventLog(TextWriter output, TimeProvider time)
    {
        (_output, _time) = (output, time);
        _thread = new Thread(Run) { IsBackground = true, Name = "log" };
        _thread.Start();
    }

    public void Info(string line) => Add("info", line);

    public void Warn(string line) => Add("warn", line);

    public void Error(string line) => Add("error", line);

    /// <summary>Tells of a trouble once: not again until it is over, or another line says something else.</summary>
    public void Trouble(string key, string line)
    {
        if (_states.Count >= MaxStates && !_states.ContainsKey(key))
        {
            return;
        }

        string? old = null;
        _states.AddOrUpdate(key, line, (_, before) =>
        {
            old = before;
            return line;
        });
        if (old is null)
        {
            Warn(line);
        }
    }

    /// <summary>The trouble is over; the line is written only if the trouble was.</summary>
    public void Over(string key, string line)
    {
        if (_states.TryRemove(key, out _))
        {
            Info(line);
        }
    }

    /// <summary>Writes out what waits, within two seconds.</summary>
    public void Dispose()
    {
        _waiting.CompleteAdding();
        _thread.Join(FlushPatience);
    }

    private void Add(string level, string line)
    {
        try
        {
            var stamp = _time.GetUtcNow().UtcDateTime
                .ToString("yyyy-MM-ddTHH:mm:ss.fffZ", System.Globalization.CultureInfo.InvariantCulture);
            if (!_waiting.TryAdd($"{stamp} {level} replicator: {line.ReplaceLineEndings(" ")}"))
            {
                Interlocked.Increment(ref _dropped);
            }
        }
        catch (InvalidOperationException)
        {
            // The log is closed already: a line of a thread that outlives it has no place to go.
        }
    }

    private void Run()
    {
        foreach (var line in _waiting.GetConsumingEnumerable())
        {
            try
            {
                _output.WriteLine(line);
                if (Interlocked.Exchange(ref _dropped, 0) is > 0 and var dropped)
                {
                    _output.WriteLine($"{dropped} lines were dropped: standard error was not being read");
                }

                _output.Flush();
            }
            catch (IOException)
            {
                // Standard error is gone: there is nowhere left to say so.
            }
        }
    }
}
