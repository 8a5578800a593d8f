using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;
using CloudFs.Core.Disks;
using CloudFs.Core.Engine;
using Microsoft.AspNetCore.Http.Features;

namespace CloudFs.Daemon.Http;

/// <summary>
/// One request and its answer, as the endpoints see it: the disk it names, the ways to answer, and a token that ends
/// when the client goes away or the daemon stops.
/// </summary>
internal sealed class Exchange : IDisposable
{
    private const string TextType = "text/plain; charset=utf-8";

    private const string JsonType = "application/json; charset=utf-8";

    private readonly CancellationTokenSource _ended;

    public Exchange(HttpContext http, HttpServices services)
    {
        Http = http;
        Services = services;
        _ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, services.Stopping);
    }

    public HttpContext Http { get; }

    public HttpRequest Request => Http.Request;

    public HttpResponse Response => Http.Response;

    public HttpServices Services { get; }

    public StorageEngine Engine => Services.Engine;

    /// <summary>What stands in the path for <c>{disk}</c>; empty on other paths.</summary>
    public string PathArgument { get; set; } = string.Empty;

    /// <summary>Cancelled when the client goes away or the daemon stops.</summary>
    public CancellationToken Ended => _ended.Token;

    public bool IsHead => HttpMethods.IsHead(Request.Method);

    /// <summary>Set once the body was read to its end.</summary>
    public bool BodyIsTaken { get; set; }

    /// <summary>True while a body may be under way that is too long for Kestrel to read it away by the by.</summary>
    private bool HasMuchToSend =>
        !BodyIsTaken
        && !(Request.ContentLength <= HttpLimits.MaxJsonBytes)
        && Http.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true };

    public void Dispose() => _ended.Dispose();

    /// <summary>Ends <see cref="Ended"/> at once: the answer is being given up.</summary>
    public void End() => _ended.Cancel();

    /// <summary>Reads the query that names a disk, or throws the refusal that says what was expected.</summary>
    public DiskQuery ReadQuery() =>
        DiskQuery.Parse(Request.QueryString.Value ?? string.Empty, out var query) is { } wrong
            ? throw new HttpRefusalException(400, wrong) : query;

    /// <summary>The same for a query whose point is an LSN with the version there.</summary>
    public DiskQuery ReadStateQuery() =>
        DiskQuery.ParseState(Request.QueryString.Value ?? string.Empty, out var query) is { } wrong
            ? throw new HttpRefusalException(400, wrong) : query;

    /// <summary>The disk of a query: by exact id or exact name.</summary>
    public Disk FindDisk(in DiskQuery query) =>
        Engine.TryGetDisk(query.Disk, out var disk) ? disk : throw new HttpRefusalException(
            404, $"there is no disk '{query.Disk}' here; GET /disks lists what there is");

    public Task TextAsync(string text, int status = 200)
    {
        Response.StatusCode = status;
        Response.ContentType = TextType;
        var bytes = Encoding.UTF8.GetBytes(text);
        Response.ContentLength = bytes.Length;
        return Response.Body.WriteAsync(bytes, 0, bytes.Length, Http.RequestAborted);
    }

    public Task JsonAsync<T>(T value, JsonTypeInfo<T> type, int status = 200)
    {
        var bytes = JsonSerializer.SerializeToUtf8Bytes(value, type);
        Response.StatusCode = status;
        Response.ContentType = JsonType;
        Response.ContentLength = bytes.Length + 1;
        return WriteLineAsync(bytes);
    }

    public void NoContent() => Response.StatusCode = 204;

    /// <summary>
    /// Answers with one line that says what to do: JSON where the path or the client wants JSON, else text. When the
    /// answer has begun already, all that can still be told is that it is broken: the connection goes.
    /// </summary>
    public Task RefuseAsync(int status, string line)
    {
        if (Response.HasStarted)
        {
            Http.Abort();
            return Task.CompletedTask;
        }

        // What a request brought along may stand in the line; it must not make two of it.
        line = line.ReplaceLineEndings(" ");
        Response.Headers.CacheControl = "no-store";
        if (HasMuchToSend)
        {
            // What is left of the body is not worth reading to its end: a client should not wait to be let send it.
            Response.Headers.Connection = "close";
        }

        return WantsJson()
            ? JsonAsync(new ErrorJson(line), HttpContractsJson.Plain.ErrorJson, status)
            : TextAsync(line + "\n", status);
    }

    /// <summary>Reads a JSON body, or throws the refusal that says what is wrong with it.</summary>
    public async Task<T> ReadJsonAsync<T>(JsonTypeInfo<T> type)
    {
        var bytes = new byte[HttpLimits.MaxJsonBytes + 1];
        var length = Request.ContentLength > HttpLimits.MaxJsonBytes
            ? bytes.Length
            : await Request.Body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, Ended);
        if (length == bytes.Length)
        {
            throw new HttpRefusalException(413, $"the body has more than {HttpLimits.MaxJsonBytes} bytes");
        }

        try
        {
            return JsonSerializer.Deserialize(bytes.AsSpan(0, length), type)
                ?? throw new HttpRefusalException(400, "expected a JSON object, found null");
        }
        catch (JsonException broken)
        {
            throw new HttpRefusalException(400, $"the body is not the JSON that was expected, at {broken.Path ?? "$"}");
        }
    }

    /// <summary>
    /// After a refusal: completes the answer, then reads on for a moment. A client that is still sending would
    /// otherwise meet a reset, which may take away the answer before it was read.
    /// </summary>
    public async Task DrainAsync()
    {
        if (!HasMuchToSend || Http.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Http.RequestAborted);
        patience.CancelAfter(HttpLimits.DrainPatience);
        try
        {
            await Response.CompleteAsync();
            var reader = Request.BodyReader;
            for (long drained = 0; drained < HttpLimits.DrainBytes;)
            {
                var read = await reader.ReadAsync(patience.Token);
                drained += read.Buffer.Length;
                reader.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                {
                    return;
                }
            }

            Http.Abort();
        }
        catch (Exception ended) when (ended is OperationCanceledException or IOException or BadHttpRequestException)
        {
            Http.Abort();
        }
    }

    private async Task WriteLineAsync(byte[] bytes)
    {
        await Response.Body.WriteAsync(bytes, Http.RequestAborted);
        await Response.Body.WriteAsync("\n"u8.ToArray(), Http.RequestAborted);
    }

    private bool WantsJson()
    {
        var path = Request.Path;
        return path.StartsWithSegments("/disks", StringComparison.Ordinal)
            || path.StartsWithSegments("/healthz", StringComparison.Ordinal)
            || path.StartsWithSegments("/scrub", StringComparison.Ordinal)
            || path.StartsWithSegments("/host", StringComparison.Ordinal)
            || Request.Headers.Accept.ToString().Contains("application/json", StringComparison.OrdinalIgnoreCase);
    }
}
