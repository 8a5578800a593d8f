using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;

namespace CloudFs.Cli;

/// <summary>
/// Talks to a daemon, or to a replicator, over HTTP. Whatever goes wrong becomes a <see cref="CommandException"/> with
/// its own line, or with one that says how to reach it.
/// </summary>
internal sealed class DaemonClient : IDisposable
{
    public const string DefaultUrl = "http://127.0.0.1:8090";

    // /blocks of a disk whose primary is elsewhere: to a replicator, from there to the primary, and one that moved meanwhile.
    private const int MaxRedirects = 5;

    private const string Variable = "CLOUDFS_DAEMON";

    private readonly HttpClient _http;
    private readonly Uri _base;
    private readonly string _what;

    /// <param name="url">Where it listens.</param>
    /// <param name="what">What it is, for lines about it: a daemon, or a replicator.</param>
    public DaemonClient(Uri url, string what = "daemon")
    {
        _base = url;
        _what = what;
        var handler = new SocketsHttpHandler { UseProxy = false, UseCookies = false, MaxAutomaticRedirections = MaxRedirects };
        _http = new HttpClient(handler) { BaseAddress = url, Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>The daemon's address, as people write it.</summary>
    public string Where => _base.GetLeftPart(UriPartial.Authority);

    /// <summary>The daemon that an option names, else the environment, else the local one.</summary>
    public static DaemonClient For(string? option, CommandIo io)
    {
        var text = option ?? (io.Environment(Variable) is { Length: > 0 } named ? named : DefaultUrl);
        return Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme == Uri.UriSchemeHttp
            ? new DaemonClient(url)
            : throw new CommandException($"'{text}' is no daemon: expected http://address:port", ExitStatus.Usage);
    }

    public void Dispose() => _http.Dispose();

    public async Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), cancellation);
        return await ReadAsync(answer, type, cancellation);
    }

    public async Task<TAnswer> SendAsync<TBody, TAnswer>(
        HttpMethod method, string path, TBody body, JsonTypeInfo<TBody> bodyType, JsonTypeInfo<TAnswer> answerType,
        CancellationToken cancellation)
    {
        var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, bodyType));
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using var answer = await SendAsync(new HttpRequestMessage(method, path) { Content = content }, cancellation);
        return await ReadAsync(answer, answerType, cancellation);
    }

    /// <summary>Sends something that is answered by nothing but success.</summary>
    public async Task PostAsync<TBody>(
        string path, TBody body, JsonTypeInfo<TBody> bodyType, CancellationToken cancellation)
    {
        var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, bodyType));
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Post, path) { Content = content }, cancellation);
    }

    /// <summary>Asks for something that needs no words.</summary>
    public async Task<T> PostAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Post, path), cancellation);
        return await ReadAsync(answer, type, cancellation);
    }

    /// <summary>Text, all of it within a time: who looks again and again must not hang with a daemon that does.</summary>
    public async Task<string> GetTextAsync(string path, TimeSpan within, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(within);
        try
        {
            using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), limit.Token);
            return await answer.Content.ReadAsStringAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new CommandException($"the daemon at {Where} did not answer within {within.TotalSeconds:0} s");
        }
        catch (Exception broken) when (broken is IOException or HttpRequestException)
        {
            throw new CommandException($"the daemon at {Where} broke off: {broken.Message}");
        }
    }

    public async Task DeleteAsync(string path, CancellationToken cancellation)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Delete, path), cancellation);
    }

    /// <summary>The daemon's account of itself, or null when none answers.</summary>
    public async Task<HostJson?> TryGetHostAsync(CancellationToken cancellation)
    {
        try
        {
            using var answer = await _http.GetAsync(new Uri("/host", UriKind.Relative), cancellation);
            return answer.IsSuccessStatusCode
                ? await ReadAsync(answer, HttpContractsJson.Default.HostJson, cancellation) : null;
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }

    /// <summary>The daemon's health; unlike other answers, a 503 has the same form here.</summary>
    public async Task<HealthJson> GetHealthAsync(CancellationToken cancellation)
    {
        using var answer = await _http.GetAsync(new Uri("/healthz", UriKind.Relative), cancellation);
        return await ReadAsync(answer, HttpContractsJson.Default.HealthJson, cancellation);
    }

    /// <summary>The disk that a person named: by id, unique prefix or name.</summary>
    public Task<DiskJson> FindDiskAsync(string disk, CancellationToken cancellation) => GetAsync(
        DiskPath(disk), HttpContractsJson.Default.DiskJson, cancellation);

    /// <summary>As <see cref="FindDiskAsync"/>; a disk that is not there is null, with the daemon's line about that.</summary>
    public async Task<(DiskJson? Disk, string? Refusal)> TryFindDiskAsync(string disk, CancellationToken cancellation)
    {
        try
        {
            return (await FindDiskAsync(disk, cancellation), null);
        }
        catch (CommandException refused) when (refused.Answer == HttpStatusCode.NotFound)
        {
            return (null, refused.Message);
        }
    }

    public static string DiskPath(string disk) => "/disks/" + Uri.EscapeDataString(disk);

    /// <summary>Reads a range into memory and gives the version that it is of.</summary>
    public async Task<string> ReadBlocksAsync(
        string id, ulong offset, Memory<byte> destination, CancellationToken cancellation)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, "/blocks?" + id);
        var last = offset + (ulong)destination.Length - 1;
        request.Headers.Add("Range", string.Create(CultureInfo.InvariantCulture, $"bytes={offset}-{last}"));
        using var answer = await SendAsync(request, cancellation);
        try
        {
            await using var body = await answer.Content.ReadAsStreamAsync(cancellation);
            await body.ReadExactlyAsync(destination, cancellation);
        }
        catch (Exception broken) when (broken is IOException or HttpRequestException)
        {
            throw new CommandException(
                $"bytes {offset}-{last} could not be read to their end: see cloudfs info {id} for damaged ranges");
        }

        return answer.Headers.ETag?.Tag ?? string.Empty;
    }

    public Task WriteBlocksAsync(string id, ulong offset, ReadOnlyMemory<byte> data, CancellationToken cancellation) =>
        ChangeBlocksAsync(
            HttpMethod.Put, id, offset, (ulong)data.Length, new ReadOnlyMemoryContent(data), cancellation);

    public Task ZeroBlocksAsync(string id, ulong offset, ulong length, CancellationToken cancellation) =>
        ChangeBlocksAsync(HttpMethod.Delete, id, offset, length, new ByteArrayContent([]), cancellation);

    /// <summary>What the disk holds, in order and without gaps.</summary>
    public async Task<IReadOnlyList<DiskExtent>> GetExtentsAsync(string id, CancellationToken cancellation)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, "/extents?" + id), cancellation);
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(cancellation), Encoding.UTF8);
        List<DiskExtent> extents = [];
        while (await lines.ReadLineAsync(cancellation) is { } line)
        {
            extents.Add(DiskExtent.TryParse(line, out var extent)
                ? extent : throw new CommandException($"the daemon described the disk in words unknown here: {line}"));
        }

        return extents;
    }

    /// <summary>Sends a request; an answer that is no success becomes the daemon's own line.</summary>
    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        HttpResponseMessage answer;
        try
        {
            answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        }
        catch (HttpRequestException unreachable)
        {
            throw new CommandException(unreachable.HttpRequestError == HttpRequestError.ConnectionError
                ? $"no {_what} answers at {Where}: start one with cloudfs up, "
                + $"or name another{(_what == "daemon" ? "" : " host's daemon")} with --daemon"
                : $"the {_what} at {Where} broke off: {unreachable.Message}");
        }

        if (answer.IsSuccessStatusCode)
        {
            return answer;
        }

        using (answer)
        {
            throw new CommandException(await ExplainAsync(answer, cancellation)) { Answer = answer.StatusCode };
        }
    }

    private async Task ChangeBlocksAsync(
        HttpMethod method, string id, ulong offset, ulong length, HttpContent content, CancellationToken cancellation)
    {
        content.Headers.Add("Content-Range", string.Create(
            CultureInfo.InvariantCulture, $"bytes {offset}-{offset + length - 1}/*"));
        using var answer = await SendAsync(
            new HttpRequestMessage(method, "/blocks?" + id) { Content = content }, cancellation);
    }

    private static async Task<T> ReadAsync<T>(
        HttpResponseMessage answer, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        try
        {
            await using var body = await answer.Content.ReadAsStreamAsync(cancellation);
            return await JsonSerializer.DeserializeAsync(body, type, cancellation)
                ?? throw new CommandException("the daemon answered null");
        }
        catch (Exception broken) when (broken is JsonException or IOException or HttpRequestException)
        {
            throw new CommandException($"the daemon's answer can't be read: {broken.Message}");
        }
    }

    private static async Task<string> ExplainAsync(HttpResponseMessage answer, CancellationToken cancellation)
    {
        var text = (await answer.Content.ReadAsStringAsync(cancellation)).Trim();
        if (answer.Content.Headers.ContentType?.MediaType == "application/json")
        {
            try
            {
                text = JsonSerializer.Deserialize(text, HttpContractsJson.Default.ErrorJson)?.Error ?? text;
            }
            catch (JsonException)
            {
                // Not ours after all: the text as it came says more than nothing.
            }
        }

        return text.Length > 0 ? text.ReplaceLineEndings(" ") : answer.StatusCode switch
        {
            HttpStatusCode.NotFound => "not found: is this a CloudFS daemon?",
            var status => $"the daemon answered {(int)status} without a reason",
        };
    }
}
