using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using CloudFs.Tests.Shared;
using Xunit;

namespace CloudFs.SystemTests.Harness;

/// <summary>How a host is set up, where a test wants it otherwise.</summary>
internal sealed record HostSetup
{
    public string Size { get; init; } = "2G";

    /// <summary>The device; null: a file in the host's own folder.</summary>
    public string? Device { get; init; }

    /// <summary>Whether the device is a file that <see cref="Size"/> applies to.</summary>
    public bool GiveSize { get; init; } = true;

    /// <summary>Where it listens.</summary>
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>Options beyond the usual ones.</summary>
    public IReadOnlyList<string> More { get; init; } = [];

    /// <summary>The network namespace that it runs in; null: the tests' own.</summary>
    public string? Namespace { get; init; }
}

/// <summary>
/// A real daemon over a device of its own, on ports of its own: started, killed, ended and started again as a test likes,
/// and gone with everything that it made when the test is over.
/// </summary>
internal sealed partial class Host : IAsyncDisposable
{
    public const int SigKill = 9;
    public const int SigTerm = 15;
    public const int SigCont = 18;
    public const int SigStop = 19;

    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    private readonly Scratch _scratch = new();
    private readonly HostSetup _setup;
    private readonly List<string> _log = [];
    private readonly HashSet<string> _deviceIds = [];
    private Process? _process;

    private Host(HostSetup setup)
    {
        _setup = setup;
        Device = setup.Device ?? _scratch.At("device");
        Socket = _scratch.At("nbd.sock");
        (HttpPort, NbdPort) = (FreePort.Next(), FreePort.Next());
        Http = new HttpClient(new SocketsHttpHandler { UseProxy = false, PooledConnectionLifetime = TimeSpan.FromSeconds(1) })
        {
            Timeout = TimeSpan.FromSeconds(60),
            BaseAddress = new Uri(Url),
        };
    }

    public string Folder => _scratch.Folder;

    public string Device { get; }

    public string Socket { get; }

    public int HttpPort { get; }

    public int NbdPort { get; }

    public string Url => string.Create(CultureInfo.InvariantCulture, $"http://{_setup.Address}:{HttpPort}");

    public HttpClient Http { get; }

    public int Pid => _process!.Id;

    public bool Runs => _process is { HasExited: false };

    /// <summary>What the daemon has logged, over all its lives.</summary>
    public IReadOnlyList<string> Log
    {
        get
        {
            lock (_log)
            {
                return [.. _log];
            }
        }
    }

    public static async Task<Host> StartAsync(HostSetup? setup = null)
    {
        var host = new Host(setup ?? new HostSetup());
        try
        {
            await host.StartAgainAsync();
        }
        catch
        {
            await host.DisposeAsync();
            throw;
        }

        return host;
    }

    /// <summary>Starts the process; gives the time until it served, process start included.</summary>
    public async Task<TimeSpan> StartAgainAsync()
    {
        Assert.False(Runs);
        var clock = Stopwatch.StartNew();
        var words = Words(_setup.Address, Device, _setup.GiveSize ? _setup.Size : null, HttpPort, NbdPort, Socket);
        _process = Tool.Start(Tool.CloudFsd, [.. words, .. _setup.More], space: _setup.Namespace);
        _process.ErrorDataReceived += (_, line) => Note(line.Data);
        _process.OutputDataReceived += (_, line) => Note(line.Data);
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        while (true)
        {
            if (_process.HasExited)
            {
                Assert.Fail($"cloudfsd ended with {_process.ExitCode} before it served\n{LogTail()}");
            }

            if (clock.Elapsed > StartLimit)
            {
                Assert.Fail($"cloudfsd did not serve within {StartLimit.TotalSeconds} s\n{LogTail()}");
            }

            try
            {
                using var answer = await Http.GetAsync("/healthz");
                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    break;
                }
            }
            catch (HttpRequestException)
            {
                // Nobody listens yet.
            }

            await Task.Delay(5);
        }

