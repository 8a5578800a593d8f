using System.Collections.Concurrent;

namespace CloudFs.Daemon.Hosting;

/// <summary>
/// The daemon's log: every event one line on standard error. Callers never wait: a thread of its own writes, so that a
/// reader of standard error that stalls (a stopped terminal, a full pipe) holds up no disk. When more lines wait than
/// <see cref="MaxWaiting"/>, further ones are dropped and counted, and the count is told once there is room again.
/// </summary>
internal sealed class DaemonLog : ILoggerFactory
{
    // A few hundred kilobytes at most; more would only delay the news that lines are being dropped.
    private const int MaxWaiting = 2048;

    // How long the end of the process waits for a reader of standard error that takes nothing.
    private static readonly TimeSpan FlushPatience = TimeSpan.FromSeconds(2);

    private readonly LogLines _lines;
    private readonly TextWriter _output;
    private readonly Thread _thread;
    private readonly BlockingCollection<string> _waiting = new(MaxWaiting);

    private readonly NoiseGate _noise = new(TimeProvider.System);
    private long _dropped;

    public DaemonLog(LogLines lines, TextWriter output)
    {
        _lines = lines;
        _output = output;
        _thread = new Thread(Run) { IsBackground = true, Name = "log" };
        _thread.Start();
    }

    public ILogger CreateLogger(string categoryName) => new LineLogger(this, categoryName);

    public ILogger<T> For<T>() => new Logger<T>(this);

    public void AddProvider(ILoggerProvider provider)
    {
        // Standard error is the only place; a provider that somebody adds gets nothing.
    }

    /// <summary>Writes out what waits, within two seconds.</summary>
    public void Dispose()
    {
        _waiting.CompleteAdding();
        _thread.Join(FlushPatience);
    }

    private void Add(string line)
    {
        try
        {
            if (!_waiting.TryAdd(line))
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
            Write(line);
            if (Interlocked.Exchange(ref _dropped, 0) is > 0 and var dropped)
            {
                Write(_lines.Format(
                    LogLevel.Warning, "log", "lines were dropped: standard error was not being read",
                    [new("dropped", dropped)], null));
            }
        }
    }

    private void Write(string line)
    {
        try
        {
            _output.Write(line);
            _output.Flush();
        }
        catch (IOException)
        {
            // Standard error is gone (its reader died). There is nowhere left to say so, and the disks go on.
        }
    }

    private sealed class LineLogger(DaemonLog log, string category) : ILogger
    {
        // Tells of a start that failed with a page of stack, where the daemon itself says it in one line.
        private const string HostCategory = "Microsoft.Extensions.Hosting";

        private readonly bool _isFramework = category.StartsWith("Microsoft.", StringComparison.Ordinal);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        // The framework's own events (connections that end, requests that begin) are noise here: only what it calls a
        // warning is let through, while our own rooms say things at information.
        public bool IsEnabled(LogLevel logLevel) =>
            logLevel != LogLevel.None
            && !category.StartsWith(HostCategory, StringComparison.Ordinal)
            && logLevel >= (_isFramework ? LogLevel.Warning : LogLevel.Information);

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel) || (_isFramework && !log._noise.Lets(category, eventId.Id)))
            {
                return;
            }

            log.Add(log._lines.Format(
                logLevel, category, formatter(state, exception),
                state as IReadOnlyList<KeyValuePair<string, object?>>, exception));
        }
    }
}
