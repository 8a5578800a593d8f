using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CloudFs.Core.Contracts;
using CloudFs.Replicator.Hosting;

namespace CloudFs.Replicator.Http;

/// <summary>One request and its answer.</summary>
internal sealed class Exchange(HttpContext http, Node node, CancellationToken ended)
{
    /// <summary>A body comes within this time, or not at all.</summary>
    private static readonly TimeSpan BodyPatience = TimeSpan.FromSeconds(2);

    public Node Node => node;

    public HttpRequest Request => http.Request;

    public HttpResponse Response => http.Response;

    /// <summary>Cancelled when the client goes away or the replicator stops.</summary>
    public CancellationToken Ended => ended;

    public string PathArgument { get; init; } = string.Empty;

    /// <summary>The query cut at each <c>&amp;</c>, decoded.</summary>
    public string[] Words() => [.. (Request.QueryString.Value ?? "").TrimStart('?').Split('&').Select(Uri.UnescapeDataString)];

    public void Answer(int status) => Response.StatusCode = status;

    public async Task TextAsync(string text, int status = 200, string type = "text/plain; charset=utf-8")
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Response.StatusCode = status;
        Response.ContentType = type;
        Response.ContentLength = bytes.Length;
        await Response.Body.WriteAsync(bytes, ended);
    }

    public async Task JsonAsync<T>(T value, JsonTypeInfo<T> type, int status = 200)
    {
        var bytes = JsonSerializer.SerializeToUtf8Bytes(value, type);
        Response.StatusCode = status;
        Response.ContentType = "application/json; charset=utf-8";
        Response.ContentLength = bytes.Length;
        await Response.Body.WriteAsync(bytes, ended);
    }

    public Task RefuseAsync(int status, string line)
    {
        if (Response.HasStarted)
        {
            http.Abort();
            return Task.CompletedTask;
        }

        line = line.ReplaceLineEndings(" ");
        Response.Headers.CacheControl = "no-store";
        var isSeeds = Request.Path.Value is "/id" or "/peers" or "/log" or "/blocks";
        return isSeeds ? TextAsync(line + "\n", status) : JsonAsync(new ErrorJson(line), HttpContractsJson.Plain.ErrorJson, status);
    }

    /// <summary>Reads the body, bounded in size and time. What sends slowly or half gets 408.</summary>
    public async Task<byte[]> ReadBodyAsync(int maxBytes, TimeSpan? patience = null)
    {
        if (Request.ContentLength > maxBytes)
        {
            throw new HttpRefusalException(413, $"the body has more than {maxBytes} bytes");
        }

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(ended);
        deadline.CancelAfter(patience ?? BodyPatience);
        using var body = new MemoryStream();
        var buffer = new byte[16 << 10];
        try
        {
            for (int read; (read = await Request.Body.ReadAsync(buffer, deadline.Token)) > 0;)
            {
                if (body.Length + read > maxBytes)
                {
                    throw new HttpRefusalException(413, $"the body has more than {maxBytes} bytes");
                }

                await body.WriteAsync(buffer.AsMemory(0, read), deadline.Token);
            }
        }
        catch (OperationCanceledException) when (!ended.IsCancellationRequested)
        {
            throw new HttpRefusalException(408, "the body did not come in time");
        }

        return body.ToArray();
    }

    public async Task<T> ReadJsonAsync<T>(JsonTypeInfo<T> type, int maxBytes = 64 << 10)
    {
        var bytes = await ReadBodyAsync(maxBytes);
        try
        {
            return JsonSerializer.Deserialize(bytes, type) ?? throw new HttpRefusalException(400, "expected a JSON object, found null");
        }
        catch (JsonException broken)
        {
            throw new HttpRefusalException(400, $"the body is not the JSON that was expected, at {broken.Path ?? "$"}");
        }
    }
}
