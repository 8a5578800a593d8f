using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using CloudFs.Core.Contracts;
using CloudFs.Daemon.Hosting;
using Xunit;

namespace CloudFs.Tests.Shared;

/// <summary>
/// A real daemon in this process: engine, Kestrel and NBD over a sparse file in a folder of its own, on ports of its
/// own.
/// </summary>
internal sealed class TestDaemon : IAsyncDisposable
{
    private readonly DaemonLog _log;
    private DaemonProcess? _daemon;

    private TestDaemon(string folder)
    {
        Folder = folder;
        _log = new DaemonLog(new LogLines(LogFormat.Text, journal: false, TimeProvider.System), Log);
        Http = new HttpClient { Timeout = TimeSpan.FromSeconds(60) };
    }

    public string Folder { get; }

    public string DevicePath => Path.Combine(Folder, "device");

    public LogText Log { get; } = new();

    /// <summary>What the device is given at the next start: it may grow.</summary>
    public ulong SizeBytes { get; set; } = 256UL << 20;

    /// <summary>Where it serves HTTP from the next start on; 0 for any port that is free.</summary>
    public int HttpPort { get; set; }

    /// <summary>Where it serves NBD.</summary>
    public string NbdSocket => Path.Combine(Folder, "nbd.sock");

    public HttpClient Http { get; }

    public DaemonProcess Process => _daemon!;

    public string Url => $"http://{Process.HttpEndPoint}";

    public static async Task<TestDaemon> StartAsync()
    {
        var folder = Directory.CreateTempSubdirectory("cloudfs-test-").FullName;
        var daemon = new TestDaemon(folder);
        await daemon.RestartAsync();
        return daemon;
    }

    /// <summary>
    /// Stops it if it runs, and starts it over the same device; <paramref name="between"/> runs while it is down.
    /// </summary>
    public async Task RestartAsync(Action? between = null)
    {
        await StopAsync();
        between?.Invoke();
        var options = new DaemonOptions
        {
            DevicePath = DevicePath,
            SizeBytes = SizeBytes,
            Http = new ListenAddress(IPAddress.Loopback, HttpPort),
            Nbd = null,
            NbdSocket = NbdSocket,
            BufferDirectory = Folder,
        };
        _daemon = await DaemonProcess.StartAsync(options, _log, CancellationToken.None);
    }

    public async Task StopAsync()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
            _daemon = null;
        }
    }

    /// <summary>Rots a bit of something that was written, wherever it lies on the device.</summary>
    public void FlipBitOf(byte[] pattern)
    {
        var device = File.ReadAllBytes(DevicePath);
        var at = device.AsSpan().IndexOf(pattern);
        Assert.True(at > 0);
        using var file = File.OpenHandle(DevicePath, FileMode.Open, FileAccess.Write);
        RandomAccess.Write(file, [(byte)(device[at + 7] ^ 0x10)], at + 7);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Http.Dispose();
        _log.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    public Uri At(string path) => new(Url + path);

    /// <summary>Makes a disk and gives its id.</summary>
    public async Task<string> NewDiskAsync(ulong size = 16 << 20, string? name = null)
    {
        using var answer = await Http.PostAsync(At("/disks"), JsonContent.Create(
            new NewDiskRequest { Size = size, Name = name }, HttpContractsJson.Default.NewDiskRequest));
        Assert.Equal(HttpStatusCode.Created, answer.StatusCode);
        var made = await answer.Content.ReadFromJsonAsync(HttpContractsJson.Default.NewDiskAnswer);
        Assert.Equal($"/disks/{made!.Id}", answer.Headers.Location!.ToString());
        return made.Id;
    }

    public async Task<DiskJson> DiskAsync(string disk) =>
        (await Http.GetFromJsonAsync(At("/disks/" + disk), HttpContractsJson.Default.DiskJson))!;

    public Task<string> TextAsync(string path) => Http.GetStringAsync(At(path));

    /// <summary>Writes bytes and gives the new version.</summary>
    public async Task<string> PutAsync(string disk, ulong offset, byte[] data)
    {
        using var answer = await SendPutAsync(disk, offset, data);
        Assert.Equal(HttpStatusCode.NoContent, answer.StatusCode);
        return answer.Headers.ETag!.Tag.Trim('"');
    }

    public async Task<HttpResponseMessage> SendPutAsync(
        string disk, ulong offset, byte[] data, string? ifMatch = null, string? contentRange = null)
    {
        var content = new ByteArrayContent(data);
        var last = offset + (ulong)data.Length - 1;
        content.Headers.TryAddWithoutValidation(
            "Content-Range", contentRange ?? string.Create(CultureInfo.InvariantCulture, $"bytes {offset}-{last}/*"));
        var request = new HttpRequestMessage(HttpMethod.Put, At("/blocks?" + disk)) { Content = content };
        if (ifMatch is not null)
        {
            request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        }

        return await Http.SendAsync(request);
    }

    public async Task<HttpResponseMessage> SendGetAsync(
        string disk, string? range, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, At("/blocks?" + disk));
        if (range is not null)
        {
            request.Headers.TryAddWithoutValidation("Range", range);
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return await Http.SendAsync(request);
    }

    public async Task<byte[]> ReadAsync(string disk, ulong offset, int length)
    {
        var last = offset + (ulong)length - 1;
        using var answer = await SendGetAsync(
            disk, string.Create(CultureInfo.InvariantCulture, $"bytes={offset}-{last}"));
        Assert.Equal(HttpStatusCode.PartialContent, answer.StatusCode);
        return await answer.Content.ReadAsByteArrayAsync();
    }

    /// <summary>Sends entries to <c>PUT /log</c>.</summary>
    public async Task<(HttpStatusCode Status, string Text)> PutLogAsync(byte[] entries)
    {
        var content = new ByteArrayContent(entries);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using var answer = await Http.PutAsync(At("/log"), content);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    /// <summary>One line, ended, that tells something; gives it without its end.</summary>
    public static async Task<string> LineAsync(HttpResponseMessage answer, HttpStatusCode status)
    {
        var bytes = await answer.Content.ReadAsByteArrayAsync();
        var text = Encoding.UTF8.GetString(bytes);
        Assert.True(status == answer.StatusCode, $"expected {status}, found {answer.StatusCode}: {text}");
        Assert.Equal("text/plain", answer.Content.Headers.ContentType!.MediaType);
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        return Assert.Single(text[..^1].Split('\n'));
    }
}
