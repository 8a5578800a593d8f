using System.Diagnostics;
using System.Globalization;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>The replicator beside a host: a real process that a test starts, kills, stops and starts again.</summary>
internal sealed class Replicator : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    private readonly string _daemon;
    private readonly string _database;
    private readonly string? _space;
    private readonly IReadOnlyList<string> _more;
    private readonly List<string> _log = [];
    private readonly HttpClient _http;
    private Process? _process;

    public Replicator(string address, string daemon, string database, string? space, IReadOnlyList<string> more)
    {
        (_daemon, _database, _space, _more) = (daemon, database, space, more);
        Address = string.Create(CultureInfo.InvariantCulture, $"{address}:{FreePort.Next()}");
        _http = new HttpClient(new SocketsHttpHandler { UseProxy = false, PooledConnectionLifetime = TimeSpan.FromSeconds(1) })
        {
            Timeout = TimeSpan.FromSeconds(10),
            BaseAddress = new Uri("http://" + Address),
        };
    }

    public string Address { get; }

    public bool Runs => _process is { HasExited: false };

    /// <summary>Starts it; returns once it answers, which says nothing of whether it has found the others.</summary>
    public async Task StartAsync(IEnumerable<string> peers)
    {
        Assert.False(Runs);
        _process = Tool.Start(
            Tool.Replicator, ["auto", .. peers, "--daemon", _daemon, "--listen", Address, "--db", _database, .. _more], space: _space);
        _process.ErrorDataReceived += (_, line) => Note(line.Data);
        _process.OutputDataReceived += (_, line) => Note(line.Data);
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        var clock = Stopwatch.StartNew();
        while (true)
        {
            Assert.False(_process.HasExited, $"the replicator ended before it served\n{LogTail()}");
            Assert.True(clock.Elapsed < StartLimit, $"the replicator did not serve within {StartLimit.TotalSeconds} s\n{LogTail()}");
            try
            {
                using var answer = await _http.GetAsync("/id");
                if (answer.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // Nobody listens yet.
            }

            await Task.Delay(20);
        }
    }

    public Task<string> TextAsync(string path) => _http.GetStringAsync(path);

    public void Signal(int signal) => Host.Signal(_process!, signal);

    /// <summary>Kills it as a crash would; returns when it is gone.</summary>
    public void Kill()
    {
        Signal(Host.SigKill);
        _process!.WaitForExit();
    }

    /// <summary>What it knew is lost.</summary>
    public void Forget()
    {
        Assert.False(Runs);
        foreach (var file in Directory.GetFiles(Path.GetDirectoryName(_database)!, Path.GetFileName(_database) + "*"))
        {
            File.Delete(file);
        }
    }

    public string LogTail()
    {
        lock (_log)
        {
            return string.Join('\n', _log.TakeLast(30));
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Runs)
        {
            Kill();
        }

        _process?.Dispose();
        _http.Dispose();
        await Task.Yield();
    }

    private void Note(string? line)
    {
        if (line is not null)
        {
            lock (_log)
            {
                _log.Add(line);
            }
        }
    }
}