        var took = clock.Elapsed;
        _deviceIds.Add((await JsonAsync("/host"))["device"]!.GetValue<string>());
        return took;
    }

    /// <summary>Starts a daemon without waiting for anything.</summary>
    public static Process Launch(string device, string? size, int http, int nbd, string socket) =>
        Tool.Start(Tool.CloudFsd, Words("127.0.0.1", device, size, http, nbd, socket));

    /// <summary>Kills it as a crash would; returns when it is gone.</summary>
    public void Kill()
    {
        Signal(SigKill);
        _process!.WaitForExit();
    }

    /// <summary>Ends it in order; gives its exit status and how long it took.</summary>
    public async Task<(int Status, TimeSpan Took)> TerminateAsync()
    {
        var clock = Stopwatch.StartNew();
        Signal(SigTerm);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        try
        {
            await _process!.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"cloudfsd did not end within 30 s of SIGTERM\n{LogTail()}");
        }

        return (_process.ExitCode, clock.Elapsed);
    }

    /// <summary>Ends it in order, and demands that it does so well.</summary>
    public async Task StopAsync()
    {
        var (status, took) = await TerminateAsync();
        Assert.True(status == 0, $"cloudfsd ended with {status} after SIGTERM\n{LogTail()}");
        Assert.True(took < TimeSpan.FromSeconds(10), $"cloudfsd took {took.TotalSeconds:F1} s to end");
    }

    /// <summary>The URI of a disk over the Unix socket.</summary>
    public string Nbd(string disk) => $"nbd+unix:///{disk}?socket={Socket}";

    /// <summary>The URI of a disk over TCP.</summary>
    public string NbdOverTcp(string disk) => string.Create(CultureInfo.InvariantCulture, $"nbd://127.0.0.1:{NbdPort}/{disk}");

    /// <summary>Makes a disk and gives its id.</summary>
    public async Task<string> NewDiskAsync(long size, string? name = null)
    {
        using var answer = await Http.PostAsJsonAsync("/disks", new { size, name });
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == HttpStatusCode.Created, text);
        return JsonNode.Parse(text)!["id"]!.GetValue<string>();
    }

    public async Task<JsonNode> JsonAsync(string path) => JsonNode.Parse(await Http.GetStringAsync(path))!;

    public Task<string> TextAsync(string path) => Http.GetStringAsync(path);

    /// <summary>A disk's durable head.</summary>
    public async Task<string> HeadAsync(string disk) =>
        (await TextAsync("/heads")).Split('\n').Single(line => line.StartsWith(disk, StringComparison.Ordinal))[41..];

    /// <summary>Runs the operator's command against this host.</summary>
    public Task<Outcome> CommandAsync(params string[] words) =>
        Tool.RunAsync(Tool.CloudFs, words, environment: Environs);

    /// <summary>What the command needs to find this host.</summary>
    public IReadOnlyDictionary<string, string> Environs => new Dictionary<string, string> { ["CLOUDFS_DAEMON"] = Url };

    /// <summary>Runs a script in nbdsh, connected to a disk.</summary>
    public Task<Outcome> NbdshAsync(string disk, string script) =>
        Tool.RunAsync("nbdsh", ["-u", Nbd(disk), "-c", "-"], script);

    /// <summary>Replays a disk's history with the independent reader; gives the disk's bytes.</summary>
    public async Task<byte[]> ReplayAsync(string disk, bool quick = false)
    {
        var image = _scratch.At("replayed");
        File.Delete(image);
        var head = await HeadAsync(disk);
        var replay = $"python3 '{Tool.Scripts}/replay.py' {(quick ? "--no-xxh " : "")}--expect-head {head} --out '{image}'";
        (await Tool.ShellAsync($"set -o pipefail; curl -sSf '{Url}/stream?{disk}&once' | {replay}", TimeSpan.FromSeconds(120))).Ok();
        return await File.ReadAllBytesAsync(image);
    }

    /// <summary>Whether a file is the write buffer of this host's device.</summary>
    public bool IsBufferOf(string path) => _deviceIds.Any(id => path.Contains(id, StringComparison.Ordinal));

    /// <summary>Verifies the device, which no daemon may have.</summary>
    public Task<Outcome> VerifyAsync() => Tool.RunAsync(Tool.CloudFs, ["verify", Device]);

    public async ValueTask DisposeAsync()
    {
        if (Runs)
        {
            Kill();
        }

        _process?.Dispose();
        Http.Dispose();
        foreach (var id in _deviceIds)
        {
            File.Delete($"/dev/shm/cloudfs-{id}.buffer");
        }

        await Task.Yield();
        _scratch.Dispose();
    }

    public string LogTail() => string.Join('\n', Log.TakeLast(30));

    public void Signal(int signal) => SendSignal(Pid, signal);

    /// <summary>Sends a signal to a process that a test started.</summary>
    public static void Signal(Process process, int signal) => SendSignal(process.Id, signal);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int pid, int signal);

    private static List<string> Words(string address, string device, string? size, int http, int nbd, string socket)
    {
        List<string> words =
        [
            "--device", device,
            "--http", string.Create(CultureInfo.InvariantCulture, $"{address}:{http}"),
            "--nbd", string.Create(CultureInfo.InvariantCulture, $"{address}:{nbd}"),
            "--nbd-socket", socket,
        ];
        return size is null ? words : [.. words, "--size", size];
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
